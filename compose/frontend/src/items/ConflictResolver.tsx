import { useState } from "react";

import type { Item, ItemFields } from "../api/items";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Timestamp } from "../ui/Timestamp";
import { differences, LABELS, merged, type Difference, type Field, type Side } from "./merge";

interface Props {
  readonly base: ItemFields;
  readonly mine: ItemFields;
  readonly theirs: Item;
  readonly saving: boolean;
  readonly error: unknown;
  readonly onSave: (fields: ItemFields) => void;
  readonly onTakeTheirs: () => void;
}

/** Both versions side by side; what only one side changed is chosen already, what both changed is asked. */
export function ConflictResolver({ base, mine, theirs, saving, error, onSave, onTakeTheirs }: Props) {
  const found = differences(base, mine, theirs);
  const [choices, setChoices] = useState<Partial<Record<Field, Side>>>(() =>
    Object.fromEntries(found.map(({ field, suggestion }) => [field, suggestion])),
  );
  const open = found.filter(({ field }) => choices[field] === undefined);

  return (
    <div className="conflict" data-testid="conflict">
      <p>
        <strong>{theirs.updated_by}</strong> changed this item <Timestamp value={theirs.updated_at} />, while you were editing.
        Choose what to keep. Nothing has been lost.
      </p>
      {found.map((difference) => (
        <Choice
          key={difference.field}
          difference={difference}
          chosen={choices[difference.field]}
          onChoose={(side) => setChoices({ ...choices, [difference.field]: side })}
        />
      ))}
      {error !== undefined && <ErrorNotice error={error} />}
      <p className="hint" role="status">
        {open.length > 0 && `Still to choose: ${open.map(({ field }) => LABELS[field]).join(", ")}.`}
      </p>
      <footer className="dialog-actions">
        <button type="button" className="button" data-testid="take-theirs" onClick={onTakeTheirs}>
          Discard my changes
        </button>
        <button
          type="button"
          className="button button-primary"
          data-testid="save-merged"
          disabled={open.length > 0}
          aria-disabled={saving}
          onClick={() => {
            if (!saving) onSave(merged(mine, theirs, choices));
          }}
        >
          {saving ? "Saving…" : "Save this choice"}
        </button>
      </footer>
    </div>
  );
}

interface ChoiceProps {
  readonly difference: Difference;
  readonly chosen: Side | undefined;
  readonly onChoose: (side: Side) => void;
}

function Choice({ difference, chosen, onChoose }: ChoiceProps) {
  const { field } = difference;
  return (
    <fieldset className="choice" data-testid={`choice-${field}`}>
      <legend>{LABELS[field]}</legend>
      {(["mine", "theirs"] as const).map((side) => (
        <label key={side} className="choice-side">
          <input type="radio" name={`choice-${field}`} checked={chosen === side} onChange={() => onChoose(side)} />
          <span className="choice-owner">{side === "mine" ? "Yours" : "Theirs"}</span>
          <span className="choice-value">{difference[side] === "" ? <em>empty</em> : difference[side]}</span>
        </label>
      ))}
    </fieldset>
  );
}
