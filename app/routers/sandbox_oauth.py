"""Connected services of development and test: the page of approval, and the addresses that programs ask."""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.access import public
from app.core.requests import StrictRoute
from app.schemas.integrations.connections import SandboxDecision, SandboxQuestion
from app.services.integrations.connections import sandbox

router = APIRouter(
    route_class=StrictRoute,
    prefix="/sandbox/oauth",
    tags=["sandbox"],
    dependencies=[Depends(public("a developer's own machine"))],
    include_in_schema=False,
)

STYLE_ONLY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""`form-action` is left out: it would also judge where the form's answer leads on to, which is the app."""

NO_STORE = {"Cache-Control": "no-store"}
PAGE_HEADERS = {**NO_STORE, "Content-Security-Policy": STYLE_ONLY}

PAGE = ImmutableSandboxedEnvironment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }} (sandbox)</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem }
form { border: 1px solid #ddd; border-radius: 6px; padding: .75rem 1rem; margin: .75rem 0 }
label { display: block; margin: .5rem 0 } input[type=text], select { width: 100%; padding: .3rem }
code { overflow-wrap: anywhere } button { padding: .35rem .9rem }
</style></head><body>
<h1>{{ title }}, played by this machine</h1>
<p>Luneo asks for{% if shop %} the shop <code>{{ shop }}</code> with{% endif %}
<code>{{ scope }}</code>. Nothing leaves this machine.</p>
<form action="decide">{% for name, value in asked %}
<input type="hidden" name="{{ name }}" value="{{ value }}">
{% endfor %}
<label>Account <input type="text" name="account" value="atelier" pattern="[a-z0-9\\-]{1,40}"></label>
<label>The service behaves
<select name="behaves">{% for word in behaviours %}<option>{{ word }}</option>{% endfor %}</select></label>
<button name="decision" value="approve" id="approve">Approve</button>
<button name="decision" value="deny" id="deny">Deny</button></form>
</body></html>"""
)


@router.get("/{path:path}/authorize", response_class=HTMLResponse)
async def show_sandbox_authorization(path: str, asked: Annotated[SandboxQuestion, Query()]) -> HTMLResponse:
    """Ask whether a service may be connected, as the service would ask.

    The page also lets the service behave badly, in one way at a time.
    """
    service, shop, _ = sandbox.read_place(path)
    sandbox.judge(service, asked)
    page = PAGE.render(
        title=sandbox.title_of(service),
        shop=shop,
        scope=asked.scope,
        asked=list(asked.model_dump().items()),
        behaviours=sandbox.BEHAVIOURS,
    )
    return HTMLResponse(page, headers=PAGE_HEADERS)


@router.get("/{path:path}/decide", response_class=RedirectResponse)
async def decide_sandbox_authorization(
    path: str, decision: Annotated[SandboxDecision, Query()]
) -> RedirectResponse:
    """Send the browser back with a code, or with `access_denied`."""
    service, shop, _ = sandbox.read_place(path)
    return RedirectResponse(sandbox.decide(service, shop, decision), 303, NO_STORE)


@router.get("/{path:path}")
@router.post("/{path:path}")
@router.delete("/{path:path}")
async def ask_sandbox_service(path: str, request: Request) -> Response:
    """Answer a program as the service would: token, identify, test and revoke addresses."""
    given = sandbox.answer(
        sandbox.SandboxRequest(
            method=request.method,
            path=path,
            headers=dict(request.headers),
            form=dict(parse_qsl((await request.body()).decode(errors="replace"))),
        )
    )
    return Response(given.content, given.status, {**NO_STORE, **given.headers}, media_type="application/json")
