"""The customer portal: configurations of what it allows, and sessions that lead to its page."""

from app.clients.stripe.sandbox.errors import invalid, required
from app.clients.stripe.sandbox.forms import Params
from app.clients.stripe.sandbox.reading import retrievable
from app.clients.stripe.sandbox.routing import route
from app.clients.stripe.sandbox.state import Object, State, copied
from app.clients.stripe.sandbox.views import page

FLOWS = ("payment_method_update", "subscription_cancel")
"""The flows that the page of the sandbox plays."""

CANCEL_MODES = ("at_period_end", "immediately")
PRORATIONS = ("none", "create_prorations", "always_invoice")
PROFILE = ("headline", "privacy_policy_url", "terms_of_service_url")

FEATURES: Object = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": []},
        "enabled": True,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
    "subscription_update": {
        "billing_cycle_anchor": None,
        "default_allowed_updates": [],
        "enabled": False,
        "products": [],
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}
"""What the portal allows at first: methods, invoices and cancelling; switching plans is off."""


@route("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams")
def create_configuration(state: State, params: Params) -> Object:
    """A configuration; features that are not named are off."""
    default_configuration(state)
    if "features" not in params:
        raise required("features")
    off = copied(FEATURES)
    for feature in off.values():
        feature["enabled"] = False
    return _new(state, params, _features(params, off), is_default=False)


def _new(state: State, params: Params, features: Object, *, is_default: bool) -> Object:
    configuration = state.create(
        "billing_portal.configuration",
        "bpc",
        active=True,
        application=None,
        business_profile=dict.fromkeys(PROFILE),
        default_return_url=params.text("default_return_url"),
        features=features,
        is_default=is_default,
        login_page={"enabled": False, "url": None},
        metadata=params.metadata(),
        name=params.text("name"),
        updated=state.now,
    )
    configuration["business_profile"] = _profile(params, configuration)
    state.emit("billing_portal.configuration.created", configuration)
    return configuration


def _profile(params: Params, configuration: Object) -> Object:
    given = params.hash("business_profile")
    present = configuration["business_profile"]
    return {name: given.text(name) if name in given else present[name] for name in PROFILE}


def _features(params: Params, present: Object) -> Object:
    """The features after a form: each is on or off, with its few settings."""
    features: Object = copied(present)
    given = params.hash("features")
    given.refuse_unknown(frozenset(FEATURES))
    for name, feature in features.items():
        if name in given:
            feature["enabled"] = given.hash(name).boolean("enabled", default=feature["enabled"])
    cancel = given.hash("subscription_cancel")
    features["subscription_cancel"]["mode"] = cancel.choice(
        "mode", features["subscription_cancel"]["mode"], CANCEL_MODES
    )
    update = given.hash("subscription_update")
    switching = features["subscription_update"]
    switching["proration_behavior"] = update.choice(
        "proration_behavior", switching["proration_behavior"], PRORATIONS
    )
    if "default_allowed_updates" in update:
        switching["default_allowed_updates"] = update.texts("default_allowed_updates")
    if "allowed_updates" in given.hash("customer_update"):
        allowed = given.hash("customer_update").texts("allowed_updates")
        features["customer_update"]["allowed_updates"] = allowed
    return features


def default_configuration(state: State) -> Object:
    """The configuration that the account has from the start, as if it had been saved in the dashboard."""
    found = state.all("billing_portal.configuration", where=lambda item: item["is_default"])
    existing = next(found, None)
    return existing or _new(state, Params({}), copied(FEATURES), is_default=True)


@route("POST", "/v1/billing_portal/configurations/{id}", "billing_portal.ConfigurationUpdateParams")
def update_configuration(state: State, params: Params, identifier: str) -> Object:
    """Change a configuration; the default one stays active."""
    configuration = state.get("billing_portal.configuration", identifier)
    active = params.boolean("active", default=configuration["active"])
    if configuration["is_default"] and not active:
        raise invalid("The default configuration cannot be deactivated.", param="active")
    changes: Object = {
        "active": active,
        "business_profile": _profile(params, configuration),
        "features": _features(params, configuration["features"]),
        "metadata": params.metadata(configuration["metadata"]),
        "updated": state.now,
    }
    for name in ("default_return_url", "name"):
        if name in params:
            changes[name] = params.text(name)
    return state.update(configuration, "billing_portal.configuration.updated", **changes)


@route("GET", "/v1/billing_portal/configurations", "billing_portal.ConfigurationListParams")
def list_configurations(state: State, params: Params) -> Object:
    """Configurations, newest first, by whether they are active and the default."""
    default_configuration(state)
    asked = [(name, params.boolean(name)) for name in ("active", "is_default") if name in params]

    def fits(item: Object) -> bool:
        return all(item[name] == value for name, value in asked)

    found = state.all("billing_portal.configuration", where=fits)
    return page(params, "/v1/billing_portal/configurations", found)


@route("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams")
def create_session(state: State, params: Params) -> Object:
    """A session, whose page knows the customer; it may lead straight to one thing."""
    customer = state.get("customer", params.need("customer"), "customer")
    named = params.text("configuration")
    configuration = (
        state.get("billing_portal.configuration", named, "configuration")
        if named
        else default_configuration(state)
    )
    if not configuration["active"]:
        raise invalid("This configuration is not active.", param="configuration")
    flow = _flow(state, params.hash("flow_data"), customer, configuration) if "flow_data" in params else None
    session = state.create(
        "billing_portal.session",
        "bps",
        configuration=configuration["id"],
        customer=customer["id"],
        flow=flow,
        locale=params.text("locale"),
        on_behalf_of=None,
        return_url=params.text("return_url") or configuration["default_return_url"],
    )
    del session["metadata"]
    session["url"] = f"{state.base_url}/portal/{session['id']}"
    state.emit("billing_portal.session.created", session)
    return session


def _flow(state: State, given: Params, customer: Object, configuration: Object) -> Object:
    """Where a session leads to, and where it goes on afterwards."""
    kind = given.choice("type", given.need("type"), FLOWS)
    if not configuration["features"][kind]["enabled"]:
        raise invalid(f"The feature {kind} is disabled in the portal configuration.", param="flow_data[type]")
    cancel = None
    if kind == "subscription_cancel":
        name = given.hash("subscription_cancel").need("subscription")
        subscription = state.get("subscription", name, "flow_data[subscription_cancel][subscription]")
        if subscription["customer"] != customer["id"] or subscription["status"] == "canceled":
            raise invalid("This subscription cannot be canceled by this customer.", param="flow_data")
        cancel = {"retention": None, "subscription": subscription["id"]}
    after = given.hash("after_completion")
    following = after.choice(
        "type", "portal_homepage", ("hosted_confirmation", "portal_homepage", "redirect")
    )
    redirect = {"return_url": after.hash("redirect").need("return_url")} if following == "redirect" else None
    return {
        "after_completion": {"hosted_confirmation": None, "redirect": redirect, "type": following},
        "subscription_cancel": cancel,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }


retrievable(
    "billing_portal.configuration",
    "/v1/billing_portal/configurations",
    "billing_portal.ConfigurationRetrieveParams",
)
