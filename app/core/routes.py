"""The application's routes, read from outside: who may call them, and which methods an address knows."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import PARAM_FORMAT_REGEX


def api_routes(app: FastAPI) -> Iterator[RouteContext]:
    """Every route of every router, in the order in which they are asked.

    `app.routes` itself holds opaque included routers; a loop over it would find nothing.
    """
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            yield context


def dependencies_of(route: RouteContext) -> Iterator[Any]:
    """Everything that the route depends on, near and far: functions, classes, markers, limits."""
    for needed in dependants_of(route):
        yield needed.call


def dependants_of(route: RouteContext) -> Iterator[Dependant]:
    """The same as the framework keeps it: what is called, and with what."""
    waiting: list[Dependant] = [route.dependant]
    while waiting:
        for needed in waiting.pop(0).dependencies:
            yield needed
            waiting.append(needed)


def allowed_methods(app: FastAPI, path: str) -> frozenset[str]:
    """The methods of an address. Of several templates that match, the one with the fewest ids counts."""
    methods: dict[str, set[str]] = {}
    for route in api_routes(app):
        if route.path_regex.match(path):
            methods.setdefault(str(route.path_format), set()).update(route.methods or ())
    if not methods:
        return frozenset()
    fewest = min(map(_ids, methods))
    return frozenset().union(*(known for template, known in methods.items() if _ids(template) == fewest))


@lru_cache(maxsize=2048)
def _ids(template: str) -> int:
    return len(PARAM_FORMAT_REGEX.findall(template))
