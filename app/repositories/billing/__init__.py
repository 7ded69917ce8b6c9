"""The only place that speaks SQL about billing."""

from app.repositories.billing.plans import PlanRepository

__all__ = ["PlanRepository"]
