// @vitest-environment jsdom
import { describe, expect, it } from "vitest";

import { go, readView, viewUrl } from "./routing";

describe("the view in the URL", () => {
  it.each(["/", "/?q=bolt", "/?q=a%26b&sort=-updated_at&page=3&item=new"])("survives the way there and back: %s", (url) => {
    expect(viewUrl(readView(url.slice(1)))).toBe(url);
  });

  it.each(["0", "-1", "1.5", "x", ""])("falls back to the first page for page=%s", (page) => {
    expect(readView(`?page=${page}`).page).toBe(1);
  });

  it("ignores an unknown sort, also one named like a property of every object", () => {
    expect(readView("?sort=price").sort).toBe("name");
    expect(readView("?sort=constructor").sort).toBe("name");
  });

  it("tells listeners, and adds no entry to the history when nothing changed", () => {
    const before = history.length;
    go({ search: "nut" });
    go({ search: "nut" });
    expect(location.search).toBe("?q=nut");
    expect(history.length).toBe(before + 1);
  });
});
