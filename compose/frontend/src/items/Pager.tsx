import { go } from "../routing";
import { PAGE_SIZE } from "./useItems";

const number = new Intl.NumberFormat("en");

export function range(page: number, shown: number, total: number): string {
  const first = (page - 1) * PAGE_SIZE + 1;
  return `${number.format(first)}–${number.format(first + shown - 1)} of ${number.format(total)}`;
}

interface Props {
  readonly page: number;
  readonly shown: number;
  readonly total: number;
}

export function Pager({ page, shown, total }: Props) {
  const last = Math.max(1, Math.ceil(total / PAGE_SIZE));
  if (last === 1 && page === 1) return null;
  return (
    <nav className="pager" aria-label="Pages">
      <button type="button" className="button" disabled={page <= 1} onClick={() => go({ page: Math.min(page - 1, last) })}>
        Previous
      </button>
      <span data-testid="range">{shown > 0 ? range(page, shown, total) : `Page ${page} of ${last}`}</span>
      <button type="button" className="button" disabled={page >= last} onClick={() => go({ page: page + 1 })}>
        Next
      </button>
    </nav>
  );
}
