"""The tax numbers of customers, which stand on their invoices."""

import re
from typing import get_args

import stripe

from app.clients.stripe.sandbox.errors import invalid, missing
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.views import page

PATH = "/v1/customers/{customer}/tax_ids"

MOST = 5
"""So many tax numbers a customer may have."""

CHECKED = frozenset({"au_abn", "eu_vat", "gb_vat"})
"""Types whose numbers Stripe looks up in a register."""

FORMS = {
    "eu_vat": re.compile(r"[A-Z]{2}[A-Z0-9+*]{2,12}"),
    "gb_vat": re.compile(r"(GB|XI)([0-9]{9}|[0-9]{12})"),
}
ANY_FORM = re.compile(r"(?=.*[0-9])[A-Z0-9]{4,30}")
"""What a number looks like without blanks, dots, dashes and slashes."""


def _types() -> frozenset[str]:
    """The types that the library's class names."""
    annotation = stripe.TaxId.__annotations__["type"]
    return frozenset(value for part in get_args(annotation) for value in get_args(part))


TYPES = _types()


@route("POST", PATH, "CustomerCreateTaxIdParams")
def create_tax_id(state: State, params: Params, customer: str) -> Object:
    """One more tax number; refuses one that cannot be a number of its type."""
    state.get("customer", customer)
    kind, value = params.need("type"), params.need("value")
    if kind not in TYPES:
        raise invalid(f"Invalid type: must be one of {', '.join(sorted(TYPES))}", param="type")
    if not FORMS.get(kind, ANY_FORM).fullmatch(re.sub(r"[\s./-]", "", value).upper()):
        raise invalid(f"Invalid value for {kind}.", code="tax_id_invalid", param="value")
    if len(tax_ids_of(state, customer)) >= MOST:
        raise invalid(f"A customer can have up to {MOST} tax IDs.")
    made = state.create(
        "tax_id",
        "txi",
        country=_country(kind, value),
        customer=customer,
        customer_account=None,
        owner={"customer": customer, "type": "customer"},
        type=kind,
        value=value,
        verification={
            "status": "pending" if kind in CHECKED else "unavailable",
            "verified_address": None,
            "verified_name": None,
        },
    )
    del made["metadata"]
    state.emit("customer.tax_id.created", made)
    return made


def _country(kind: str, value: str) -> str | None:
    """Whose number it is; a scheme of the whole Union names no country."""
    prefix = value[:2] if kind == "eu_vat" else kind[:2]
    return None if kind == "eu_oss_vat" else prefix.upper()


@route("GET", PATH, "CustomerListTaxIdsParams")
def list_tax_ids(state: State, params: Params, customer: str) -> Object:
    """The tax numbers of a customer, newest first."""
    state.get("customer", customer)
    return page(params, f"/v1/customers/{customer}/tax_ids", tax_ids_of(state, customer))


@route("GET", f"{PATH}/{{id}}", "CustomerRetrieveTaxIdParams")
def retrieve_tax_id(state: State, _: Params, customer: str, identifier: str) -> Object:
    """One tax number."""
    return _owned(state, customer, identifier)


@route("DELETE", f"{PATH}/{{id}}", "CustomerDeleteTaxIdParams")
def delete_tax_id(state: State, _: Params, customer: str, identifier: str) -> Object:
    """Remove a tax number; what was invoiced keeps it."""
    found = _owned(state, customer, identifier)
    state.emit("customer.tax_id.deleted", found)
    forget_tax_id(found)
    return found


def _owned(state: State, customer: str, identifier: str) -> Object:
    state.get("customer", customer)
    found = state.get("tax_id", identifier)
    if found["customer"] != customer:
        raise missing("tax_id", identifier)
    return found


def forget_tax_id(found: Object) -> None:
    """Leave of a tax number that it was deleted."""
    identifier = found["id"]
    found.clear()
    found.update(id=identifier, object="tax_id", deleted=True)


def tax_ids_of(state: State, customer: str) -> list[Object]:
    """The tax numbers of a customer, newest first."""
    return list(state.all("tax_id", where=lambda item: item["customer"] == customer))


def printed_tax_ids(state: State, customer: str) -> list[Object]:
    """They as an invoice, or a checkout, shows them: oldest first."""
    return [
        {name: item[name] for name in ("type", "value")} for item in reversed(tax_ids_of(state, customer))
    ]
