"""What a change in the middle of a period costs: the unused time back, the time to come charged."""

from datetime import UTC, datetime

from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.invoice_lines import full_price, net_of, new_line, product_name
from app.clients.stripe.sandbox.periods import current_period, items_of, share
from app.clients.stripe.sandbox.state import Object, State
from app.core.money import half_up


def check_moment(state: State, subscription: Object, moment: int | None) -> int:
    """The time that a change counts from; refuses one outside the current period."""
    if moment is None:
        return state.now
    start, end = current_period(subscription)
    if not start <= moment <= end:
        raise invalid(
            "Cannot specify proration date outside of current subscription period.", param="proration_date"
        )
    return moment


def credit_lines(
    state: State, subscription: Object, moment: int, items: list[Object] | None = None
) -> list[Object]:
    """Negative lines for the time that items are not used any more, of what was paid for them."""
    lines = []
    for item in items_of(subscription) if items is None else items:
        net, gross = item.get("_paid", (1, 1))
        unused = share(full_price(item), item["current_period_start"], item["current_period_end"], moment)
        amount = -half_up(unused * net, gross) if gross else 0
        lines.append(
            new_line(
                subscription,
                item,
                start=moment,
                end=item["current_period_end"],
                amount=amount,
                description=f"Unused time on {product_name(state, item)} after {_day(moment)}",
                is_proration=True,
            )
        )
    return lines


def charge_lines(state: State, subscription: Object, moment: int, items: list[Object]) -> list[Object]:
    """Lines for the rest of the period on these items."""
    return [
        new_line(
            subscription,
            item,
            start=moment,
            end=item["current_period_end"],
            amount=share(full_price(item), item["current_period_start"], item["current_period_end"], moment),
            description=f"Remaining time on {product_name(state, item)} after {_day(moment)}",
            is_proration=True,
        )
        for item in items
    ]


def change_lines(
    state: State, subscription: Object, moment: int, before: list[Object], after: list[Object]
) -> list[Object]:
    """The lines of a change within a period; items that stay as they are cost nothing."""
    same = {_key(item) for item in before} & {_key(item) for item in after}
    left = [item for item in before if _key(item) not in same]
    come = [item for item in after if _key(item) not in same]
    return [
        *credit_lines(state, subscription, moment, left),
        *charge_lines(state, subscription, moment, come),
    ]


def note_paid(items: list[Object], lines: list[Object]) -> None:
    """Keep on each item which part of its price was asked, so that a credit never is above it."""
    for line in lines:
        for item in items:
            if item["id"] == line["_item"] and line["amount"] > 0:
                item["_paid"] = [net_of(line), line["amount"]]


def _key(item: Object) -> tuple[str, str, int]:
    return item["id"], item["price"]["id"], item["quantity"]


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")
