import { useRef, useState } from "react";
import { flushSync } from "react-dom";

import type { Item, ItemsApi } from "../api/items";
import { mayDelete, mayEdit, type Role } from "../session/permissions";
import { SessionEnded, type Session } from "../session/session";
import { go, SORTS, useView, type Sort, type View } from "../routing";
import { ErrorNotice } from "../ui/ErrorNotice";
import { BoxIcon, PlusIcon } from "../ui/icons";
import { DeleteDialog } from "./DeleteDialog";
import { ItemDialog } from "./ItemDialog";
import { ItemTable, TableSkeleton } from "./ItemTable";
import { Pager } from "./Pager";
import { SearchBox } from "./SearchBox";
import { useItems, type ItemsResult } from "./useItems";
import { useLive } from "./useLive";

interface Props {
  readonly api: ItemsApi;
  readonly role: Role;
  readonly session: Session;
  readonly announce: (message: string) => void;
}

export function InventoryPage({ api, role, session, announce }: Props) {
  const view = useView();
  const result = useItems(api, view);
  const heading = useRef<HTMLHeadingElement>(null);
  const [deleting, setDeleting] = useState<Item>();
  const live = useLive(session, result.changed);
  const editable = mayEdit(role);

  const done = (message: string) => {
    go({ item: undefined });
    announce(message);
  };
  const deleted = (name: string) => {
    // Closing gives the focus back to a button that goes away with its row, so it is moved on after that.
    flushSync(() => setDeleting(undefined));
    heading.current?.focus();
    done(`Deleted ${name}.`);
  };

  return (
    <>
      <div className="page-head">
        <h1 ref={heading} tabIndex={-1}>
          Items
        </h1>
        <span className={live ? "live live-on" : "live"} data-testid="live">
          {live ? "Live" : "Not live"}
        </span>
        {editable && (
          <button type="button" className="button button-primary" data-testid="add" onClick={() => go({ item: "new" })}>
            <PlusIcon /> Add item
          </button>
        )}
      </div>
      <div className="toolbar">
        <SearchBox search={view.search} />
        <SortSelect sort={view.sort} />
      </div>
      <p className="visually-hidden" role="status" data-testid="result-count">
        {!result.busy && result.page && countText(result.page.total, view.search)}
      </p>
      {result.error !== undefined && !(result.error instanceof SessionEnded) && <ErrorNotice error={result.error} onRetry={result.refresh} />}
      <Results
        view={view}
        result={result}
        editable={editable}
        deletable={mayDelete(role)}
        onDelete={setDeleting}
      />
      {view.item !== undefined && (
        <ItemDialog
          key={view.item}
          api={api}
          id={view.item}
          editable={editable}
          onClose={() => go({ item: undefined })}
          onDone={done}
          onSignIn={() => void session.signIn()}
        />
      )}
      {deleting && (
        <DeleteDialog api={api} item={deleting} onClose={() => setDeleting(undefined)} onDeleted={deleted} />
      )}
    </>
  );
}

function countText(total: number, search: string): string {
  const items = total === 1 ? "1 item" : `${total} items`;
  return search === "" ? `${items}.` : `${items} found for ${search}.`;
}

function SortSelect({ sort }: { readonly sort: Sort }) {
  return (
    <label className="sort">
      <span>Sort by</span>
      <select value={sort} data-testid="sort" onChange={(event) => go({ sort: event.target.value as Sort, page: 1 })}>
        {Object.entries(SORTS).map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

interface ResultsProps {
  readonly view: View;
  readonly result: ItemsResult;
  readonly editable: boolean;
  readonly deletable: boolean;
  readonly onDelete: (item: Item) => void;
}

function Results({ view, result, editable, deletable, onDelete }: ResultsProps) {
  const { page, busy, error } = result;
  if (!page) return error === undefined ? <TableSkeleton /> : null;
  if (page.items.length === 0 && !busy) return <Nothing view={view} total={page.total} editable={editable} />;
  return (
    <>
      <ItemTable
        items={page.items}
        busy={busy}
        editable={editable}
        deletable={deletable}
        onOpen={({ id }) => go({ item: id })}
        onDelete={onDelete}
      />
      <Pager page={view.page} shown={page.items.length} total={page.total} />
    </>
  );
}

function Nothing({ view, total, editable }: { readonly view: View; readonly total: number; readonly editable: boolean }) {
  const beyond = total > 0;
  return (
    <div className="empty" data-testid="empty">
      <BoxIcon />
      {beyond && <p>There is no page {view.page}.</p>}
      {!beyond && view.search !== "" && <p>Nothing matches “{view.search}”.</p>}
      {!beyond && view.search === "" && <p>Nothing in stock yet.{editable && " Add the first item to begin."}</p>}
      {(beyond || view.search !== "") && (
        <button type="button" className="button" onClick={() => go({ search: beyond ? view.search : "", page: 1 })}>
          {beyond ? "Go to the first page" : "Clear the search"}
        </button>
      )}
    </div>
  );
}
