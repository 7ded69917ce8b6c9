"""Cursors of streams: a place in the log, and whether somebody may go on from it."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Mode = Literal["live", "replay", "reset"]
Reason = Literal["malformed", "unknown_epoch", "ahead", "expired", "too_many"]

LONGEST = 64
CURSOR = re.compile(r"([a-z2-7]{8})\.([0-9]{1,19})")


def epoch_of(salt: str, system_identifier: str, timeline: str) -> str:
    """The name of a log: another one after a failover, a restore to a point in time, or a new salt."""
    digest = hashlib.sha256((salt + system_identifier + timeline).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:8]


def make_cursor(epoch: str, position: int) -> str:
    """The cursor after a position; it grants nothing, so it is not signed."""
    return f"{epoch}.{position}"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader begins: live from now on, after a position, or live because the cursor was no good."""

    mode: Mode
    position: int | None = None
    reason: Reason | None = None


LIVE = Start("live")


def reset(reason: Reason) -> Start:
    """The reader loads everything afresh, and reads on from now."""
    return Start("reset", reason=reason)


def judge_cursor(cursor: str | None, *, epoch: str, head: int, floor: int) -> Start:
    """Where the sender of a cursor begins; an empty one is none.

    `head` is the last position in the table, since another process may be ahead of this one; `floor` is the
    oldest position that is resumed from.
    """
    if not cursor:
        return LIVE
    found = CURSOR.fullmatch(cursor) if len(cursor) <= LONGEST else None
    if found is None:
        return reset("malformed")
    position = int(found[2])
    if found[1] != epoch:
        return reset("unknown_epoch")
    if position > head:
        return reset("ahead")
    if position < floor:
        return reset("expired")
    return Start("replay", position)
