"""The addresses that the sandbox plays, each with the library's class of its parameters."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.clients.stripe.sandbox.errors import unknown_url
from app.clients.stripe.sandbox.forms import Params, parameter_names
from app.clients.stripe.sandbox.state import Object, State

Handler = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    """An operation: its address, its function `(state, params, *ids)` and the parameters that it knows."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    parameters: frozenset[str]


ROUTES: list[Route] = []


def route(method: str, path: str, parameters: str) -> Callable[[Handler], Handler]:
    """Register the function of an address such as `/v1/customers/{id}`; `{id}` is any one segment."""
    pattern = re.compile(re.sub(r"\{\w+\}", r"([A-Za-z0-9_\\-]{1,255})", path))

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, pattern, handler, parameter_names(parameters)))
        return handler

    return register


def dispatch(state: State, method: str, path: str, values: dict[str, Any]) -> Object:
    """Run the operation of an address; refuses addresses and parameters that Stripe does not have."""
    for found in ROUTES:
        if found.method == method and (match := found.pattern.fullmatch(path)):
            params = Params(values)
            params.refuse_unknown(found.parameters)
            return found.handler(state, params, *match.groups())
    raise unknown_url(method, path)
