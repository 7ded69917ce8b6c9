"""Owns what a file is: by its own bytes, whatever its name and its sender say."""

HEAD_BYTES = 16
"""As much of a file as is looked at."""


def recognise(head: bytes) -> str | None:
    """The media type of a file that begins like this; None for what no bucket takes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None
