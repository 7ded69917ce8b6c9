"""The lines of an invoice: what is billed, what discounts take off, and the tax on the rest."""

from app.clients.stripe.sandbox.coupons import taken_off
from app.clients.stripe.sandbox.state import Object, State, new_id
from app.core.money import allocate, half_up

TAX_PERCENT = 20
TAX_RATE_ID = "txr_sbxStandardRate20"
"""The one rate of the sandbox: the standard rate of France, where its account is."""


def new_line(
    subscription: Object,
    item: Object,
    *,
    start: int,
    end: int,
    amount: int,
    description: str,
    is_proration: bool = False,
) -> Object:
    """A line for an item and a period; `amount` may be negative."""
    price = item["price"]
    more: Object = {
        "proration": is_proration,
        "proration_details": {"credited_items": None} if is_proration else None,
        "subscription": subscription["id"],
    }
    kind = "invoice_item_details" if is_proration else "subscription_item_details"
    if is_proration:
        more["invoice_item"] = new_id("ii")
    else:
        more |= {"invoice_item": None, "subscription_item": item["id"]}
    parent = {"invoice_item_details": None, "subscription_item_details": None, kind: more, "type": kind}
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": not is_proration,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": dict(subscription["metadata"]),
        "parent": parent,
        "period": {"start": start, "end": end},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": str(price["unit_amount"]),
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
        "_item": item["id"],
        "_tax_behavior": price["tax_behavior"],
    }


def product_name(state: State, item: Object) -> str:
    """What lines call an item."""
    product = state.objects.get(item["price"]["product"], {})
    return str(product.get("name") or "Subscription")


def full_price(item: Object) -> int:
    """What an item costs for a whole period."""
    return int(item["price"]["unit_amount"]) * int(item["quantity"])


def period_lines(state: State, subscription: Object, items: list[Object]) -> list[Object]:
    """A line for each item and its current period."""
    return [
        new_line(
            subscription,
            item,
            start=item["current_period_start"],
            end=item["current_period_end"],
            amount=full_price(item),
            description=f"{item['quantity']} x {product_name(state, item)}",
        )
        for item in items
    ]


def trial_lines(state: State, subscription: Object, items: list[Object]) -> list[Object]:
    """The lines of a trial, which costs nothing."""
    lines = period_lines(state, subscription, items)
    for line, item in zip(lines, items, strict=True):
        line.update(amount=0, subtotal=0, description=f"Free trial for {product_name(state, item)}")
    return lines


def take_discounts(state: State, lines: list[Object], discounts: list[Object]) -> None:
    """Note on each line what every discount takes off it, one discount after the other.

    Credits of unused time are of what was paid, so that no discount counts on them again.
    """
    billed = [line for line in lines if line["amount"] > 0]
    for discount in discounts:
        rests = [net_of(line) for line in billed]
        coupon = state.objects[discount["source"]["coupon"]]
        if coupon["percent_off"] is not None:
            parts = [taken_off(state, discount, rest, coupon["currency"] or "") for rest in rests]
        else:
            plain = [rest if line["discountable"] else 0 for line, rest in zip(billed, rests, strict=True)]
            whole = taken_off(state, discount, sum(plain), billed[0]["currency"]) if billed else 0
            parts = allocate(whole, plain)
        for line, part in zip(billed, parts, strict=True):
            line["discounts"].append(discount["id"])
            line["discount_amounts"].append({"amount": part, "discount": discount["id"]})


def net_of(line: Object) -> int:
    """The amount of a line after its discounts."""
    off = sum(part["amount"] for part in line["discount_amounts"])
    return int(line["amount"] - off)


def add_taxes(lines: list[Object]) -> None:
    """Note the tax of each line; prices that do not say otherwise include it."""
    for line in lines:
        net = net_of(line)
        is_inclusive = line["_tax_behavior"] != "exclusive"
        tax = half_up(abs(net) * TAX_PERCENT, 100 + TAX_PERCENT if is_inclusive else 100)
        taxable = abs(net) - tax if is_inclusive else abs(net)
        sign = 1 if net >= 0 else -1
        line["taxes"] = [tax_entry(sign * tax, sign * taxable, "inclusive" if is_inclusive else "exclusive")]


def tax_entry(amount: int, taxable: int, behavior: str) -> Object:
    """A tax at the standard rate, as lines and sums show it."""
    return {
        "amount": amount,
        "tax_behavior": behavior,
        "tax_rate_details": {"tax_rate": TAX_RATE_ID},
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def totals_of(lines: list[Object]) -> Object:
    """The sums of an invoice with these lines."""
    subtotal = sum(line["amount"] for line in lines)
    off: dict[str, int] = {}
    taxes: dict[str, Object] = {}
    for line in lines:
        for part in line["discount_amounts"]:
            off[part["discount"]] = off.get(part["discount"], 0) + part["amount"]
        for tax in line["taxes"]:
            behavior = tax["tax_behavior"]
            known = taxes.setdefault(behavior, tax_entry(0, 0, behavior))
            known["amount"] += tax["amount"]
            known["taxable_amount"] += tax["taxable_amount"]
    added = taxes.get("exclusive", {}).get("amount", 0)
    included = taxes.get("inclusive", {}).get("amount", 0)
    total = subtotal - sum(off.values()) + added
    return {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - included,
        "total": total,
        "total_discount_amounts": [{"amount": amount, "discount": name} for name, amount in off.items()],
        "total_excluding_tax": total - added - included,
        "total_pretax_credit_amounts": [],
        "total_taxes": list(taxes.values()),
    }
