"""What `doctor` says of one thing that it has looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` says how to mend it."""

    name: str
    state: Literal["ok", "off", "warn", "fail"]
    text: str
    advice: str = ""
