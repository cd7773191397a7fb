import { useEffect, useState } from "react";

import { go } from "../routing";
import { SearchIcon } from "../ui/icons";

const DEBOUNCE_MS = 250;

export function SearchBox({ search }: { readonly search: string }) {
  const [text, setText] = useState(search);
  const [applied, setApplied] = useState(search);

  // The URL changed by other means, such as the back button: it wins over what was typed.
  if (search !== applied) {
    setApplied(search);
    if (search !== text.trim()) setText(search);
  }

  useEffect(() => {
    if (text.trim() === search) return;
    const timer = setTimeout(() => go({ search: text.trim(), page: 1 }, "replace"), DEBOUNCE_MS);
    return () => clearTimeout(timer);
  }, [text, search]);

  return (
    <search className="search">
      <label className="visually-hidden" htmlFor="search">
        Search by name, SKU or location
      </label>
      <SearchIcon />
      <input
        id="search"
        type="search"
        value={text}
        placeholder="Search name, SKU or location"
        autoComplete="off"
        spellCheck={false}
        maxLength={100}
        data-testid="search"
        onChange={(event) => setText(event.target.value)}
      />
    </search>
  );
}
