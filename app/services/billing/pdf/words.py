"""Owns the words of printed documents, and how amounts and days are written in them."""

from collections.abc import Mapping
from datetime import date

from app.core.currencies import CURRENCIES

LANGUAGES = ("fr", "en")

WORDS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "order": "Facture",
        "credit_note": "Avoir",
        "subscription": "Facture",
        "number": "Numéro",
        "issued_on": "Émise le",
        "order_number": "Commande",
        "credits": "Avoir sur la facture",
        "seller": "Vendeur",
        "buyer": "Client",
        "description": "Désignation",
        "quantity": "Qté",
        "unit_incl": "Prix unitaire TTC",
        "unit_excl": "Prix unitaire HT",
        "discount": "Remise",
        "rate": "TVA",
        "total": "Total TTC",
        "tax_rate": "Taux de TVA",
        "net": "Base HT",
        "tax": "TVA",
        "gross": "TTC",
        "subtotal": "Total HT",
        "tax_total": "Total TVA",
        "amount": "Total TTC",
        "credited": "Montant remboursé",
        "paid_on": "Payée le",
        "registration": "Immatriculation",
        "siren": "SIREN",
        "vat_number": "N° TVA",
        "page": "Page",
        "of": "sur",
    },
    "en": {
        "order": "Invoice",
        "credit_note": "Credit note",
        "subscription": "Invoice",
        "number": "Number",
        "issued_on": "Date of issue",
        "order_number": "Order",
        "credits": "Credits invoice",
        "seller": "Seller",
        "buyer": "Bill to",
        "description": "Description",
        "quantity": "Qty",
        "unit_incl": "Unit price incl. tax",
        "unit_excl": "Unit price excl. tax",
        "discount": "Discount",
        "rate": "Tax",
        "total": "Total incl. tax",
        "tax_rate": "Tax rate",
        "net": "Net",
        "tax": "Tax",
        "gross": "Gross",
        "subtotal": "Total excl. tax",
        "tax_total": "Total tax",
        "amount": "Total incl. tax",
        "credited": "Amount refunded",
        "paid_on": "Paid on",
        "registration": "Registration",
        "siren": "SIREN",
        "vat_number": "VAT no.",
        "page": "Page",
        "of": "of",
    },
}

MONTHS: Mapping[str, tuple[str, ...]] = {
    "fr": (
        "janvier", "février", "mars", "avril", "mai", "juin",
        "juillet", "août", "septembre", "octobre", "novembre", "décembre",
    ),
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
}  # fmt: skip

NO_BREAK = "\u00a0"


def money(amount: int, currency: str, language: str) -> str:
    """An amount in minor units with the decimals of its currency: `1 234,50 EUR` or `EUR 1,234.50`."""
    exponent = CURRENCIES[currency].exponent if currency in CURRENCIES else 2
    whole, part = divmod(abs(amount), 10**exponent)
    sign = "-" if amount < 0 else ""
    group, point = (NO_BREAK, ",") if language == "fr" else (",", ".")
    number = f"{sign}{whole:,}".replace(",", group)
    if exponent:
        number += f"{point}{part:0{exponent}d}"
    return f"{number}{NO_BREAK}{currency}" if language == "fr" else f"{currency}{NO_BREAK}{number}"


def percent(rate_bps: int, language: str) -> str:
    """A rate in basis points: `5,5 %` or `5.5%`."""
    text = f"{rate_bps // 100}.{rate_bps % 100:02d}".rstrip("0").rstrip(".")
    return f"{text.replace('.', ',')}{NO_BREAK}%" if language == "fr" else f"{text}%"


def day(value: date, language: str) -> str:
    """A day in words: `20 novembre 2026` or `20 November 2026`."""
    first = "1er" if language == "fr" and value.day == 1 else str(value.day)
    return f"{first} {MONTHS[language][value.month - 1]} {value.year}"
