"""Owns the fonts of printed documents, and what becomes of characters that they do not have."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import reportlab
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont

FAMILIES = (
    (Path("/usr/share/fonts/truetype/dejavu"), "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    (Path(reportlab.__file__).parent / "fonts", "Vera.ttf", "VeraBd.ttf"),
)
"""The machine's own, which knows most scripts, else that of the library, which knows Western Europe's."""

UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Fonts:
    """The names of the two fonts, and the characters that both have."""

    plain: str
    bold: str
    characters: frozenset[int]

    def writable(self, text: str) -> str:
        """The text in characters that can be printed: accents go before letters do."""
        if all(ord(character) in self.characters for character in text):
            return text
        return "".join(self._written(character) for character in text)

    def _written(self, character: str) -> str:
        if ord(character) in self.characters:
            return character
        parts = [part for part in unicodedata.normalize("NFKD", character) if ord(part) in self.characters]
        return "".join(parts) or UNKNOWN


@lru_cache(maxsize=1)
def fonts() -> Fonts:
    """The first family that this machine has, registered with the library."""
    folder, plain, bold = next(
        (folder, plain, bold)
        for folder, plain, bold in FAMILIES
        if (folder / plain).is_file() and (folder / bold).is_file()
    )
    known = []
    for name, file in (("Document", plain), ("DocumentBold", bold)):
        font = TTFont(name, str(folder / file))
        registerFont(font)
        known.append(frozenset(font.face.charToGlyph))
    return Fonts("Document", "DocumentBold", known[0] & known[1])
