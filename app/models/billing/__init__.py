"""Tables of the area billing."""

from app.models.billing.plans import DocumentCounter, Plan, PlanGrant

__all__ = ["DocumentCounter", "Plan", "PlanGrant"]
