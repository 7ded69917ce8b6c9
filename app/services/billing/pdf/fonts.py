"""Owns the fonts of printed documents, and what becomes of characters that they do not have."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import reportlab
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont


class Family(NamedTuple):
    """Where a font is, and the files of its two weights."""

    folder: Path
    plain: str
    bold: str

    @property
    def is_here(self) -> bool:
        """Whether this machine has both."""
        return (self.folder / self.plain).is_file() and (self.folder / self.bold).is_file()


FAMILIES = (
    Family(Path("/usr/share/fonts/truetype/dejavu"), "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    Family(Path(reportlab.__file__).parent / "fonts", "Vera.ttf", "VeraBd.ttf"),
)
"""The machine's own, which knows most scripts, else that of the library, which knows Western Europe's."""

UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Fonts:
    """The names of the two fonts, and the characters that both have. `family` is for operators."""

    family: str
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


def fonts_of(family: Family) -> Fonts:
    """A family, registered with the library in place of any other."""
    known = []
    for name, file in (("Document", family.plain), ("DocumentBold", family.bold)):
        font = TTFont(name, str(family.folder / file))
        registerFont(font)
        known.append(frozenset(font.face.charToGlyph))
    return Fonts(family.plain.partition(".")[0], "Document", "DocumentBold", known[0] & known[1])


@lru_cache(maxsize=1)
def fonts() -> Fonts:
    """The first family that this machine has."""
    return fonts_of(next(family for family in FAMILIES if family.is_here))
