"""Compares what the sandbox sends with the typed classes of Stripe's library, key by key."""

import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

import stripe
from stripe import ListObject, StripeObject, billing_portal, checkout

BY_KIND: dict[str, type[StripeObject]] = {
    "account": stripe.Account,
    "balance_transaction": stripe.BalanceTransaction,
    "billing_portal.configuration": billing_portal.Configuration,
    "billing_portal.session": billing_portal.Session,
    "charge": stripe.Charge,
    "checkout.session": checkout.Session,
    "coupon": stripe.Coupon,
    "credit_note": stripe.CreditNote,
    "credit_note_line_item": stripe.CreditNoteLineItem,
    "customer": stripe.Customer,
    "discount": stripe.Discount,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
    "item": stripe.LineItem,
    "line_item": stripe.InvoiceLineItem,
    "payment_intent": stripe.PaymentIntent,
    "payment_link": stripe.PaymentLink,
    "payment_method": stripe.PaymentMethod,
    "plan": stripe.Plan,
    "price": stripe.Price,
    "product": stripe.Product,
    "promotion_code": stripe.PromotionCode,
    "refund": stripe.Refund,
    "setup_intent": stripe.SetupIntent,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
    "subscription_schedule": stripe.SubscriptionSchedule,
    "tax_id": stripe.TaxId,
    "tax_rate": stripe.TaxRate,
    "webhook_endpoint": stripe.WebhookEndpoint,
}


def differences(item: dict[str, Any]) -> list[str]:
    """What an object that was sent has too much or too little, or of another type, by the library's class."""
    return list(_compare(item, BY_KIND[item["object"]], str(item["object"])))


def _compare(value: Any, expected: Any, path: str) -> Iterator[str]:
    if isinstance(expected, (ForwardRef, str)):
        expected = _named(expected if isinstance(expected, str) else expected.__forward_arg__)
    origin = get_origin(expected)
    if expected is Any:
        return
    if origin in (Union, types.UnionType):
        yield from _any_of(value, get_args(expected), path)
    elif origin is Literal:
        if value not in get_args(expected):
            yield f"{path} is {value!r}"
    elif origin in (list, ListObject):
        items = value["data"] if origin is ListObject else value
        for number, entry in enumerate(items):
            yield from _compare(entry, get_args(expected)[0], f"{path}[{number}]")
    elif origin is not None:  # A hash of any keys, such as metadata.
        yield from _plain(value, dict, path)
    elif issubclass(expected, StripeObject):
        yield from _fields(value, expected, path)
    else:
        yield from _plain(value, expected, path)


def _plain(value: Any, expected: type, path: str) -> Iterator[str]:
    """A value without parts; decimals travel as strings, and an integer is a number, too."""
    allowed = {Decimal: (str,), float: (int, float)}.get(expected, (expected,))
    if type(value) not in allowed:
        yield f"{path} is {value!r} and no {expected.__name__}"


def _any_of(value: Any, options: tuple[Any, ...], path: str) -> Iterator[str]:
    """The differences from the option that fits best."""
    if value is None:
        if type(None) not in options:
            yield f"{path} is null"
        return
    found = [list(_compare(value, option, path)) for option in options if option is not type(None)]
    yield from min(found, key=len)


def _fields(value: Any, expected: type[StripeObject], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r} and no {expected.__name__}"
        return
    fields = {
        name: annotation
        for base in reversed(expected.__mro__)
        if issubclass(base, StripeObject) and base is not StripeObject
        for name, annotation in vars(base).get("__annotations__", {}).items()
        if not name.startswith("_") and "ClassVar" not in str(annotation)
    }
    for name in sorted(set(value) - set(fields)):
        yield f"{path}.{name} is unknown to the library"
    for name, annotation in fields.items():
        if name in value:
            yield from _compare(value[name], annotation, f"{path}.{name}")
        elif not _is_optional(annotation):
            yield f"{path}.{name} is missing"


def _is_optional(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def _named(name: str) -> Any:
    """The class behind a name in quotes, such as `Customer` or `DiscountResource`."""
    if name.startswith("ListObject["):
        return ListObject[_named(name[11:-1].strip('"'))]  # type: ignore[misc]
    for module in (stripe, checkout, billing_portal):
        for word in (name, name.removesuffix("Resource")):
            if hasattr(module, word):
                return getattr(module, word)
    return StripeObject  # A class of a product that is not played; it has no fields here, so nothing fits it.
