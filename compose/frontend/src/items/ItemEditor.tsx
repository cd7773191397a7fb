import { useEffect, useRef, useState } from "react";

import { ApiError } from "../api/http";
import type { ItemFields, ItemsApi, Loaded } from "../api/items";
import { SessionEnded } from "../session/session";
import { ErrorNotice } from "../ui/ErrorNotice";
import { ConflictResolver } from "./ConflictResolver";
import { draftOf, EMPTY, sameDraft, validate, type Draft, type FieldErrors } from "./draft";
import { forgetDraft, keepDraft, keptDraft } from "./keptDraft";
import { ItemForm } from "./ItemForm";
import { differences } from "./merge";

interface Props {
  readonly api: ItemsApi;
  /** The item to edit; undefined for a new one. */
  readonly loaded: Loaded | undefined;
  /** The newest version that was heard of, or 0. */
  readonly changedVersion: number;
  readonly onDirty: (dirty: boolean) => void;
  readonly onCancel: () => void;
  readonly onDone: (message: string) => void;
  readonly onSignIn: () => void;
}

interface Conflict {
  readonly mine: ItemFields;
  readonly theirs: Loaded;
}

const NO_ERRORS: FieldErrors = {};

export function ItemEditor({ api, loaded, changedVersion, onDirty, onCancel, onDone, onSignIn }: Props) {
  const id = loaded?.item.id ?? "new";
  const [kept] = useState(() => keptDraft(id));
  const [base, setBase] = useState(kept ? kept.base : loaded);
  const [draft, setDraft] = useState(kept?.draft ?? (loaded ? draftOf(loaded.item) : EMPTY));
  const [errors, setErrors] = useState(NO_ERRORS);
  const [failure, setFailure] = useState<unknown>();
  const [conflict, setConflict] = useState<Conflict>();
  const [gone, setGone] = useState(false);
  const [saving, setSaving] = useState(false);
  const [idempotencyKey] = useState(() => crypto.randomUUID());

  const dirty = !sameDraft(draft, base ? draftOf(base.item) : EMPTY);
  const leaving = useRef(false);
  useEffect(() => {
    forgetDraft(id);
    if (kept) onDirty(true);
  }, [id, kept, onDirty]);
  useEffect(() => {
    if (!dirty) return;
    const ask = (event: BeforeUnloadEvent) => {
      if (!leaving.current) event.preventDefault();
    };
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [dirty]);

  const change = (next: Draft) => {
    setDraft(next);
    // Told here and not in an effect: Escape may follow the last letter at once.
    onDirty(!sameDraft(next, base ? draftOf(base.item) : EMPTY));
  };

  const write = async (fields: ItemFields, target: Loaded | undefined) => {
    setSaving(true);
    setFailure(undefined);
    try {
      const { item } = target
        ? await api.update(target.item.id, fields, target.etag)
        : await api.create(fields, idempotencyKey);
      onDone(target ? `Saved ${item.name}.` : `Added ${item.name}.`);
    } catch (error) {
      const status = target && error instanceof ApiError ? error.status : undefined;
      if (target && status === 412) await compare(fields, target);
      else if (status === 404) becomeNew(fields);
      else reject(error, fields, target);
    } finally {
      setSaving(false);
    }
  };

  const reject = (error: unknown, fields: ItemFields, target: Loaded | undefined) => {
    const found = fieldErrors(error);
    const rejected = Object.keys(found).length > 0;
    // Both need the form, also for what was chosen in a conflict.
    if (rejected || error instanceof SessionEnded) backToForm(fields, target);
    if (rejected) setErrors(found);
    else setFailure(error);
  };

  const becomeNew = (fields: ItemFields) => {
    backToForm(fields, undefined);
    setGone(true);
  };

  const backToForm = (fields: ItemFields, from: Loaded | undefined) => {
    setConflict(undefined);
    setBase(from);
    setDraft(draftOf(fields));
  };

  const compare = async (mine: ItemFields, from: Loaded) => {
    try {
      const theirs = await api.get(from.item.id);
      setBase(from);
      if (differences(from.item, mine, theirs.item).length > 0) setConflict({ mine, theirs });
      else onDone(`${theirs.item.name} is already as you want it.`);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) becomeNew(mine);
      else setFailure(error);
    }
  };

  const signInAgain = () => {
    keepDraft(id, { draft, base });
    leaving.current = true;
    onSignIn();
  };

  const submit = () => {
    const checked = validate(draft);
    setErrors("errors" in checked ? checked.errors : NO_ERRORS);
    if ("fields" in checked) void write(checked.fields, base);
  };

  if (conflict && base) {
    return (
      <ConflictResolver
        // Started anew when the item changes yet again during the choice.
        key={conflict.theirs.item.version}
        base={base.item}
        mine={conflict.mine}
        theirs={conflict.theirs.item}
        saving={saving}
        error={failure}
        onSave={(fields) => void write(fields, conflict.theirs)}
        onTakeTheirs={() => onDone("Your changes were discarded.")}
      />
    );
  }
  return (
    <ItemForm
      draft={draft}
      errors={errors}
      saving={saving}
      saveLabel={base ? "Save changes" : "Add item"}
      onChange={change}
      onSubmit={submit}
      onCancel={onCancel}
    >
      {base && changedVersion > base.item.version && (
        <p className="notice notice-warning" role="status" data-testid="changed-meanwhile">
          Someone has just changed this item. Saving will show both versions.
        </p>
      )}
      {gone && (
        <p className="notice notice-warning" role="alert" data-testid="deleted-meanwhile">
          Someone deleted this item while you were editing. You can add it again with what you entered.
        </p>
      )}
      {failure instanceof SessionEnded ? (
        <ErrorNotice error={failure} onRetry={signInAgain} action="Sign in again and come back here" />
      ) : (
        failure !== undefined && <ErrorNotice error={failure} />
      )}
    </ItemForm>
  );
}

function fieldErrors(error: unknown): FieldErrors {
  if (!(error instanceof ApiError)) return NO_ERRORS;
  // Only the SKU must be unique.
  return error.status === 409 ? { sku: error.message } : error.fields;
}
