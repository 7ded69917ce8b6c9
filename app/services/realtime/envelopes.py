"""Lists of envelopes as JSON, in which each stands byte for byte as it was emitted."""

import json
from collections.abc import Sequence
from typing import Any


def render(envelopes: Sequence[bytes], **members: Any) -> bytes:
    """`{"items": […], …}` with the other members after it."""
    rest = json.dumps(members, separators=(",", ":")).encode()
    return b'{"items":[' + b",".join(envelopes) + b"]," + rest[1:]
