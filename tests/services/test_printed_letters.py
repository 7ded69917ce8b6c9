"""Which letters documents are printed in, with the font of the machine and with that of the library."""

from pathlib import Path

import pytest

from app.cli import examination
from app.services.billing.pdf import fonts as printing
from app.services.billing.pdf.fonts import FAMILIES, Family, fonts_of

FRENCH = "Éléonore, Œuvre, garçon, naïve, à 12,50 €"
FAR = ("Łódź Őrség", "Ελλάδα", "Живопись")

HERE = [family for family in FAMILIES if (family.folder / family.plain).is_file()]


@pytest.mark.parametrize("family", HERE, ids=lambda family: str(family.plain))
def test_letters_when_they_are_french(family: Family) -> None:
    assert fonts_of(family).writable(FRENCH) == FRENCH


@pytest.mark.parametrize("family", HERE, ids=lambda family: str(family.plain))
def test_letters_when_they_are_of_other_scripts(family: Family) -> None:
    found = [fonts_of(family).writable(text) for text in FAR]
    if family.plain == "DejaVuSans.ttf":
        assert found == list(FAR)
    else:
        # Accents go where only the letter is known, and nothing is printed that nobody could read.
        assert found == ["Łódz Orség", "??????", "????????"]


def test_doctor_when_only_the_librarys_font_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "FAMILIES", (Family(Path("/nowhere"), "a.ttf", "b.ttf"), FAMILIES[1]))
    printing.fonts.cache_clear()
    try:
        found = examination.fonts()
        assert (found.state, "fonts-dejavu-core" in found.advice) == ("warn", True)
    finally:
        printing.fonts.cache_clear()
