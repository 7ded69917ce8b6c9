"""Products and prices."""

from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.reading import listable, retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State
from app.clients.stripe.sandbox.views import page
from app.core.currencies import CURRENCIES

INTERVALS = {"day": 1095, "week": 156, "month": 36, "year": 3}
"""The intervals of prices, and the largest count of each."""

MAX_AMOUNT = 99_999_999


@route("POST", "/v1/products", "ProductCreateParams")
def create_product(state: State, params: Params) -> Object:
    """A product; an id may be chosen."""
    product = new_product(state, params)
    if chosen := params.text("id"):
        if chosen in state.objects:
            raise invalid("Product already exists.", code="resource_already_exists", param="id")
        del state.objects[product["id"]]
        product["id"] = chosen
        state.objects[chosen] = product
    state.emit("product.created", product)
    if "default_price_data" in params:
        price = new_price(state, params.hash("default_price_data"), product["id"])
        state.update(product, "product.updated", default_price=price["id"])
    return product


def new_product(state: State, params: Params) -> Object:
    """A product of `name`, `description`, `images`, `metadata` and the rest that is stored as it is."""
    return state.create(
        "product",
        "prod",
        active=params.boolean("active", default=True),
        default_price=None,
        description=params.text("description"),
        images=params.texts("images"),
        marketing_features=[],
        metadata=params.metadata(),
        name=params.need("name"),
        package_dimensions=None,
        shippable=None,
        statement_descriptor=params.text("statement_descriptor"),
        tax_code=params.text("tax_code"),
        tax_details=None,
        type="service",
        unit_label=params.text("unit_label"),
        updated=state.now,
        url=params.text("url"),
    )


@route("POST", "/v1/products/{id}", "ProductUpdateParams")
def update_product(state: State, params: Params, identifier: str) -> Object:
    """Change a product."""
    product = state.get("product", identifier)
    changes: Object = {"metadata": params.metadata(product["metadata"])}
    for name in ("description", "name", "url", "tax_code", "unit_label", "statement_descriptor"):
        if name in params:
            changes[name] = params.text(name)
    if "active" in params:
        changes["active"] = params.boolean("active")
    if "images" in params:
        changes["images"] = params.texts("images")
    if "default_price" in params:
        changes["default_price"] = state.get("price", params.need("default_price"), "default_price")["id"]
    return state.update(product, "product.updated", **changes, updated=state.now)


@route("POST", "/v1/prices", "PriceCreateParams")
def create_price(state: State, params: Params) -> Object:
    """A price of a product, which may be made along with it."""
    if "product_data" in params:
        product = new_product(state, params.hash("product_data"))
        state.emit("product.created", product)
    else:
        product = state.get("product", params.need("product"), "product")
    return new_price(state, params, product["id"])


def new_price(state: State, params: Params, product_id: str, *, is_active: bool = True) -> Object:
    """A price per unit, once or recurring; `lookup_key` is unique, or transferred when asked for."""
    key = params.text("lookup_key")
    for other in state.all("price", where=lambda item: key is not None and item["lookup_key"] == key):
        if not params.boolean("transfer_lookup_key"):
            raise invalid(
                f"A price (`{other['id']}`) already uses that lookup key.",
                code="resource_already_exists",
                param="lookup_key",
            )
        state.update(other, "price.updated", lookup_key=None)
    amount, currency = _amount(params), params.need("currency").lower()
    if currency.upper() not in CURRENCIES:
        raise invalid(
            f"Invalid currency: {currency}.", code="parameter_invalid", param=params.name("currency")
        )
    recurring = _recurring(params.hash("recurring")) if "recurring" in params else None
    price = state.create(
        "price",
        "price",
        active=params.boolean("active", default=True) and is_active,
        billing_scheme="per_unit",
        currency=currency,
        custom_unit_amount=None,
        lookup_key=key,
        metadata=params.metadata(),
        nickname=params.text("nickname"),
        product=product_id,
        recurring=recurring,
        tax_behavior=params.text("tax_behavior") or "unspecified",
        tiers_mode=None,
        transform_quantity=None,
        type="one_time" if recurring is None else "recurring",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )
    state.emit("price.created", price)
    return price


def _amount(params: Params) -> int:
    """The price of one unit, in whole minor units; fractions of them are not played."""
    name = "unit_amount" if params.text("unit_amount") else "unit_amount_decimal"
    amount = params.need_integer(name)
    if not 0 <= amount <= MAX_AMOUNT:
        code = "parameter_invalid_integer" if amount < 0 else "amount_too_large"
        raise invalid("The amount must be between 0 and 99999999.", code=code, param=params.name(name))
    return amount


def _recurring(params: Params) -> Object:
    """How often a price is due: every three years at the most."""
    interval = params.choice("interval", params.need("interval"), tuple(INTERVALS))
    count = params.number("interval_count", 1)
    if not 1 <= count <= INTERVALS[interval]:
        raise invalid(
            f"The interval count of {interval} must be between 1 and {INTERVALS[interval]}.",
            code="parameter_invalid_integer",
            param=params.name("interval_count"),
        )
    return {
        "interval": interval,
        "interval_count": count,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


@route("POST", "/v1/prices/{id}", "PriceUpdateParams")
def update_price(state: State, params: Params, identifier: str) -> Object:
    """Change what may change of a price: never its amount."""
    price = state.get("price", identifier)
    changes: Object = {"metadata": params.metadata(price["metadata"])}
    for name in ("lookup_key", "nickname", "tax_behavior"):
        if name in params:
            changes[name] = params.text(name)
    if "active" in params:
        changes["active"] = params.boolean("active")
    return state.update(price, "price.updated", **changes)


@route("GET", "/v1/prices", "PriceListParams")
def list_prices(state: State, params: Params) -> Object:
    """Prices by `lookup_keys`, product, currency, type and whether they are active."""
    keys = params.texts("lookup_keys")
    equal = {name: params.text(name) for name in ("product", "currency", "type") if name in params}
    active = params.boolean("active") if "active" in params else None

    def fits(price: Object) -> bool:
        return (
            (not keys or price["lookup_key"] in keys)
            and (active is None or price["active"] == active)
            and all(price[name] == value for name, value in equal.items())
        )

    return page(params, "/v1/prices", state.all("price", where=fits))


retrievable("product", "/v1/products", "ProductRetrieveParams")
listable("product", "/v1/products", "ProductListParams", active="active", url="url")
retrievable("price", "/v1/prices", "PriceRetrieveParams")
