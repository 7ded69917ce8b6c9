"""The demo brand: its people, one for each built-in role, and how it taxes, ships and discounts."""

from dataclasses import dataclass

from app.core.permissions import Role

ORGANIZATION = "Maison Aurore"
SLUG = "maison-aurore"
PASSWORD = "atelier-rose-1931"  # noqa: S105 - the documented password of demo accounts, which production refuses


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A member of the demo team."""

    role: Role
    email: str
    full_name: str
    locale: str


TEAM: tuple[DemoPerson, ...] = (
    DemoPerson(Role.owner, "demo@luneo.test", "Aurore Delacourt", "fr"),
    DemoPerson(Role.admin, "admin@luneo.test", "Basile Charpentier", "fr"),
    DemoPerson(Role.manager, "manager@luneo.test", "Clara Nguyen", "en"),
    DemoPerson(Role.designer, "designer@luneo.test", "Diego Santos", "en"),
    DemoPerson(Role.member, "member@luneo.test", "Emma Fontaine", "fr"),
    DemoPerson(Role.viewer, "viewer@luneo.test", "Felix Baumann", "en"),
)

TAX_RATES = {"FR": 2000, "BE": 2100, "DE": 1900, "IT": 2200, "LU": 1700, "CH": 0, "GB": 0}
"""Basis points by country; exports carry no tax of ours."""

EUROPE = ["FR", "BE", "DE", "IT", "LU"]
SHIPPING_RATES = (
    ("standard", "Colissimo", EUROPE, 1200, 30000),
    ("express", "Chronopost", EUROPE, 2900, None),
    ("world", "DHL Express", ["CH", "GB"], 4500, 200000),
)
"""Code, name, countries, price, and the subtotal from which it is free."""

DISCOUNT_CODES = (
    ("BIENVENUE10", "percent", 1000, 0),
    ("AURORE50", "fixed", 5000, 20000),
    ("PORT-OFFERT", "free_shipping", 0, 0),
)
"""Code, kind, value (basis points of a percentage, minor units of EUR) and the least subtotal."""

SELLER = {
    "name": "Maison Aurore SAS",
    "line1": "31 rue Saint-Honoré",
    "postal_code": "75001",
    "city": "Paris",
    "country": "FR",
    "registration": "SIREN 000 000 000",
    "vat_number": "FR00000000000",
}
"""Who sells. It is written last of all, so its presence says that the demo data is complete."""
