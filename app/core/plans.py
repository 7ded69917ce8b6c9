"""Answers requests as the framework would, by a list of steps worked out once instead of at every request.

A route stays what it is: its signature, its marker, its limits and its models are those that the framework
knows, and the functions that read parameters and bodies and write answers are the framework's own. What a
plan cannot express (a form, a stream, a dependency that outlives the handler) has none and goes the ordinary
way.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.routing import RouteContext, serialize_response
from pydantic_core import PydanticUndefined as Undefined
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.core.errors import is_json, unreadable
from app.core.requests import StrictRequest, StrictRoute

Kind = Literal["coroutine", "plain", "generator"]

FAILED = object()
"""What stands for a dependency whose parameters are not valid."""

NO_QUERY = QueryParams("")


@dataclass(slots=True)
class _Step:
    """One call: of a dependency, or at the end of the handler."""

    call: Callable[..., Any]
    kind: Kind
    needs: list[tuple[str, int]] = field(default_factory=list)
    """Names of arguments, and the earlier steps that made them."""
    request_name: str | None = None
    response_name: str | None = None
    dependant: Dependant = field(default_factory=Dependant)
    has_parameters: bool = False


class NoPlanError(Exception):
    """A route needs something that plans do not know."""


class Plan:
    """How one route is answered."""

    def __init__(self, route: RouteContext) -> None:
        """Work it out; NoPlanError when this route must go the ordinary way."""
        _refuse_unplain(route)
        self._field = route.response_field
        self._has_body = route.body_field is not None
        self._embeds = route._embed_body_fields
        self._status = route.status_code or 200
        self._steps: list[_Step] = []
        self._places: dict[Callable[..., Any], int] = {}
        self._add(route.dependant, is_handler=True)
        self._has_generators = any(step.kind == "generator" for step in self._steps)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the route; `path_params` are in the scope."""
        is_simple = not (self._has_body or scope["query_string"])
        request = Request(scope, receive) if is_simple else StrictRequest(scope, receive)
        if self._has_generators:
            async with AsyncExitStack() as stack:
                response = await self._run(request, stack)
        else:
            response = await self._run(request, None)
        await response(scope, receive, send)

    async def _run(self, request: Request, stack: AsyncExitStack | None) -> Response:
        body = await _body(request) if self._has_body else Undefined
        made: list[Any] = []
        errors: list[Any] = []
        aside = None
        for step in self._steps:
            values = {name: made[place] for name, place in step.needs}
            found = _parameters(step.dependant, request, values) if step.has_parameters else []
            if step.dependant.body_params:
                sent, faults = await request_body_to_args(step.dependant.body_params, body, self._embeds)
                values.update(sent)
                found += faults
            errors += found
            if errors and (found or any(value is FAILED for value in values.values())):
                made.append(FAILED)
                continue
            if step.request_name is not None:
                values[step.request_name] = request
            if step.response_name is not None:
                aside = aside or _blank()
                values[step.response_name] = aside
            if step is self._steps[-1] and errors:
                break
            if step.kind == "coroutine":
                made.append(await step.call(**values))
            elif stack is not None and step.kind == "generator":
                made.append(await stack.enter_async_context(step.call(**values)))
            else:
                made.append(step.call(**values))
        if errors:
            raise RequestValidationError(errors, body=None if body is Undefined else body)
        return await self._response(made[-1], aside)

    async def _response(self, answer: Any, aside: Response | None) -> Response:
        if isinstance(answer, Response):
            return answer
        content = await serialize_response(field=self._field, response_content=answer, dump_json=True)
        status = (aside.status_code if aside is not None else None) or self._status
        response = Response(content, status, media_type="application/json")
        if aside is not None:
            response.raw_headers.extend(aside.raw_headers)
        return response

    def _add(self, dependant: Dependant, *, is_handler: bool = False) -> int:
        """Add a call behind all that it needs; the same dependency is called once. Answers its place."""
        call = dependant.call
        if call is None or not dependant.use_cache or _is_special(dependant, is_handler=is_handler):
            raise NoPlanError
        if call in self._places and not is_handler:
            return self._places[call]
        needs = [(needed.name, self._add(needed)) for needed in dependant.dependencies]
        kind = _kind(call, dependant, is_handler=is_handler)
        self._steps.append(
            _Step(
                asynccontextmanager(call) if kind == "generator" else call,
                kind,
                [(name, place) for name, place in needs if name is not None],
                dependant.request_param_name,
                dependant.response_param_name,
                dependant,
                bool(dependant.path_params or dependant.query_params or dependant.header_params),
            )
        )
        place = len(self._steps) - 1
        self._places[call] = place
        return place


def plan_of(route: RouteContext) -> Plan | None:
    """The plan of a route, or None when it goes the ordinary way."""
    try:
        return Plan(route)
    except NoPlanError:
        return None


def _refuse_unplain(route: RouteContext) -> None:
    is_plain = (
        isinstance(route.original_route, StrictRoute)
        and isinstance(route.response_class, DefaultPlaceholder)
        and route.response_field is not None
        and not (route.body_field is not None and isinstance(route.body_field.field_info, Form))
        and not route.is_sse_stream
        and not route.is_json_stream
        and route.response_model_include is None
        and route.response_model_exclude is None
        and route.response_model_by_alias
        and not route.response_model_exclude_unset
        and not route.response_model_exclude_defaults
        and not route.response_model_exclude_none
    )
    if not is_plain:
        raise NoPlanError


def _is_special(dependant: Dependant, *, is_handler: bool) -> bool:
    """Whether it takes something that a plan does not give."""
    return bool(
        dependant.cookie_params
        or (dependant.body_params and not is_handler)
        or dependant.websocket_param_name
        or dependant.http_connection_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.own_oauth_scopes
        or dependant.concurrency
    )


def _kind(call: Callable[..., Any], dependant: Dependant, *, is_handler: bool) -> Kind:
    if inspect.isasyncgenfunction(call):
        # Only what ends with the handler: a plan keeps nothing open while the answer is sent.
        if is_handler or dependant.scope != "function":
            raise NoPlanError
        return "generator"
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004 - an instance that is called
        return "coroutine"
    if is_handler or inspect.isgeneratorfunction(call):
        raise NoPlanError
    return "plain"


async def _body(request: Request) -> Any:
    """What was sent: the value of JSON, the bytes of anything else, `Undefined` when there is nothing."""
    try:
        sent = await request.body()
        if not sent:
            return Undefined
        return await request.json() if is_json(request.headers.get("content-type", "")) else sent
    except json.JSONDecodeError as error:
        fault = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error"}
        raise RequestValidationError([{**fault, "input": {}}], body=error.doc) from error
    except (ClientDisconnect, RecursionError, ValueError) as error:
        raise unreadable() from error


def _parameters(dependant: Dependant, request: Request, values: dict[str, Any]) -> list[Any]:
    """Read the parameters of a call into `values`; answers their faults."""
    errors: list[Any] = []
    sources: tuple[tuple[list[Any], Mapping[str, Any]], ...] = (
        (dependant.path_params, request.path_params),
        (dependant.query_params, request.query_params if request.scope["query_string"] else NO_QUERY),
        (dependant.header_params, request.headers),
    )
    for fields, sent in sources:
        if fields:
            found, faults = request_params_to_args(fields, sent)
            values.update(found)
            errors += faults
    return errors


def _blank() -> Response:
    """What a handler may set headers and a status on, as the framework gives it."""
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]  # until a handler sets one
    return response
