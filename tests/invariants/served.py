"""The routes of the service with what decides over their callers, and requests that fit them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from httpx import AsyncClient, Response

from app.core.access import Marker
from app.core.limits import RateLimit
from app.main import create_app
from tests.invariants.examples import example_body


@dataclass(frozen=True)
class Served:
    """One method of one route."""

    method: str
    path: str
    context: RouteContext

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @cached_property
    def resolved(self) -> list[Any]:
        """Everything that the route depends on, in the order in which it is called."""
        return list(_in_order(self.context.dependant))

    @property
    def markers(self) -> list[Marker]:
        return [call for call in self.resolved if isinstance(call, Marker)]

    @property
    def marker(self) -> Marker:
        assert self.markers, f"{self.name} has no access marker: add one from app.core.access"
        return self.markers[0]

    @property
    def limits(self) -> list[RateLimit]:
        return [call for call in self.resolved if isinstance(call, RateLimit)]

    @property
    def path_ids(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def operation(self) -> dict[str, Any]:
        """What the document says of it."""
        found: dict[str, Any] = document()["paths"][self.path][self.method.lower()]
        return found

    async def ask(
        self, client: AsyncClient, headers: dict[str, str] | None = None, *, body: Any = None, **path_ids: Any
    ) -> Response:
        """Request it; path ids that are not given are those of nothing."""
        ids = {name: path_ids.get(name, uuid4()) for name in self.path_ids}
        return await client.request(self.method, self.path.format(**ids), headers=headers, json=body)

    def example(self) -> Any:
        """The body that the document shows, or None when the route takes none."""
        return example_body(document(), self.operation)


def _in_order(dependant: Dependant) -> Iterator[Any]:
    for needed in dependant.dependencies:
        yield from _in_order(needed)
        yield needed.call


@lru_cache(maxsize=1)
def application() -> FastAPI:
    """The application, only to be looked at; tests that send requests use the fixture `client`."""
    return create_app()


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    return application().openapi()


@lru_cache(maxsize=1)
def contexts() -> tuple[RouteContext, ...]:
    """Every route object, those of Starlette too."""
    return tuple(iter_route_contexts(application().routes))


@lru_cache(maxsize=1)
def served() -> tuple[Served, ...]:
    """Every route that the service answers, HEAD apart."""
    return tuple(
        Served(method, str(context.path_format), context)
        for context in contexts()
        if isinstance(context.original_route, APIRoute)
        for method in sorted(context.methods or ())
        if method != "HEAD"
    )


def documented() -> list[Served]:
    """Those that the document lists."""
    return [route for route in served() if route.context.include_in_schema]


def guarded() -> list[Served]:
    """Those that ask for a credential of this service."""
    return [route for route in served() if route.marker.access == "allow"]
