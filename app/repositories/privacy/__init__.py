"""Questions to the tables of privacy."""

from app.repositories.privacy.consents import ConsentRepository, Recorded, Standing
from app.repositories.privacy.policies import PolicyRepository

__all__ = ["ConsentRepository", "PolicyRepository", "Recorded", "Standing"]
