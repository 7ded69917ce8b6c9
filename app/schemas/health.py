"""What the probes answer."""

from typing import Literal

from pydantic import Field

from app.schemas.base import Output

Status = Literal["pass", "warn", "fail"]


class Liveness(Output):
    """The process answers."""

    status: Literal["pass"] = "pass"


class CheckResult(Output):
    """What one check found."""

    status: Status
    output: str | None = Field(description="What is wrong, in a sentence; null when nothing is.")


class Readiness(Output):
    """Whether this process can serve. `warn` still serves."""

    status: Status
    checks: dict[str, list[CheckResult]]
