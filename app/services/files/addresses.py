"""Owns the addresses of stored files."""

from uuid import UUID

from app.core.config import get_settings

MEDIA = "/api/public/media"


def media_url(file_id: UUID, extension: str) -> str:
    """Where everybody may read a file of a public bucket; a new file has a new address."""
    return f"{get_settings().api_url}{MEDIA}/{file_id}.{extension}"


def avatar_url(file_id: UUID | None) -> str | None:
    """The address of a portrait, which is always WebP; None for whoever has none."""
    return media_url(file_id, "webp") if file_id is not None else None
