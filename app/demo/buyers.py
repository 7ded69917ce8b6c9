"""Who buys from the demo brand: invented people at addresses of the kind that each country has."""

from dataclasses import dataclass
from typing import Any

FIRST_NAMES = (
    *("Anna", "Camille", "Chloé", "Élise", "Hugo", "Inès", "Jeanne", "Jules", "Léa", "Léon"),
    *("Louise", "Lucas", "Manon", "Marc", "Nina", "Oscar", "Paul", "Romane", "Sacha", "Zoé"),
)
LAST_NAMES = (
    *(
        "Bernard",
        "Blanc",
        "Carpentier",
        "Duval",
        "Faure",
        "Garnier",
        "Hubert",
        "Lambert",
        "Lefèvre",
        "Martin",
    ),
    *("Moreau", "Nicolas", "Perrin", "Renaud", "Rousseau", "Vidal", "Weber", "Rossi", "Jansen", "Keller"),
)
PLACES = (
    ("75004", "Paris", "FR", "rue des Rosiers"),
    ("75011", "Paris", "FR", "rue Oberkampf"),
    ("69002", "Lyon", "FR", "rue Mercière"),
    ("13007", "Marseille", "FR", "rue Sainte"),
    ("33000", "Bordeaux", "FR", "cours de l'Intendance"),
    ("59000", "Lille", "FR", "rue de la Monnaie"),
    ("1050", "Bruxelles", "BE", "rue du Bailli"),
    ("10117", "Berlin", "DE", "Friedrichstraße"),
    ("20121", "Milano", "IT", "via Brera"),
    ("1204", "Genève", "CH", "rue du Rhône"),
    ("W1K 4HW", "London", "GB", "Mount Street"),
    ("2449", "Luxembourg", "LU", "boulevard Royal"),
)
PLAIN = str.maketrans("çéèÉ", "ceeE")


@dataclass(frozen=True, slots=True)
class Buyer:
    """One buyer with the address that goods and bill go to."""

    name: str
    email: str
    phone: str
    line1: str
    postal_code: str
    city: str
    country: str

    @property
    def address(self) -> dict[str, Any]:
        """The address as orders take it."""
        return {
            "name": self.name,
            "line1": self.line1,
            "postal_code": self.postal_code,
            "city": self.city,
            "country": self.country,
        }


def buyer(number: int) -> Buyer:
    """The buyer of this number; the same number is always the same person, and there are 400 of them."""
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[(number // len(FIRST_NAMES) + number) % len(LAST_NAMES)]
    postal_code, city, country, street = PLACES[(number * 5 + number // 7) % len(PLACES)]
    return Buyer(
        name=f"{first} {last}",
        email=f"{first}.{last}@example.test".translate(PLAIN).lower(),
        phone=f"+33 6 00 00 {number // 100 % 100:02d} {number % 100:02d}",
        line1=f"{number % 90 + 1} {street}",
        postal_code=postal_code,
        city=city,
        country=country,
    )
