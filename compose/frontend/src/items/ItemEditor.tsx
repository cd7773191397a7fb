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
import { useSave, type Outcome } from "./useWrites";

interface Props {
  readonly api: ItemsApi;
  /** The newest version of the item to edit; undefined for a new one. */
  readonly loaded: Loaded | undefined;
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

export function ItemEditor({ api, loaded, onDirty, onCancel, onDone, onSignIn }: Props) {
  const id = loaded?.item.id ?? "new";
  const [kept] = useState(() => keptDraft(id));
  const [base, setBase] = useState(kept ? kept.base : loaded);
  const [draft, setDraft] = useState(kept?.draft ?? (loaded ? draftOf(loaded.item) : EMPTY));
  const [errors, setErrors] = useState(NO_ERRORS);
  const [conflict, setConflict] = useState<Conflict>();
  const [gone, setGone] = useState(false);
  const [idempotencyKey] = useState(() => crypto.randomUUID());
  const save = useSave(api, idempotencyKey);
  const failure = isAboutFields(save.error) ? undefined : (save.error ?? undefined);

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

  const write = (fields: ItemFields, target: Loaded | undefined) => {
    save.mutateAsync({ fields, target }).then(
      (outcome) => settle(outcome, fields, target),
      (error: unknown) => reject(error, fields, target),
    );
  };

  const settle = (outcome: Outcome, mine: ItemFields, target: Loaded | undefined) => {
    if (outcome.kind === "done") onDone(target ? `Saved ${outcome.item.name}.` : `Added ${outcome.item.name}.`);
    else if (outcome.kind === "gone" || !target) becomeNew(mine);
    else compare(mine, target, outcome.theirs);
  };

  const reject = (error: unknown, fields: ItemFields, target: Loaded | undefined) => {
    const rejected = isAboutFields(error);
    // Both need the form, also for what was chosen in a conflict.
    if (rejected || error instanceof SessionEnded) backToForm(fields, target);
    if (rejected) setErrors(fieldErrors(error));
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

  const compare = (mine: ItemFields, from: Loaded, theirs: Loaded) => {
    setBase(from);
    if (differences(from.item, mine, theirs.item).length > 0) setConflict({ mine, theirs });
    else onDone(`${theirs.item.name} is already as you want it.`);
  };

  const signInAgain = () => {
    keepDraft(id, { draft, base });
    leaving.current = true;
    onSignIn();
  };

  const submit = () => {
    const checked = validate(draft);
    setErrors("errors" in checked ? checked.errors : NO_ERRORS);
    if ("fields" in checked) write(checked.fields, base);
  };

  if (conflict && base) {
    return (
      <ConflictResolver
        // Started anew when the item changes yet again during the choice.
        key={conflict.theirs.item.version}
        base={base.item}
        mine={conflict.mine}
        theirs={conflict.theirs.item}
        saving={save.isPending}
        error={failure}
        onSave={(fields) => write(fields, conflict.theirs)}
        onTakeTheirs={() => onDone("Your changes were discarded.")}
      />
    );
  }
  return (
    <ItemForm
      draft={draft}
      errors={errors}
      saving={save.isPending}
      saveLabel={base ? "Save changes" : "Add item"}
      onChange={change}
      onSubmit={submit}
      onCancel={onCancel}
    >
      {base && loaded && loaded.item.version > base.item.version && (
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

function isAboutFields(error: unknown): boolean {
  return Object.keys(fieldErrors(error)).length > 0;
}

function fieldErrors(error: unknown): FieldErrors {
  if (!(error instanceof ApiError)) return NO_ERRORS;
  // Only the SKU must be unique.
  return error.status === 409 ? { sku: error.message } : error.fields;
}
