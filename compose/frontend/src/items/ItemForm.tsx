import { useEffect, useId, useRef, type ReactNode, type SubmitEvent } from "react";

import { MAX_LENGTH, type Draft, type FieldErrors } from "./draft";
import { FIELDS, LABELS, type Field } from "./merge";

interface Props {
  readonly draft: Draft;
  readonly errors: FieldErrors;
  readonly saving: boolean;
  readonly saveLabel: string;
  readonly onChange: (draft: Draft) => void;
  readonly onSubmit: () => void;
  readonly onCancel: () => void;
  readonly children?: ReactNode;
}

export function ItemForm({ draft, errors, saving, saveLabel, onChange, onSubmit, onCancel, children }: Props) {
  const form = useRef<HTMLFormElement>(null);

  // A rejected form leads to the first field that needs a hand.
  useEffect(() => {
    const first = FIELDS.find((field) => errors[field] !== undefined);
    if (first) form.current?.querySelector<HTMLElement>(`[name="${first}"]`)?.focus();
  }, [errors]);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (!saving) onSubmit();
  };
  const bind = (field: Field) => ({
    field,
    value: draft[field],
    error: errors[field],
    onChange: (value: string) => onChange({ ...draft, [field]: value }),
  });

  return (
    <form ref={form} className="form" noValidate onSubmit={submit} data-testid="item-form">
      <TextField {...bind("name")} required maxLength={MAX_LENGTH.name} />
      <div className="form-row">
        <TextField {...bind("sku")} required maxLength={MAX_LENGTH.sku} />
        <TextField {...bind("quantity")} required inputMode="numeric" />
      </div>
      <TextField {...bind("location")} maxLength={MAX_LENGTH.location} />
      <TextField {...bind("notes")} multiline maxLength={MAX_LENGTH.notes} />
      {children}
      <footer className="dialog-actions">
        <button type="button" className="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" className="button button-primary" aria-disabled={saving} data-testid="save">
          {saving ? "Saving…" : saveLabel}
        </button>
      </footer>
    </form>
  );
}

interface TextFieldProps {
  readonly field: Field;
  readonly value: string;
  readonly error: string | undefined;
  readonly onChange: (value: string) => void;
  readonly required?: boolean;
  readonly multiline?: boolean;
  readonly maxLength?: number;
  readonly inputMode?: "numeric";
}

function TextField({ field, value, error, onChange, required = false, multiline = false, ...limits }: TextFieldProps) {
  const id = useId();
  const common = {
    id,
    name: field,
    value,
    ...limits,
    autoComplete: "off",
    "aria-required": required,
    "aria-invalid": error !== undefined,
    "aria-describedby": error === undefined ? undefined : `${id}-error`,
  };
  return (
    <div className="field">
      <label htmlFor={id}>
        {LABELS[field]}
        {!required && <span className="optional"> (optional)</span>}
      </label>
      {multiline ? (
        <textarea {...common} rows={3} onChange={(event) => onChange(event.target.value)} />
      ) : (
        <input {...common} type="text" onChange={(event) => onChange(event.target.value)} />
      )}
      {error !== undefined && (
        <p className="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}
