"""Refusals in the shape in which Stripe sends them."""

from typing import Any


class SandboxError(Exception):
    """An answer that is no success. With `keep` what the request has changed stays, as after a decline."""

    def __init__(
        self, status: int, error_type: str, message: str, *, keep: bool = False, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keep = keep
        self.body: dict[str, dict[str, Any]] = {"error": {"type": error_type, "message": message, **more}}

    @property
    def is_remembered(self) -> bool:
        """Whether an idempotency key repeats it: parameters that are not valid were never executed."""
        return not str(self.body["error"].get("code", "parameter_")).startswith("parameter_")


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> SandboxError:
    """400: the request is not valid, or not in this state."""
    refusal = SandboxError(400, "invalid_request_error", message)
    refusal.body["error"] |= {name: value for name, value in (("code", code), ("param", param)) if value}
    return refusal


def missing(kind: str, identifier: str, param: str = "id", status: int = 404) -> SandboxError:
    """404, or 400 for an id in the form: there is no such object."""
    return SandboxError(
        status,
        "invalid_request_error",
        f"No such {kind.replace('.', ' ')}: '{identifier}'",
        code="resource_missing",
        param=param,
    )


def required(param: str) -> SandboxError:
    """400: a parameter is missing."""
    return invalid(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_url(method: str, path: str) -> SandboxError:
    """404: Stripe has no such address, or the sandbox does not play it."""
    return SandboxError(
        404,
        "invalid_request_error",
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs.",
    )
