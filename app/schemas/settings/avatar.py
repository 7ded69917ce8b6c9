"""What the routes of the portrait answer."""

from app.schemas.base import Output


class AvatarRead(Output):
    """A portrait; a new one has a new address."""

    avatar_url: str
    width: int
    height: int
