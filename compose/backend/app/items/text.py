"""Text as it is stored: in Unicode's normal form NFC, without characters that a reader cannot see (docs/adr/0031-visible-text.md)."""

import unicodedata

JOINERS = "\u200c\u200d"
"""ZWNJ, which Persian writes between letters, and ZWJ, which Indic scripts and composed emoji need."""
_IGNORABLE = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Code points that are drawn as nothing (Unicode's Default_Ignorable_Code_Point, DerivedCoreProperties.txt), bidirectional
controls among them, and the interlinear annotations U+FFF9 to U+FFFB."""
_UNJOINED = ("LATIN ", "GREEK ", "CYRILLIC ")
"""Beginnings of names of letters that no joiner changes: with and without one, two names would look the same."""
_SELECTORS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
"""Variation selectors: they choose the shape of the character before them, of emoji and of kanji in Japanese names."""
# Control characters, line and paragraph separators, halves of surrogate pairs.
_REFUSED_CATEGORIES = ("Cc", "Zl", "Zp", "Cs")


def line(value: str) -> str:
    """One line. Raises ValueError, naming the character, for text that cannot be read as it is stored."""
    return _checked(value, also="")


def paragraphs(value: str) -> str:
    """As `line`, with line breaks and tabs."""
    return _checked(value, also="\n\r\t")


def readable(value: str) -> str:
    """Text of a foreign program, in which U+FFFD stands for whatever `paragraphs` would refuse."""
    before, found = "", []
    for character in unicodedata.normalize("NFC", value):
        refused = character not in "\n\r\t" and _refused(character, before)
        found.append("\ufffd" if refused else character)
        before = character
    return "".join(found)


def _checked(value: str, also: str) -> str:
    text = unicodedata.normalize("NFC", value)
    before = ""
    for place, character in enumerate(text, 1):
        if character not in also and _refused(character, before):
            raise ValueError(f"character {place} cannot be seen or is a control character (U+{ord(character):04X})")
        before = character
    return text


def _refused(character: str, before: str) -> bool:
    """`before`: the character before it; empty at the beginning."""
    if character in JOINERS:
        if not before or before.isascii() or unicodedata.name(before, "").startswith(_UNJOINED):
            return True
        return _ignorable(before) and not _within(before, _SELECTORS)
    if _within(character, _SELECTORS):
        return not before or before.isspace() or _ignorable(before)
    return _ignorable(character) or unicodedata.category(character) in _REFUSED_CATEGORIES


def _ignorable(character: str) -> bool:
    return _within(character, _IGNORABLE)


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)
