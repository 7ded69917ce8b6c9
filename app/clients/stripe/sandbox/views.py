"""What answers show: objects with what was asked to be expanded, and pages of lists."""

from collections.abc import Callable, Iterable
from typing import Any

from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.state import Object, State, shown

Computed = Callable[[State, Object], Any]

INCLUDES: dict[tuple[str, str], Computed] = {}
"""Attributes that are sent only where `expand` names them, by kind and name."""

MAX_EXPANSION = 4


def includable(kind: str, name: str) -> Callable[[Computed], Computed]:
    """Register how an attribute that is only sent on request is made."""

    def register(function: Computed) -> Computed:
        INCLUDES[kind, name] = function
        return function

    return register


def expanded(state: State, item: Object, paths: Iterable[str]) -> Object:
    """A copy of an object for an answer, with ids replaced by their objects along the paths."""
    answer: Object = shown(item)
    for path in paths:
        parts = path.split(".")
        if len(parts) > MAX_EXPANSION + (parts[0] == "data"):
            raise invalid(f"You cannot expand more than 4 levels of a property: {path}", param="expand")
        _expand(state, answer, parts, path)
    return answer


def _expand(state: State, value: Any, parts: list[str], path: str) -> None:
    """Walk one path; lists are walked through, whether they are named by `data` or are plain."""
    if isinstance(value, list):
        for item in value:
            _expand(state, item, parts, path)
        return
    if not parts or not isinstance(value, dict):
        return
    name, *rest = parts
    if name not in value and (compute := INCLUDES.get((value.get("object", ""), name))):
        value[name] = shown(compute(state, state.objects.get(value.get("id", ""), value)))
    if name not in value:
        if value.get("deleted"):
            return
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    target = value[name]
    if isinstance(target, str):
        found = state.objects.get(target)
        if found is None:
            raise invalid(f"This property cannot be expanded ({path}).", param="expand")
        value[name] = target = shown(found)
    _expand(state, target, rest, path)


def listed(url: str, items: list[Any], *, has_more: bool = False) -> Object:
    """A list object."""
    return {"object": "list", "data": items, "has_more": has_more, "url": url}


def page(params: Params, url: str, items: Iterable[Object]) -> Object:
    """One page of `items`, which come newest first, as `limit`, `starting_after` and `ending_before` ask."""
    limit = params.number("limit", 10)
    if not 1 <= limit <= 100:
        raise invalid("Limit must be between 1 and 100.", code="parameter_invalid_integer", param="limit")
    created = params.hash("created") if isinstance(params.values.get("created"), dict) else None
    found = [item for item in items if created is None or _within(item["created"], created)]
    ids = [item["id"] for item in found]
    after, before = params.text("starting_after"), params.text("ending_before")
    for name, cursor in (("starting_after", after), ("ending_before", before)):
        if cursor and cursor not in ids:
            raise invalid(f"No such object: '{cursor}'", code="resource_missing", param=name)
    if before:
        end = ids.index(before)
        start = max(0, end - limit)
        return listed(url, found[start:end], has_more=start > 0)
    start = ids.index(after) + 1 if after else 0
    return listed(url, found[start : start + limit], has_more=start + limit < len(found))


def _within(created: int, bounds: Params) -> bool:
    """Whether a time keeps to `gt`, `gte`, `lt` and `lte`."""
    low, high = bounds.integer("gte"), bounds.integer("lte")
    above, below = bounds.integer("gt"), bounds.integer("lt")
    return (
        (low is None or created >= low)
        and (high is None or created <= high)
        and (above is None or created > above)
        and (below is None or created < below)
    )
