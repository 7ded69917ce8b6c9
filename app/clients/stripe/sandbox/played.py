"""Refusing what Stripe would understand and the sandbox does not play: better than doing something else."""

from app.clients.stripe.sandbox.errors import invalid
from app.clients.stripe.sandbox.forms import Params


def only(params: Params, *names: str) -> None:
    """Refuse every parameter but these."""
    for name in params.values:
        if name not in (*names, "expand"):
            raise invalid(
                f"The sandbox does not play the parameter {params.name(name)}.",
                code="parameter_unknown",
                param=params.name(name),
            )
