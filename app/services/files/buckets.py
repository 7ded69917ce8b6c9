"""Owns the buckets: what each takes, how it is shown, whose its files are."""

from dataclasses import dataclass
from uuid import UUID

from app.core.config import get_settings


@dataclass(frozen=True, slots=True)
class Bucket:
    """One kind of files. `accepted` are media types as they are recognised, never as they are declared."""

    name: str
    accepted: tuple[str, ...]
    is_public: bool
    limit_setting: str | None = None
    limit_bytes: int = 0

    @property
    def limit(self) -> int:
        """The size of the largest file, in bytes."""
        return int(getattr(get_settings(), self.limit_setting)) if self.limit_setting else self.limit_bytes


AVATARS = Bucket("avatars", ("image/png", "image/jpeg", "image/webp"), True, limit_setting="avatar_max_bytes")
EXPORTS = Bucket("exports", (), False, limit_bytes=2 * 1024**3)
"""Files that the service makes itself; the area that asked for one says when it expires."""


DOCUMENTS = Bucket("documents", ("application/pdf",), False, limit_bytes=50 * 1024**2)
"""Invoices and credit notes as they were printed."""


@dataclass(frozen=True, slots=True)
class FileOwner:
    """Whose a file is: an organisation's or a person's."""

    organization_id: UUID | None = None
    user_id: UUID | None = None

    @property
    def key_part(self) -> str:
        """How the owner stands in keys."""
        return str(self.organization_id or self.user_id)
