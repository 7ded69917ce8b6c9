"""Pages of development and test: what the service would have sent. In production they do not exist."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.access import public
from app.core.requests import StrictRoute
from app.schemas.sandbox import SandboxMails
from app.services.notifications.sandbox import SandboxMailbox

router = APIRouter(
    route_class=StrictRoute,
    prefix="/sandbox",
    tags=["sandbox"],
    dependencies=[Depends(public("a developer's own machine"))],
    include_in_schema=False,
)

PAGE = ImmutableSandboxedEnvironment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width"><title>Mail outbox</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
article { border: 1px solid #ddd; border-radius: 6px; padding: 1rem; margin: 1rem 0 }
h2 { font-size: 1.05rem; margin: 0 } small { color: #666 } code { font-size: 1.3rem; letter-spacing: .15rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f4; padding: .75rem }
</style></head><body>
<h1>Mail outbox</h1>
<p>What this machine would have sent, newest first. The page reloads by itself; the same as JSON:
<a href="/sandbox/mail.json">/sandbox/mail.json</a></p>
{% for mail in mails %}<article><h2>{{ mail.subject }}</h2>
<small>to {{ mail.to }} · {{ mail.template }} · {{ mail.locale }} · {{ mail.created_at }}</small>
{% if mail.code %}<p>Code: <code>{{ mail.code }}</code></p>{% endif %}
<pre>{{ mail.text | urlize }}</pre></article>
{% else %}<p>Nothing yet. Sign somebody up with <code>POST /api/auth/signup</code>.</p>{% endfor %}
</body></html>"""
)
STYLE_ONLY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

To = Annotated[str | None, Query(max_length=254, description="Only mails to this address.")]


@router.get("/mail", response_class=HTMLResponse)
async def show_sandbox_mail(mailbox: SandboxMailbox, to: To = None) -> HTMLResponse:
    """The local outbox as a page.

    Shows the newest fifty mails and reloads itself.
    """
    found = await mailbox.newest(to, 50)
    return HTMLResponse(
        PAGE.render(mails=found.items),
        headers={"Content-Security-Policy": STYLE_ONLY, "Cache-Control": "no-store"},
    )


@router.get("/mail.json")
async def list_sandbox_mail(mailbox: SandboxMailbox, to: To = None) -> SandboxMails:
    """The local outbox as JSON.

    The newest hundred mails, newest first, with their links and code picked out for scripts and tests.
    """
    return await mailbox.newest(to, 100)
