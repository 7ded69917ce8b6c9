"""Subscription items and their periods, and what a time inside a period is worth."""

from datetime import UTC, datetime

from app.clients.stripe.sandbox.clock import add_months
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.state import DAY, Object, State, new_id, shown
from app.clients.stripe.sandbox.views import listed
from app.core.money import half_up

SECONDS = {"day": DAY, "week": 7 * DAY}
MONTHS = {"month": 1, "year": 12}
MAX_ITEMS = 20
MAX_QUANTITY = 999_999


def period_end(start: int, anchor: int, recurring: Object) -> int:
    """When the period ends that contains `start`: the first time of the anchor's series after it."""
    count = recurring["interval_count"]
    if seconds := SECONDS.get(recurring["interval"]):
        length = seconds * count
        return int(anchor + ((start - anchor) // length + 1) * length)
    months = MONTHS[recurring["interval"]] * count
    first, begin = datetime.fromtimestamp(anchor, UTC), datetime.fromtimestamp(start, UTC)
    passed = (begin.year - first.year) * 12 + begin.month - first.month
    step = passed // months
    # The month tells the step up to one; days and the hour decide the rest.
    while add_months(first, step * months) > begin:
        step -= 1
    while add_months(first, step * months) <= begin:
        step += 1
    return int(add_months(first, step * months).timestamp())


def share(amount: int, start: int, end: int, moment: int) -> int:
    """What is left of an amount from a moment on, by the second, half a unit upwards."""
    rest = min(max(end - moment, 0), end - start)
    return half_up(amount * rest, end - start)


def new_item(state: State, subscription_id: str, price: Object, quantity: int, period: Object) -> Object:
    """An item of a subscription; `period` has its `start` and `end`."""
    item: Object = {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": state.now,
        "current_period_end": period["end"],
        "current_period_start": period["start"],
        "discounts": [],
        "metadata": {},
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }
    set_price(item, price)
    return item


def set_price(item: Object, price: Object) -> None:
    """Let an item have this price; `plan` says the same in the words of older versions."""
    item["price"] = shown(price)
    item["plan"] = {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": dict(price["metadata"]),
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def items_of(subscription: Object) -> list[Object]:
    """The items of a subscription."""
    found: list[Object] = subscription["items"]["data"]
    return found


def item_list(subscription_id: str, items: list[Object]) -> Object:
    """Items as a subscription shows them."""
    url = f"/v1/subscription_items?subscription={subscription_id}"
    return {**listed(url, items), "total_count": len(items)}


def current_period(subscription: Object) -> tuple[int, int]:
    """Start and end of the period; all items of a subscription of the sandbox share it."""
    first = items_of(subscription)[0]
    return first["current_period_start"], first["current_period_end"]


def recurring_of(items: list[Object]) -> Object:
    """How often the items are billed."""
    found: Object = items[0]["price"]["recurring"]
    return found


def is_same_interval(one: Object, other: Object) -> bool:
    """Whether two prices are billed equally often."""
    return (one["interval"], one["interval_count"]) == (other["interval"], other["interval_count"])


def recurring_price(state: State, given: Params) -> Object:
    """The recurring price that an item names."""
    if "price_data" in given:
        raise invalid("The sandbox takes prices by id.", param=given.name("price_data"))
    price = state.get("price", given.need("price"), given.name("price"))
    if price["type"] != "recurring":
        raise invalid(
            f"The price specified is set to `type=one_time` but this field only accepts prices with "
            f"`type=recurring`: {price['id']}",
            param=given.name("price"),
        )
    if not price["active"]:
        raise invalid("The price specified is inactive. This field only accepts active prices.")
    return price


def quantity_of(given: Params, default: int = 1) -> int:
    """How many of an item; none is not allowed."""
    quantity = given.number("quantity", default)
    if not 1 <= quantity <= MAX_QUANTITY:
        raise invalid("Invalid quantity.", code="parameter_invalid_integer", param=given.name("quantity"))
    return quantity


def new_items(state: State, subscription_id: str, params: Params) -> list[Object]:
    """The items of a new subscription, as yet without their period."""
    period = {"start": state.now, "end": state.now}
    items = [
        new_item(state, subscription_id, recurring_price(state, given), quantity_of(given), period)
        for given in params.hashes("items")
    ]
    if not items:
        raise required("items")
    check_items(items)
    return items


def changed_items(state: State, subscription: Object, params: Params) -> list[Object]:
    """The items as a form would have them; the subscription itself stays as it is."""
    items: list[Object] = shown(items_of(subscription))
    start, end = current_period(subscription)
    by_id = {item["id"]: item for item in items}
    for given in params.hashes("items"):
        identifier = given.text("id")
        if identifier is None:
            price = recurring_price(state, given)
            period = {"start": start, "end": end}
            items.append(new_item(state, subscription["id"], price, quantity_of(given), period))
            continue
        if identifier not in by_id:
            raise invalid(f"No such subscription item: '{identifier}'", code="resource_missing")
        item = by_id[identifier]
        if given.boolean("deleted"):
            items.remove(item)
            continue
        if "price" in given or "price_data" in given:
            set_price(item, recurring_price(state, given))
        item["quantity"] = quantity_of(given, item["quantity"])
        item["metadata"] = given.metadata(item["metadata"])
    if not items:
        raise invalid("A subscription must have at least one active plan.", param="items")
    check_items(items)
    return items


def check_items(items: list[Object]) -> None:
    """Refuse what cannot stand on one subscription."""
    if len(items) > MAX_ITEMS:
        raise invalid("A subscription has at most 20 items.", param="items")
    prices = [item["price"] for item in items]
    if len({price["id"] for price in prices}) < len(prices):
        raise invalid(f"Cannot add multiple subscription items with the same plan: {prices[0]['id']}")
    if not all(is_same_interval(price["recurring"], prices[0]["recurring"]) for price in prices):
        raise invalid("The items of a subscription of the sandbox share their interval.", param="items")
    if len({price["currency"] for price in prices}) > 1:
        raise invalid("All prices on a subscription must have the same currency.", param="items")
