"""Google Analytics."""

from app.clients.connections.google import GoogleService, addresses_of


class GoogleAnalytics(GoogleService):
    """The reports of a person's properties at Google Analytics."""

    name = "google_analytics"
    title = "Google Analytics"
    known_addresses = addresses_of("https://analyticsadmin.googleapis.com/v1beta/accountSummaries?pageSize=1")
    required_scopes = ("https://www.googleapis.com/auth/analytics.readonly",)
    always_scopes = ("openid", "email", *required_scopes)
    default_scopes = always_scopes
    allowed_scopes = frozenset(default_scopes)
    config = {"property_id": r"[0-9]{1,30}"}  # noqa: RUF012 - as the base declares it
