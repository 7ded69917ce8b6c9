"""Retrieving and listing, which is alike for every kind of object."""

from collections.abc import Callable

from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.views import page

Filter = Callable[[Object, str], bool]


def retrievable(kind: str, path: str, parameters: str) -> None:
    """Let `GET path/{id}` answer an object of a kind; a deleted one answers that it is."""

    def retrieve(state: State, _: Params, identifier: str) -> Object:
        found = state.objects.get(identifier)
        return found if found and found["object"] == kind else state.get(kind, identifier)

    route("GET", f"{path}/{{id}}", parameters)(retrieve)


def listable(kind: str, path: str, parameters: str, **filters: Filter | str) -> None:
    """Let `GET path` list the objects of a kind, newest first.

    A filter is the attribute that must equal the parameter of that name, or a function that judges it.
    """

    def list_all(state: State, params: Params) -> Object:
        asked = [(rule, value) for name, rule in filters.items() if (value := params.text(name)) is not None]

        def fits(item: Object) -> bool:
            return all(
                rule(item, value) if callable(rule) else _plain(item.get(rule)) == value
                for rule, value in asked
            )

        return page(params, path, state.all(kind, where=fits))

    route("GET", path, parameters)(list_all)


def _plain(value: object) -> str | None:
    """A value as a query writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
