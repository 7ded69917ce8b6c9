"""Folding text into search terms, and the text of the queries that find them."""

import unicodedata
from uuid import UUID

import regex

MAX_TERM_LENGTH = 40
MAX_TERMS = 64
MAX_QUERY_TERMS = 8

_MARKS = regex.compile(r"\p{M}+")
_TERM = regex.compile(r"[\p{L}\p{Nd}]+")


def fold(text: str) -> list[str]:
    """The search terms of a text in order, each once: letters and digits only, without case and accents.

    At most 64 terms of at most 40 characters. The same function folds what is stored and what is asked for.
    """
    return _first_terms([text], MAX_TERMS)


def search_terms(organization_id: UUID, *texts: str | None) -> list[str]:
    """The terms of all texts together (None is skipped), ready for `array_to_tsvector`; at most 64.

    Each begins with the end of the organisation's id, so that the index is read for its own words only.
    """
    prefix = _prefix(organization_id)
    return [prefix + term for term in _first_terms([text for text in texts if text], MAX_TERMS)]


def search_query(organization_id: UUID, q: str) -> str | None:
    """The text of a `tsquery` that finds what has, for each of the first 8 terms of `q`, a word beginning so.

    It is to be bound as a parameter and cast to `tsquery`. None when no term is left.
    """
    prefix = _prefix(organization_id)
    return prefix_query([prefix + term for term in _first_terms([q], MAX_QUERY_TERMS)])


def prefix_query(terms: list[str]) -> str | None:
    """The text of a `tsquery` of folded terms, each a prefix and all due; None without a term.

    Folded terms hold letters and digits only, so nothing in them needs escaping inside the quotes.
    """
    return " & ".join(f"'{term}':*" for term in terms) or None


def _prefix(organization_id: UUID) -> str:
    return organization_id.hex[-12:]


def _first_terms(texts: list[str], limit: int) -> list[str]:
    terms: dict[str, None] = {}
    for text in texts:
        # NFKD turns letter-like symbols (a script capital H) into plain capitals, hence the second casefold.
        plain = _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold())).casefold()
        for match in _TERM.finditer(plain):
            terms[match.group()[:MAX_TERM_LENGTH]] = None
            if len(terms) == limit:
                return list(terms)
    return list(terms)
