"""Prints a document: its head, its lines, its taxes and its sums, on as many pages as they need."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from app.services.billing.pdf.fonts import Fonts, fonts
from app.services.billing.pdf.words import LANGUAGES, WORDS, day, money, percent

INK = HexColor("#1d2433")
PALE = HexColor("#5b6475")
RULE = HexColor("#d5d9e2")
SHADE = HexColor("#f3f5f9")

MARGIN = 18 * mm
PADDING = 6
"""What the library leaves free within the margins."""

LEFT = MARGIN + PADDING
WIDTH = A4[0] - 2 * LEFT
LINE_WIDTHS = [share * WIDTH for share in (0.33, 0.09, 0.18, 0.13, 0.09, 0.18)]
TAX_WIDTHS = [share * WIDTH for share in (0.16, 0.18, 0.18, 0.18)]
SUM_WIDTHS = [share * WIDTH for share in (0.25, 0.25)]

ADDRESS = ("name", "company", "line1", "line2")
IDENTITY = ("registration", "siren", "vat_number")


@dataclass(frozen=True, slots=True)
class Printed:
    """What a document says, as its rows have it."""

    kind: str
    number: str
    currency: str
    subtotal: int
    tax: int
    amount: int
    amount_paid: int
    paid_on: date | None
    parties: Mapping[str, Any]
    tax_groups: Sequence[Mapping[str, Any]]
    lines: Sequence[Mapping[str, Any]]

    @property
    def language(self) -> str:
        """The language that it was issued in."""
        language = self.parties.get("language")
        return language if language in LANGUAGES else LANGUAGES[0]


def render(document: Printed) -> bytes:
    """The document as PDF; the same document always gives the same bytes. It takes the CPU: use a thread."""
    return _Page(document).bytes()


class _Page:
    """One document while it is printed."""

    def __init__(self, document: Printed) -> None:
        self.document = document
        self.language = document.language
        self.words = WORDS[self.language]
        self.fonts: Fonts = fonts()
        self.plain = ParagraphStyle(
            "plain", fontName=self.fonts.plain, fontSize=8.5, leading=11.5, textColor=INK, splitLongWords=1
        )
        self.right = ParagraphStyle("right", self.plain, alignment=TA_RIGHT)
        self.bold = ParagraphStyle("bold", self.plain, fontName=self.fonts.bold)
        self.bold_right = ParagraphStyle("bold_right", self.bold, alignment=TA_RIGHT)
        self.pale = ParagraphStyle("pale", self.plain, textColor=PALE, fontSize=7.5, leading=10)
        self.pale_right = ParagraphStyle("pale_right", self.pale, alignment=TA_RIGHT)
        self.title = ParagraphStyle("title", self.bold, fontSize=20, leading=26)

    def bytes(self) -> bytes:
        """The finished file."""
        target = BytesIO()
        title = f"{self.words[self.document.kind]} {self.document.number}"
        template = SimpleDocTemplate(
            target,
            pagesize=A4,
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            topMargin=MARGIN,
            bottomMargin=MARGIN + 8 * mm,
            title=title,
            author=self._text(str(self.document.parties.get("seller", {}).get("name", ""))),
            lang=self.language,
            invariant=1,
        )
        story: list[Flowable] = [
            *self._head(),
            Spacer(1, 8 * mm),
            self._lines(),
            Spacer(1, 6 * mm),
            KeepTogether([self._taxes(), Spacer(1, 6 * mm), self._sums()]),
        ]
        template.build(story, onFirstPage=self._foot, onLaterPages=self._foot)
        return target.getvalue()

    def _head(self) -> Iterable[Flowable]:
        parties, words = self.document.parties, self.words
        facts = [(words["number"], self.document.number)]
        if parties.get("issued_on"):
            issued_on = date.fromisoformat(parties["issued_on"])
            facts.append((words["issued_on"], day(issued_on, self.language)))
        if parties.get("order_number"):
            facts.append((words["order_number"], str(parties["order_number"])))
        if parties.get("credited_number"):
            facts.append((words["credits"], str(parties["credited_number"])))
        yield Paragraph(escape(words[self.document.kind]), self.title)
        yield Spacer(1, 3 * mm)
        rows = [[self._cell(name, self.pale), self._cell(value, self.bold)] for name, value in facts]
        flush = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")]
        yield Table(rows, [38 * mm, WIDTH - 38 * mm], hAlign="LEFT", style=flush)
        yield Spacer(1, 6 * mm)
        seller, buyer = parties.get("seller", {}), parties.get("buyer", {})
        yield Table(
            [[self._party(words["seller"], seller), self._party(words["buyer"], buyer)]],
            [WIDTH / 2, WIDTH / 2],
            hAlign="LEFT",
            style=flush,
        )

    def _party(self, heading: str, party: Mapping[str, Any]) -> list[Flowable]:
        town = " ".join(str(party[name]) for name in ("postal_code", "city") if party.get(name))
        place = ", ".join(str(part) for part in (town, party.get("region"), party.get("country")) if part)
        lines = [str(party[name]) for name in ADDRESS if party.get(name)] + ([place] if place else [])
        shown: list[Flowable] = [self._cell(heading, self.pale)]
        shown += [self._cell(line, self.bold if n == 0 else self.plain) for n, line in enumerate(lines)]
        for name in IDENTITY:
            if party.get(name):
                shown.append(self._cell(f"{self.words[name]} {party[name]}", self.pale))
        return shown

    def _lines(self) -> Table:
        words = self.words
        is_gross = self.document.kind == "credit_note" or self.document.parties.get(
            "prices_include_tax", True
        )
        heads = (
            "description",
            "quantity",
            "unit_incl" if is_gross else "unit_excl",
            "discount",
            "rate",
            "total",
        )
        rows = [
            [self._cell(words[name], self.pale_right if n else self.pale) for n, name in enumerate(heads)]
        ]
        for line in self.document.lines:
            discount = line["discount_amount"]
            rows.append(
                [
                    self._cell(line["description"], self.plain),
                    self._cell(str(line["quantity"]), self.right),
                    self._cell(self._money(line["unit_amount"]), self.right),
                    self._cell(self._money(-discount) if discount else "", self.right),
                    self._cell(percent(line["tax_rate_bps"], self.language), self.right),
                    self._cell(self._money(line["total_amount"]), self.right),
                ]
            )
        return self._table(rows, LINE_WIDTHS)

    def _taxes(self) -> Table:
        words = self.words
        heads = ("tax_rate", "net", "tax", "gross")
        rows = [
            [self._cell(words[name], self.pale_right if n else self.pale) for n, name in enumerate(heads)]
        ]
        for group in self.document.tax_groups:
            amounts = [group[name] for name in ("net_amount", "tax_amount", "gross_amount")]
            rate = self._cell(percent(group["rate_bps"], self.language), self.plain)
            rows.append([rate, *(self._cell(self._money(amount), self.right) for amount in amounts)])
        return self._table(rows, TAX_WIDTHS)

    def _sums(self) -> Table:
        document, words = self.document, self.words
        is_credit = document.kind == "credit_note"
        whole = words["credited" if is_credit else "amount"]
        rows = [
            [
                self._cell(words["subtotal"], self.right),
                self._cell(self._money(document.subtotal), self.right),
            ],
            [self._cell(words["tax_total"], self.right), self._cell(self._money(document.tax), self.right)],
            [self._cell(whole, self.bold_right), self._cell(self._money(document.amount), self.bold_right)],
        ]
        if document.paid_on is not None and not is_credit:
            paid = f"{words['paid_on']} {day(document.paid_on, self.language)}"
            # The day alone says that the whole was paid, which is wrong where another amount was accepted.
            is_whole = document.amount_paid == document.amount
            amount = "" if is_whole else self._money(document.amount_paid)
            rows.append([self._cell(paid, self.pale_right), self._cell(amount, self.right)])
        return Table(
            rows,
            SUM_WIDTHS,
            hAlign="RIGHT",
            style=[("LINEABOVE", (0, 2), (-1, 2), 0.6, INK), ("RIGHTPADDING", (0, 0), (-1, -1), 4)],
        )

    def _table(self, rows: list[list[Flowable]], widths: list[float]) -> Table:
        return Table(
            rows,
            widths,
            repeatRows=1,
            hAlign="LEFT",
            style=[
                ("BACKGROUND", (0, 0), (-1, 0), SHADE),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 4),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            ],
        )

    def _foot(self, canvas: Canvas, template: SimpleDocTemplate) -> None:
        seller = self.document.parties.get("seller", {})
        parts = [str(seller.get("name") or "")]
        parts += [f"{self.words[name]} {seller[name]}" for name in IDENTITY if seller.get(name)]
        canvas.saveState()
        canvas.setFont(self.fonts.plain, 7)
        canvas.setFillColor(PALE)
        room = int(WIDTH / 4)
        canvas.drawString(LEFT, MARGIN, self._text(" · ".join(part for part in parts if part))[:room])
        page = f"{self.document.number} · {self.words['page']} {template.page}"
        canvas.drawRightString(A4[0] - LEFT, MARGIN - 4 * mm, self._text(page))
        canvas.restoreState()

    def _cell(self, text: str, style: ParagraphStyle) -> Paragraph:
        return Paragraph(escape(self._text(text)), style)

    def _money(self, amount: int) -> str:
        return money(amount, self.document.currency, self.language)

    def _text(self, text: str) -> str:
        return self.fonts.writable(text)
