"""Google Drive."""

from app.clients.connections.google import GoogleService, addresses_of

DRIVE = "https://www.googleapis.com/auth/drive"


class GoogleDrive(GoogleService):
    """The files of a person at Google Drive that this service is let at."""

    name = "google_drive"
    title = "Google Drive"
    known_addresses = addresses_of("https://www.googleapis.com/drive/v3/about?fields=kind")
    required_scopes = (f"{DRIVE}.file",)
    always_scopes = ("openid", "email", *required_scopes)
    default_scopes = always_scopes
    allowed_scopes = frozenset({*default_scopes, f"{DRIVE}.readonly", f"{DRIVE}.metadata.readonly"})
    config = {"folder_id": r"[A-Za-z0-9_-]{1,100}"}  # noqa: RUF012 - as the base declares it
