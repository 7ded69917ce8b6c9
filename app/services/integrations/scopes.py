"""Which scopes there are, and who may give which to a key."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from app.core.access import Principal
from app.core.errors import FieldError, Invalid
from app.core.permission_descriptions import DESCRIPTIONS
from app.core.permissions import KNOWN, LEGACY_SCOPES, OPEN_TO_KEYS, Permission, scopes_of
from app.schemas.integrations.api_keys import ScopeList, ScopeRead

NO_RIGHTS: frozenset[Permission] = frozenset()


def scope_list(principal: Principal) -> ScopeList:
    """Every scope in alphabetical order, and whether this person may give it."""
    return ScopeList(
        items=[
            ScopeRead(scope=scope, description=DESCRIPTIONS[scope], grantable=principal.may(scope))
            for scope in sorted(OPEN_TO_KEYS)
        ],
        legacy={word: sorted(scopes) for word, scopes in LEGACY_SCOPES.items()},  # type: ignore[misc]  # its three words
    )


def effective(words: Iterable[object], rights: frozenset[Permission]) -> list[Permission]:
    """What a key with these words may do for somebody with these rights."""
    return sorted(scopes_of(words) & rights)


def judge_scopes(
    principal: Principal,
    words: Sequence[str],
    *,
    rights: frozenset[Permission],
    before: Sequence[str] = (),
) -> None:
    """Raise 422 unless every word is known and whoever gives them holds what they add.

    `rights` are those of the person who made the key, by which the older words are cut; `before` is what the
    key had.
    """
    unknown = [
        FieldError(
            f"/permissions/{place}", "unknown_scope", "There is no such scope; the route `scopes` lists all."
        )
        for place, word in enumerate(words)
        if word not in LEGACY_SCOPES and KNOWN.get(word) not in OPEN_TO_KEYS
    ]
    if unknown:
        raise Invalid("unknown_scope", "There is no such scope for API keys.", errors=unknown)
    had = scopes_of(before)
    lacking = {
        word
        for word in words
        for scope in scopes_of([word]) - had
        if scope not in principal.permissions and (word not in LEGACY_SCOPES or scope in rights)
    }
    refuse_lacking(words, lacking)


def judge_copy(principal: Principal, words: Sequence[str], rights: frozenset[Permission]) -> None:
    """Raise 422 when a key may do more than the person who would get a copy of it in their own name."""
    lacking = {word for word in words if scopes_of([word]) & rights - principal.permissions}
    refuse_lacking(words, lacking)


def refuse_lacking(words: Sequence[str], lacking: set[str]) -> None:
    """422 `scope_not_grantable` that names the words which somebody may not give."""
    if lacking:
        raise Invalid(
            "scope_not_grantable",
            "You may only give scopes that you hold yourself.",
            errors=[
                FieldError(f"/permissions/{place}", "scope_not_grantable", "You do not hold this yourself.")
                for place, word in enumerate(words)
                if word in lacking
            ],
        )


def rights_or_none(found: dict[UUID, frozenset[Permission]], user_id: UUID) -> frozenset[Permission]:
    """A person's rights, none when they may not act in the organisation."""
    return found.get(user_id, NO_RIGHTS)
