"""How a request is read: its headers, and where frameworks are lenient: repeated parameters, encodings."""

import json
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException as StarletteHTTPException  # noqa: TID251 - see _unsupported
from starlette.types import Scope

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

IDENTITY = frozenset({"", "identity"})
UTF_8 = frozenset({"utf-8", "utf8"})


def header(scope: Scope, wanted: bytes) -> bytes | None:
    """The first value of a request header, whose name is in lower case."""
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return None


class _Parameters(QueryParams):
    """A parameter that was sent more than once is a list, which nothing but a list takes (422)."""

    def get(self, key: str, default: Any = None) -> Any:
        values = self.getlist(key)
        return values if len(values) > 1 else super().get(key, default)


class StrictRequest(Request):
    """A request that takes nothing for something else."""

    @property
    def query_params(self) -> QueryParams:
        """The parameters; see `_Parameters`."""
        if not hasattr(self, "_query_params"):
            self._query_params = _Parameters(self.scope["query_string"])
        return self._query_params

    async def body(self) -> bytes:
        """The body as it was sent. 415 when it is compressed, or text in another encoding than UTF-8."""
        if self.headers.get("content-encoding", "").strip().lower() not in IDENTITY:
            raise _unsupported("Send the body as it is, without `Content-Encoding`.")
        content_type = self.headers.get("content-type", "")
        if ";" in content_type and _charset(content_type) not in UTF_8:
            raise _unsupported("Send the body in UTF-8.")
        return await super().body()

    async def json(self) -> Any:
        """The body's JSON. JSONDecodeError when it is not UTF-8, or when an object has a name twice."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                text = body.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise json.JSONDecodeError("not UTF-8", "", error.start) from None
            self._json = json.loads(text, object_pairs_hook=_object)
        return self._json


class StrictRoute(APIRoute):
    """The class of every route: `APIRouter(route_class=StrictRoute)`."""

    def get_route_handler(self) -> Handler:
        """The handler, with a request that is read as StrictRequest does."""
        handler = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            # What has neither a body nor a second parameter is read as it is anyway.
            if request.scope["method"] == "GET" and b"&" not in request.scope["query_string"]:
                return await handler(request)
            return await handler(StrictRequest(request.scope, request.receive))

        return strictly


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        raise json.JSONDecodeError("a name stands twice in an object", "", 0)
    return made


def _charset(content_type: str) -> str:
    message = Message()
    message["content-type"] = content_type
    return message.get_content_charset("utf-8")


def _unsupported(detail: str) -> StarletteHTTPException:
    # FastAPI lets this class alone through while it reads a body, and makes a 400 of every other.
    return StarletteHTTPException(415, detail)
