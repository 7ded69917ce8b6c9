"""Finds a request's route at once, however many there are, and keeps what routes depend on out of threads.

The framework asks one route after the other, every one twice, and calls classes and functions in a thread
pool. Both cost more than most requests do. What is not found here is left to the framework: it knows every
odd case.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext
from starlette.convertors import StringConvertor
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import method_not_allowed
from app.core.plans import Plan, plan_of
from app.core.routes import api_routes, dependants_of

Call = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A route as it is run: the names of its ids in order, and its plan if it has one."""

    route: BaseRoute
    endpoint: Callable[..., Any]
    app: ASGIApp
    names: tuple[str, ...]
    plan: Plan | None

    def enter(self, scope: Scope, values: list[str]) -> None:
        """Write into the scope what the framework's router would."""
        scope["router"] = scope["app"].router
        scope["route"] = self.route
        scope["endpoint"] = self.endpoint
        scope["path_params"] = dict(zip(self.names, values, strict=True))


class _Node:
    """A place in the tree of addresses: what may follow, and the routes that end here, by method."""

    __slots__ = ("ends", "literals", "parameter")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.ends: dict[str, Entry] = {}


class RouteIndex:
    """The routes of an application by the segments of their addresses.

    A literal goes before an id, whatever the method: what has an address of its own is no id.
    """

    def __init__(self, app: FastAPI) -> None:
        self._root = _Node()
        for route in api_routes(app):
            # Only ids that are one segment: what takes a whole rest of a path is the framework's affair.
            if all(type(kind) is StringConvertor for kind in route.param_convertors.values()):
                self._add(route)

    def find(self, path: str) -> tuple[dict[str, Entry], list[str]] | None:
        """The routes of an address by method, and the values of its ids in order; None without any."""
        return next(_ends(self._root, path.split("/"), 0, []), None)

    def _add(self, route: RouteContext) -> None:
        node = self._root
        for segment in str(route.path_format).split("/"):
            if segment.startswith("{") and segment.endswith("}"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            elif "{" in segment:
                return
            else:
                node = node.literals.setdefault(segment, _Node())
        plan = plan_of(route)
        entry = Entry(
            route.original_route,
            cast("Call", route.endpoint),
            route.app,
            tuple(route.param_convertors),
            plan,
        )
        for method in route.methods or ():
            node.ends.setdefault(method, entry)


def _ends(
    node: _Node, segments: list[str], depth: int, values: list[str]
) -> Iterator[tuple[dict[str, Entry], list[str]]]:
    """Every way through the tree, the more literal ones first."""
    if depth == len(segments):
        if node.ends:
            yield node.ends, values
        return
    segment = segments[depth]
    following = node.literals.get(segment)
    if following is not None:
        yield from _ends(following, segments, depth + 1, values)
    if node.parameter is not None and segment:
        yield from _ends(node.parameter, segments, depth + 1, [*values, segment])


class ReadLayer:
    """Answers what has a plan, and leaves the rest to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            found = scope["app"].state.route_index.find(scope["path"])
            entry = found[0].get("GET") if found is not None else None
            if entry is not None and entry.plan is not None:
                entry.enter(scope, found[1])
                await entry.plan.answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Dispatcher:
    """Stands before the framework's router, and runs the route that the index names as the router would."""

    def __init__(self, router: ASGIApp, index: RouteIndex) -> None:
        self.router = router
        self.index = index

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Behind a mount the framework takes the prefix off the path.
        if scope["type"] != "http" or scope.get("root_path"):
            await self.router(scope, receive, send)
            return
        found = self.index.find(scope["path"])
        if found is None:
            await self.router(scope, receive, send)
            return
        by_method, values = found
        route = by_method.get(scope["method"])
        if route is None:
            scope["route"] = next(iter(by_method.values())).route
            raise method_not_allowed()
        route.enter(scope, values)
        await (route.app if route.plan is None else route.plan.answer)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Put the index before the router; every route must have been included by now."""
    wrapped: dict[Call, Call] = {}
    for route in api_routes(app):
        for dependant in dependants_of(route):
            _keep_on_loop(dependant, wrapped)
    index = app.state.route_index = RouteIndex(app)
    app.router.middleware_stack = Dispatcher(app.router.middleware_stack, index)


def _keep_on_loop(dependant: Dependant, wrapped: dict[Call, Call]) -> None:
    """Let a class or a plain function be called where it is asked for: ours only keep and look up things."""
    call = dependant.call
    is_plain = inspect.isfunction(call) and not (
        inspect.iscoroutinefunction(call)
        or inspect.isgeneratorfunction(call)
        or inspect.isasyncgenfunction(call)
    )
    if call is not None and (is_plain or isinstance(call, type)):
        dependant.call = wrapped.setdefault(call, _at_once(call))


def _at_once(call: Call) -> Callable[..., Awaitable[Any]]:
    async def answer(**values: Any) -> Any:
        return call(**values)

    return answer
