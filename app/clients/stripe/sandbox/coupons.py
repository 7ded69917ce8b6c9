"""Coupons, promotion codes, and the discounts that come of them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from app.clients.stripe.sandbox.clock import add_months
from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.played import only
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, new_id
from app.core.money import half_up

DURATIONS = ("forever", "once", "repeating")
MAX_MONTHS = 1200
MAX_AMOUNT = 99_999_999


@route("POST", "/v1/coupons", "CouponCreateParams")
def create_coupon(state: State, params: Params) -> Object:
    """A coupon that takes a percentage or an amount off; an id may be chosen."""
    percent, amount = params.text("percent_off"), params.integer("amount_off")
    if (percent is None) == (amount is None):
        raise invalid("You must pass either percent_off or amount_off.", param="percent_off")
    if percent is not None and not 0 < _percentage(percent) <= 100:
        raise invalid("percent_off must be above 0 and at most 100.", param="percent_off")
    if amount is not None and not 1 <= amount <= MAX_AMOUNT:
        raise invalid("Invalid positive integer", code="parameter_invalid_integer", param="amount_off")
    duration = params.choice("duration", "once", DURATIONS)
    months = params.integer("duration_in_months")
    if duration == "repeating" and not 1 <= params.need_integer("duration_in_months") <= MAX_MONTHS:
        raise invalid("A coupon repeats for 1 to 1200 months.", param="duration_in_months")
    coupon = state.create(
        "coupon",
        "coupon",
        amount_off=amount,
        currency=params.need("currency").lower() if amount is not None else None,
        duration=duration,
        duration_in_months=months,
        max_redemptions=params.integer("max_redemptions"),
        metadata=params.metadata(),
        name=params.text("name"),
        percent_off=None if percent is None else _percentage(percent),
        redeem_by=params.integer("redeem_by"),
        times_redeemed=0,
        valid=True,
    )
    if chosen := params.text("id"):
        if chosen in state.objects:
            raise invalid("Coupon already exists.", code="resource_already_exists", param="id")
        del state.objects[coupon["id"]]
        coupon["id"] = chosen
        state.objects[chosen] = coupon
    if "applies_to" in params:
        coupon["applies_to"] = {"products": params.hash("applies_to").texts("products")}
    state.emit("coupon.created", coupon)
    return coupon


def _percentage(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise invalid("Invalid decimal", code="parameter_invalid", param="percent_off") from None


@route("DELETE", "/v1/coupons/{id}", "CouponDeleteParams")
def delete_coupon(state: State, _: Params, identifier: str) -> Object:
    """Let nobody redeem a coupon any more; discounts that exist stay."""
    coupon = state.get("coupon", identifier)
    state.emit("coupon.deleted", coupon)
    coupon.update(valid=False, deleted=True)
    return {"id": identifier, "object": "coupon", "deleted": True}


@route("POST", "/v1/promotion_codes", "PromotionCodeCreateParams")
def create_promotion_code(state: State, params: Params) -> Object:
    """A code that customers type to redeem a coupon; active codes are unique whatever their letter case."""
    promotion = params.hash("promotion")
    promotion.choice("type", promotion.need("type"), ("coupon",))
    coupon = state.get("coupon", promotion.need("coupon"), "promotion[coupon]")
    code = params.text("code") or new_id("x")[5:13].upper()
    if find_code(state, code) is not None:
        raise invalid("An active promotion code with this code already exists.", param="code")
    customer = params.text("customer")
    if customer:
        state.get("customer", customer, "customer")
    restrictions = params.hash("restrictions")
    only(restrictions, "first_time_transaction")
    made = state.create(
        "promotion_code",
        "promo",
        active=params.boolean("active", default=True),
        code=code,
        customer=customer,
        expires_at=params.integer("expires_at"),
        max_redemptions=params.integer("max_redemptions"),
        metadata=params.metadata(),
        promotion={"coupon": coupon["id"], "type": "coupon"},
        restrictions={
            "first_time_transaction": restrictions.boolean("first_time_transaction"),
            "minimum_amount": None,
            "minimum_amount_currency": None,
        },
        times_redeemed=0,
    )
    state.emit("promotion_code.created", made)
    return made


@route("POST", "/v1/promotion_codes/{id}", "PromotionCodeUpdateParams")
def update_promotion_code(state: State, params: Params, identifier: str) -> Object:
    """Change whether a code works, and its metadata."""
    found = state.get("promotion_code", identifier)
    return state.update(
        found,
        "promotion_code.updated",
        active=params.boolean("active", default=found["active"]),
        metadata=params.metadata(found["metadata"]),
    )


def find_code(state: State, code: str) -> Object | None:
    """The active promotion code that somebody typed, or None."""
    return next(
        state.all(
            "promotion_code", where=lambda item: item["active"] and item["code"].lower() == code.lower()
        ),
        None,
    )


def redeem(
    state: State,
    coupon_id: str,
    *,
    promotion_code: Object | None = None,
    customer: str | None = None,
    subscription: str | None = None,
    checkout_session: str | None = None,
) -> Object:
    """The discount of a coupon, which counts as redeemed; refuses one that is used up or over."""
    coupon = state.get("coupon", coupon_id, "coupon")
    for item in (coupon, promotion_code):
        if item is not None and not _is_usable(state, item):
            raise invalid(f"This {item['object'].replace('_', ' ')} cannot be redeemed.", param="discounts")
    if promotion_code is not None and promotion_code["customer"] not in (None, customer):
        raise invalid("This promotion code cannot be redeemed by this customer.", param="discounts")
    if promotion_code is not None and promotion_code["restrictions"]["first_time_transaction"]:
        _refuse_known(state, customer)
    discount = state.create(
        "discount",
        "di",
        checkout_session=checkout_session,
        customer=customer,
        end=_end(state, coupon),
        invoice=None,
        invoice_item=None,
        promotion_code=promotion_code["id"] if promotion_code else None,
        source={"coupon": coupon["id"], "type": "coupon"},
        start=state.now,
        subscription=subscription,
        subscription_item=None,
        _uses=1 if coupon["duration"] == "once" else None,
    )
    for name in ("created", "livemode", "metadata"):
        del discount[name]
    for item in (coupon, promotion_code):
        if item is not None:
            item["times_redeemed"] += 1
    coupon["valid"] = _is_usable(state, coupon)
    if promotion_code is not None:
        promotion_code["active"] = coupon["valid"] and _is_usable(state, promotion_code)
    return discount


def _refuse_known(state: State, customer: str | None) -> None:
    """Refuse a customer who has paid before."""
    paid = state.all(
        "payment_intent",
        where=lambda item: item["customer"] == customer and item["status"] == "succeeded",
    )
    if customer is not None and any(paid):
        raise invalid(
            "This promotion code cannot be redeemed because the associated customer has prior transactions.",
            param="discounts",
        )


def _is_usable(state: State, item: Object) -> bool:
    """Whether a coupon or a code may be redeemed once more."""
    until = item.get("redeem_by") or item.get("expires_at")
    most = item["max_redemptions"]
    return (
        item.get("active", True)
        and (until is None or state.now < until)
        and (most is None or item["times_redeemed"] < most)
    )


def _end(state: State, coupon: Object) -> int | None:
    """When a repeating coupon ends."""
    if coupon["duration"] != "repeating":
        return None
    start = datetime.fromtimestamp(state.now, UTC)
    return int(add_months(start, coupon["duration_in_months"]).timestamp())


def named_discounts(state: State, params: Params, customer: str, subscription: str | None) -> list[str]:
    """The ids of the discounts that the parameter `discounts` names: coupons, codes or discounts."""
    ids = []
    for given in params.hashes("discounts"):
        if existing := given.text("discount"):
            ids.append(state.get("discount", existing, "discounts")["id"])
            continue
        code = None
        if named := given.text("promotion_code"):
            code = state.get("promotion_code", named, "discounts")
        coupon = code["promotion"]["coupon"] if code else given.text("coupon")
        if coupon is None:
            raise required(given.name("coupon"))
        made = redeem(state, coupon, promotion_code=code, customer=customer, subscription=subscription)
        ids.append(made["id"])
    return ids


def running(state: State, ids: Iterable[str], at: int) -> list[Object]:
    """The discounts among `ids` that still count for an invoice of this time."""
    found = [state.get("discount", identifier) for identifier in ids]
    return [
        item
        for item in found
        if (item["end"] is None or at < item["end"]) and (item["_uses"] is None or item["_uses"] > 0)
    ]


def taken_off(state: State, discount: Object, amount: int, currency: str) -> int:
    """What a discount takes off an amount, never more than the amount; of a negative one, a percentage.

    A discount of an amount leaves credits as they are.
    """
    coupon = state.objects[discount["source"]["coupon"]]
    if coupon["percent_off"] is not None:
        # Hundredths of a percent are as fine as Stripe's own.
        part = half_up(abs(amount) * round(coupon["percent_off"] * 100), 10_000)
        return part if amount >= 0 else -part
    if coupon["currency"] != currency or amount <= 0:
        return 0
    return min(amount, int(coupon["amount_off"]))


def use(discounts: Iterable[Object]) -> None:
    """Note that an invoice had these discounts: those that count once are used up."""
    for discount in discounts:
        if discount["_uses"] is not None:
            discount["_uses"] -= 1


retrievable("coupon", "/v1/coupons", "CouponRetrieveParams")
listable("coupon", "/v1/coupons", "CouponListParams")
retrievable("promotion_code", "/v1/promotion_codes", "PromotionCodeRetrieveParams")
listable(
    "promotion_code",
    "/v1/promotion_codes",
    "PromotionCodeListParams",
    active="active",
    code="code",
    customer="customer",
    coupon=lambda item, value: item["promotion"]["coupon"] == value,
)
