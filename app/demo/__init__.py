"""Demo data: a brand with its team, catalogue and orders, made through the real services."""

from app.demo.founding import DemoRefused
from app.demo.seeding import DemoSummary, seed

__all__ = ["DemoRefused", "DemoSummary", "seed"]
