"""The questions to the tables of products."""

from app.repositories.products.catalogue import MovementRepository, ProductRepository
from app.repositories.products.stock import Level, Missed, Outcome, StockRepository, find_drift

__all__ = [
    "Level",
    "Missed",
    "MovementRepository",
    "Outcome",
    "ProductRepository",
    "StockRepository",
    "find_drift",
]
