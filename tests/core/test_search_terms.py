"""Search terms: what is kept of a text, and the text of queries."""

from uuid import UUID

import pytest

from app.core.search_terms import fold, prefix_query, search_query, search_terms

ORGANIZATION = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
PREFIX = "b302099a8057"


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Crème Brûlée", ["creme", "brulee"]),
        ("İSTANBUL ISPARTA ışık", ["istanbul", "isparta", "ısık"]),
        ("Straße STRASSE", ["strasse"]),
        ("ﬁn ℋ ²", ["fin", "h", "2"]),
        ('O\'Neil\\x "quoted" a&b|c:*', ["o", "neil", "x", "quoted", "a", "b", "c"]),
        ("🎁 gift 👨‍👩‍👧", ["gift"]),
        ("שָׁלוֹם مَرحبا", ["שלום", "مرحبا"]),
        ("ORD-2026/000123", ["ord", "2026", "000123"]),
        ("हिन्दी", ["हनद"]),
        ("a\x00b\ud800c", ["a", "b", "c"]),
        (" .,;- ", []),
        ("", []),
    ],
)
def test_fold_keeps_letters_and_digits_when_text_is_mixed(text, terms):
    assert fold(text) == terms


def test_fold_cuts_long_terms_and_drops_what_becomes_double():
    assert fold("x" * 50 + " " + "x" * 60) == ["x" * 40]


def test_fold_keeps_the_first_terms_when_there_are_too_many():
    assert fold(" ".join(f"t{n}" for n in range(100))) == [f"t{n}" for n in range(64)]


def test_search_terms_bear_the_end_of_the_organisation_id():
    assert search_terms(ORGANIZATION, "Mug Anna", None, "", "SKU-1 mug") == [
        PREFIX + term for term in ("mug", "anna", "sku", "1")
    ]


def test_search_terms_are_limited_over_all_texts_together():
    texts = [" ".join(f"{name}{n}" for n in range(40)) for name in ("a", "b")]
    terms = search_terms(ORGANIZATION, *texts)
    assert len(terms) == 64
    assert terms[-1] == f"{PREFIX}b23"


def test_query_has_a_quoted_prefix_for_each_term():
    assert search_query(ORGANIZATION, "Änna 42") == f"'{PREFIX}anna':* & '{PREFIX}42':*"


def test_query_stops_at_eight_terms():
    query = search_query(ORGANIZATION, "a b c d e f g h i j")
    assert query is not None
    assert query.count(":*") == 8
    assert query.endswith(f"'{PREFIX}h':*")


def test_query_gives_operators_no_meaning():
    assert search_query(ORGANIZATION, "it's \\ a:* | !b") == " & ".join(
        f"'{PREFIX}{term}':*" for term in ("it", "s", "a", "b")
    )


@pytest.mark.parametrize("q", ["🎁", "' \\ & | !", "\u0301"])
def test_query_is_none_when_no_term_is_left(q):
    assert search_query(ORGANIZATION, q) is None


def test_prefix_query_takes_folded_terms_as_they_are():
    assert prefix_query(fold("Été mug")) == "'ete':* & 'mug':*"
    assert prefix_query([]) is None
