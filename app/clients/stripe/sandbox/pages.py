"""The sandbox's pages: what Stripe's own pages would show a payer, and an overview for the developer."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.clients.stripe.sandbox.completing import OUTCOMES
from app.clients.stripe.sandbox.payment_methods import METHODS
from app.clients.stripe.sandbox.state import Object, State
from app.core.currencies import CURRENCIES

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
td, th { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
form { display: inline-block; margin: .25rem } button { padding: .4rem .9rem } small { color: #666 }
p.refused { background: #fdecea; padding: .5rem .75rem }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

LABELS = {
    "card": "Pay by card",
    "card_declined": "Card that is declined",
    "insufficient_funds": "Card without funds",
    "3ds_passed": "3-D Secure, passed",
    "3ds_failed": "3-D Secure, failed",
    "sepa": "SEPA debit",
    "sepa_fails": "SEPA debit that fails",
    "paypal": "PayPal",
}
NEWEST = 20

TEMPLATES = {
    "frame": """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }} (sandbox)</title><style>{{ style | safe }}</style></head><body>
<h1>{{ title }}</h1><p><small>Stripe, played by this machine. No money moves.</small></p>
{% if refused %}<p class="refused" role="alert">{{ refused }}</p>{% endif %}
{{ body | safe }}</body></html>""",
    "index": """<p>The clock shows {{ now }}{% if offset %}, {{ offset }} seconds ahead{% endif %}.</p>
<h2>Open sessions</h2><table>{% for item in sessions %}<tr><td>
<a href="/sandbox/stripe/checkout/{{ item.id }}">{{ item.id }}</a></td>
<td>{{ item.mode }}</td><td>{{ money(item.amount_total, item.currency) }}</td></tr>
{% else %}<tr><td>None.</td></tr>{% endfor %}</table>
<h2>Objects</h2><table>{% for kind, count in counts %}<tr><td>{{ kind }}</td><td>{{ count }}</td></tr>
{% else %}<tr><td>None yet.</td></tr>{% endfor %}</table>
<h2>Newest events</h2><table><tr><th>Type</th><th>Object</th><th>Delivery</th></tr>{% for event in events %}
<tr><td>{{ event.type }}</td><td>{{ event.data.object.id }}</td><td>
{% if event._delivery.done %}done{% else %}after {{ event._delivery.attempts }} attempts{% endif %}</td></tr>
{% endfor %}</table>
<h2>Planned faults</h2><table>{% for fault in faults %}<tr><td>{{ fault.fault }}</td>
<td>{{ fault.times }}</td></tr>{% else %}<tr><td>None.</td></tr>{% endfor %}</table>""",
    "checkout": """<table>{% for line in lines %}<tr><td>{{ line.description }}</td>
<td>{{ line.quantity }}</td><td>{{ money(line.amount_total, line.currency) }}</td></tr>{% endfor %}
{% if session.mode != "setup" %}<tr><th>Total</th><th></th><th>{{ total }}</th></tr>{% endif %}</table>
{% for outcome in outcomes %}<form method="post"><button name="outcome" value="{{ outcome }}">
{{ labels[outcome] }}</button></form>{% endfor %}
{% if session.cancel_url %}<p><a href="{{ session.cancel_url }}">Back</a></p>{% endif %}""",
    "over": """<p>This session is {{ status }}. Nothing can be paid here any more.</p>""",
    "authenticate": """<p>The bank asks whether it is you.</p>
<form method="post"><button name="passes" value="true">It is me</button></form>
<form method="post"><button name="passes" value="false">Fail</button></form>""",
    "portal": """<h2>Subscriptions</h2>{% for item in subscriptions %}<p>{{ item.id }}: {{ item.status }}
{% if item.cancel_at_period_end %}, ends {{ date(item.cancel_at) }}{% endif %}</p>
<form method="post"><input type="hidden" name="subscription" value="{{ item.id }}">
{% if item.cancel_at_period_end %}<button name="act" value="resume">Resume</button>
{% else %}<button name="act" value="cancel">Cancel at the end of the period</button>{% endif %}</form>
{% else %}<p>None.</p>{% endfor %}
<h2>Payment method</h2><form method="post"><select name="method">{% for name in methods %}
<option>{{ name }}</option>{% endfor %}</select>
<button name="act" value="update_method">Use it</button></form>
<h2>Invoices</h2><table>{% for item in invoices %}<tr><td><a href="/sandbox/stripe/invoices/{{ item.id }}">
{{ item.number or "draft" }}</a></td><td>{{ item.status }}</td>
<td>{{ money(item.total, item.currency) }}</td></tr>{% endfor %}</table>
{% if portal.return_url %}<p><a href="{{ portal.return_url }}">Back</a></p>{% endif %}""",
    "invoice": """<p>{{ invoice.number }}: {{ invoice.status }}</p>
