"""Requests of tools to the sandbox, as the sandbox reads them."""

from fastapi import Request as HttpRequest

from app.clients.stripe.sandbox.pages import Page
from app.clients.stripe.sandbox.server import Request
from app.core.errors import BadRequest

PREFIX = "/sandbox/stripe"

__all__ = ["Page", "wire_request"]


async def wire_request(request: HttpRequest) -> Request:
    """The request of the wire; a form that is no text is refused."""
    path = request.url.path.removeprefix(PREFIX)
    if request.method != "POST":
        return Request(request.method, path, request.url.query, dict(request.headers))
    try:
        form = (await request.body()).decode("ascii")
    except UnicodeDecodeError:
        raise BadRequest("invalid_form", "Send the form percent-encoded, in ASCII.") from None
    return Request("POST", path, form, dict(request.headers))
