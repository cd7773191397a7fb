"""What the site of the docs needs besides MkDocs: the order of its sections, the operator's navigation, scripts in files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

SECTIONS = {
    "tutorial": "Tutorial", "how-to": "How-to", "runbooks": "Runbooks", "reference": "Reference",
    "explanation": "Explanation", "adr": "Decisions",
}  # fmt: skip
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
SHELL = '<script type="module" src="{base}../shell.js"></script>'
UNUSED = ("assets/javascripts/lunr", "404.html", "sitemap.xml", "sitemap.xml.gz")
"""What the theme adds for other languages and for search engines."""


def on_nav(nav: Any, **_: Any) -> Any:
    """Sections in the order in which somebody new reads them; MkDocs sorts them by name."""
    names = list(SECTIONS)

    def place(item: Any) -> int:
        name = item.title.lower().replace(" ", "-") if item.is_section else ""
        return names.index(name) if name in names else -1

    nav.items.sort(key=place)
    for item in nav.items:
        if place(item) >= 0:
            item.title = SECTIONS[names[place(item)]]
    return nav


def on_post_page(output: str, page: Any, config: Any, **_: Any) -> str:
    """Move inline scripts into files, as the Content-Security-Policy demands, and add the operator's navigation."""
    base = "../" * page.url.count("/")

    def moved(match: re.Match[str]) -> str:
        name = f"assets/inline/{hashlib.sha256(match[1].encode()).hexdigest()[:16]}.js"
        path = Path(config["site_dir"]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match[1], encoding="utf-8")
        return f'<script src="{base}{name}"></script>'

    return INLINE.sub(moved, output).replace("</head>", SHELL.format(base=base) + "</head>", 1)


def on_post_build(config: Any, **_: Any) -> None:
    """Remove what no page refers to."""
    site = Path(config["site_dir"])
    for name in UNUSED:
        for path in (*sorted((site / name).rglob("*"), reverse=True), site / name):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
    for path in site.rglob("*.map"):
        path.unlink()