<table>{% for line in invoice.lines.data %}<tr><td>{{ line.description }}</td>
<td>{{ money(line.amount, line.currency) }}</td></tr>{% endfor %}
<tr><th>Total</th><th>{{ money(invoice.total, invoice.currency) }}</th></tr>
<tr><th>Due</th><th>{{ money(invoice.amount_remaining, invoice.currency) }}</th></tr></table>
{% if invoice.status == "open" %}<form method="post"><select name="method">{% for name in methods %}
<option>{{ name }}</option>{% endfor %}</select> <button>Pay</button></form>{% endif %}
{% if invoice.invoice_pdf %}<p>
<a href="/sandbox/stripe/invoices/{{ invoice.id }}.pdf">PDF</a></p>{% endif %}""",
}

_environment = ImmutableSandboxedEnvironment(autoescape=True)
_templates = {name: _environment.from_string(text) for name, text in TEMPLATES.items()}


@dataclass(frozen=True)
class Page:
    """A page, or where the browser goes instead."""

    status: int = 200
    html: str = ""
    location: str | None = None
    form_targets: tuple[str, ...] = field(default=())
    """Origins besides its own that the page's forms may lead to."""

    @property
    def policy(self) -> str:
        """The page's Content-Security-Policy: its one style, its own forms, and nothing else."""
        targets = " ".join(("'self'", *self.form_targets))
        return (
            f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action {targets}; "
            "base-uri 'none'; frame-ancestors 'none'"
        )


def money(amount: int | None, currency: str | None) -> str:
    """An amount for people, such as `29.00 EUR`."""
    if amount is None or currency is None:
        return ""
    known = CURRENCIES.get(currency.upper())
    exponent = known.exponent if known else 2
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).zfill(exponent + 1)
    shown = f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits
    return f"{sign}{shown} {currency.upper()}"


def date(at: int | None) -> str:
    """A time of Stripe for people."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def page(name: str, title: str, values: Mapping[str, Any], *, status: int = 200, refused: str = "") -> Page:
    """A page of one of the templates."""
    body = _templates[name].render(**values, money=money, date=date)
    frame = _templates["frame"].render(title=title, style=STYLE, refused=refused, body=body)
    return Page(status, frame, form_targets=_origins(values.get("leads_to")))


def _origins(address: object) -> tuple[str, ...]:
    """The origin of an address that a form's answer leads to."""
    parts = urlsplit(str(address or ""))
    return (f"{parts.scheme}://{parts.netloc}",) if parts.scheme in {"http", "https"} and parts.netloc else ()


def overview(state: State) -> Page:
    """Objects, events, clock and faults."""
    counts: dict[str, int] = {}
    for item in state.objects.values():
        counts[item["object"]] = counts.get(item["object"], 0) + 1
    values = {
        "now": date(state.now),
        "offset": state.document["offset"],
        "sessions": list(state.all("checkout.session", where=lambda item: item["status"] == "open"))[:NEWEST],
        "counts": sorted(counts.items()),
        "events": list(state.all("event"))[:NEWEST],
        "faults": state.document["faults"],
    }
    return page("index", "Stripe", values)


def checkout_page(session: Object, refused: str = "") -> Page:
    """Lines, total and a button per outcome; a session that is over says so with 410."""
    if session["status"] != "open":
        return page("over", "Checkout", {"status": session["status"]}, status=410)
    values = {
        "session": session,
        "lines": session["_items"],
        "total": money(session["amount_total"], session["currency"]),
        "outcomes": OUTCOMES,
        "labels": LABELS,
        "leads_to": session["success_url"],
    }
    return page("checkout", "Checkout", values, refused=refused, status=402 if refused else 200)


def authenticate_page(refused: str = "") -> Page:
    """The bank's question of 3-D Secure."""
    return page("authenticate", "3-D Secure", {}, refused=refused)


def portal_page(state: State, portal: Object, refused: str = "") -> Page:
    """Subscriptions, method and invoices of a customer."""
    customer = portal["customer"]
    values = {
        "portal": portal,
        "subscriptions": [
            item
            for item in state.all("subscription", where=lambda item: item["customer"] == customer)
            if item["status"] not in {"canceled", "incomplete_expired"}
        ],
        "invoices": list(state.all("invoice", where=lambda item: item["customer"] == customer))[:NEWEST],
        "methods": list(METHODS),
    }
    return page("portal", "Customer portal", values, refused=refused, status=402 if refused else 200)


def invoice_page(invoice: Object, refused: str = "") -> Page:
    """An invoice, and what it may be paid with."""
    values = {"invoice": invoice, "methods": list(METHODS)}
    return page("invoice", "Invoice", values, refused=refused, status=402 if refused else 200)
