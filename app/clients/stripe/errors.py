"""How calls to Stripe fail, in five kinds that the service treats differently."""

from typing import Any


class StripeError(Exception):
    """A call to Stripe failed. Its text is for logs and operators, never for callers.

    `status` is Stripe's HTTP status (None when there was no answer); `object` is what the error carries, such
    as the PaymentIntent of a decline.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        decline_code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        object: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.decline_code = decline_code
        self.param = param
        self.status = status
        self.request_id = request_id
        self.object = object


class StripeDeclined(StripeError):
    """The issuer refused, or wants the payer to authenticate (`code == "authentication_required"`)."""


class StripeUnavailable(StripeError):
    """Nothing is known about the outcome: no answer, a limit, a fault at Stripe. Repeat with the same key."""


class StripeMissing(StripeError):
    """Stripe does not know the object that was named (`resource_missing`)."""


class StripeRefused(StripeError):
    """The request is not valid in this state; repeating it does not help. `code` says why."""


class StripeMisconfigured(StripeError):
    """Stripe does not accept our key, or the key may not do this."""


class StripeNotConfigured(StripeError):
    """There is no key and no sandbox: this process has no Stripe at all."""
