"""The provider of identity of development and test: its page, and the addresses that the service asks."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Header, Query
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.access import public
from app.core.errors import AppError
from app.core.requests import StrictRoute
from app.schemas.sandbox_idp import SandboxApproval, SandboxAsked, SandboxTokenForm
from app.services.auth.external import sandbox
from app.services.auth.external.providers import TITLES

router = APIRouter(
    route_class=StrictRoute,
    prefix="/sandbox/idp",
    tags=["sandbox"],
    dependencies=[Depends(public("a developer's own machine"))],
    include_in_schema=False,
)

STYLE_ONLY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""`form-action` is left out: it would also judge where the form's answer leads on to, which is the app."""

NO_STORE = {"Cache-Control": "no-store"}
PAGE_HEADERS = {**NO_STORE, "Content-Security-Policy": STYLE_ONLY}

PEOPLE = (
    ("Camille Martin", "camille@maison.example", True),
    ("Ada Byron", "ada@atelier.example", True),
    ("Théo Durand", "theo@nowhere.example", False),
)

PAGE = ImmutableSandboxedEnvironment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }} (sandbox)</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem }
form { border: 1px solid #ddd; border-radius: 6px; padding: .75rem 1rem; margin: .75rem 0 }
form.person { display: flex; gap: 1rem; align-items: center; justify-content: space-between }
label { display: block; margin: .5rem 0 } input[type=text], select { width: 100%; padding: .3rem }
small { color: #666 } button { padding: .35rem .9rem }
</style></head><body>
<h1>{{ title }}, played by this machine</h1>
<p>Who signs in? Nobody is asked for a password, and nothing leaves this machine.</p>
{% macro kept() %}{% for name, value in asked %}<input type="hidden" name="{{ name }}" value="{{ value }}">
{% endfor %}{% endmacro %}
{% for name, email, verified in people %}<form class="person" action="{{ action }}">{{ kept() }}
<input type="hidden" name="name" value="{{ name }}"><input type="hidden" name="email" value="{{ email }}">
{% if verified %}<input type="hidden" name="verified" value="true">{% endif %}
<span>{{ name }}<br><small>{{ email }}{% if not verified %} (not verified){% endif %}</small></span>
<button name="decision" value="approve">Approve</button></form>
{% endfor %}
<form action="{{ action }}" id="other">{{ kept() }}
<label>Name <input type="text" name="name" value="Somebody Else"></label>
<label>Address <input type="text" name="email" value="somebody@else.example"></label>
<label>Id at the provider <small>(empty: one that follows from the address)</small>
<input type="text" name="subject" pattern="[0-9]*"></label>
<label><input type="checkbox" name="verified" value="true" checked> The address is verified</label>
<label>The provider answers
<select name="behaves">{% for word in behaviours %}<option>{{ word }}</option>{% endfor %}</select></label>
<button name="decision" value="approve" id="approve">Approve</button>
<button name="decision" value="deny" id="deny">Deny</button></form>
</body></html>"""
)

INDEX = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sandbox</title></head><body>
<h1>Providers of identity</h1><p>Without client ids this machine plays Google and GitHub itself. Begin at
<code>GET /api/auth/oauth/google/start</code> or <code>/api/auth/oauth/github/start</code>.</p>
</body></html>"""


@router.get("", response_class=HTMLResponse)
async def show_sandbox_idp() -> HTMLResponse:
    """Say what this is, and where it begins.

    The page of a sign-in is the one below.
    """
    return HTMLResponse(INDEX, headers=PAGE_HEADERS)


@router.get("/{provider}/authorize", response_class=HTMLResponse)
async def show_sandbox_approval(provider: str, asked: Annotated[SandboxAsked, Query()]) -> HTMLResponse:
    """Ask who signs in, as the provider would ask.

    Beside a list of people there is a form for anybody else, and for a provider that fails.
    """
    name = sandbox.known_provider(provider)
    sandbox.judge_request(name, asked)
    page = PAGE.render(
        title=TITLES[name],
        action=f"/sandbox/idp/{name}/decide",
        asked=list(asked.model_dump().items()),
        people=PEOPLE,
        behaviours=sandbox.BEHAVIOURS,
    )
    return HTMLResponse(page, headers=PAGE_HEADERS)


@router.get("/{provider}/decide", response_class=RedirectResponse)
async def decide_sandbox_approval(
    provider: str, approval: Annotated[SandboxApproval, Query()]
) -> RedirectResponse:
    """Send the browser back with a code, or with `access_denied`."""
    answer = sandbox.approve(sandbox.known_provider(provider), approval)
    return RedirectResponse(f"{approval.redirect_uri}?{urlencode(answer)}", 303, NO_STORE)


@router.post("/{provider}/token")
async def exchange_sandbox_code(provider: str, form: Annotated[SandboxTokenForm, Form()]) -> Response:
    """Exchange a code for a token, and at Google for an id_token, too."""
    name = sandbox.known_provider(provider)
    match sandbox.behaviour_of(form.code):
        case "down":
            return PlainTextResponse("down", 500)
        case "nonsense":
            return HTMLResponse("<p>Please come back later</p>")
    try:
        return JSONResponse(await sandbox.token_answer(name, form), headers=NO_STORE)
    except AppError as refusal:
        # GitHub says so with 200, and everybody with a member `error` (RFC 6749, 5.2).
        status = 400 if name == "google" else 200
        return JSONResponse({"error": refusal.code}, status, NO_STORE)


@router.get("/{provider}/keys")
async def list_sandbox_keys(provider: str) -> dict[str, Any]:
    """The keys that id_tokens are verified by."""
    sandbox.known_provider(provider)
    return sandbox.public_keys()


Authorization = Annotated[str, Header(max_length=16_384)]


@router.get("/{provider}/user")
async def get_sandbox_user(provider: str, authorization: Authorization = "") -> dict[str, Any]:
    """Who the token is about, as GitHub says it."""
    facts = sandbox.person_of(sandbox.known_provider(provider), authorization)
    return {"id": int(facts["subject"]), "login": "somebody", "name": facts["name"], "email": None}


@router.get("/{provider}/user/emails")
async def list_sandbox_emails(provider: str, authorization: Authorization = "") -> list[dict[str, Any]]:
    """The person's addresses, as GitHub lists them: not only the one that counts."""
    facts = sandbox.person_of(sandbox.known_provider(provider), authorization)
    hidden = f"{facts['subject']}+somebody@users.noreply.example"
    return [
        {"email": hidden, "primary": False, "verified": True, "visibility": None},
        {
            "email": facts["email"],
            "primary": True,
            "verified": facts["is_verified"],
            "visibility": "private",
        },
    ]
