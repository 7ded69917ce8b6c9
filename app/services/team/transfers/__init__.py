"""Offers of ownership: making, answering and ending them."""

from app.services.team.transfers.closing import cancel_transfer_to

__all__ = ["cancel_transfer_to"]
