"""Invitations: sending, answering and ending them."""

from app.services.team.invitations.closing import cancel_invitations_of

__all__ = ["cancel_invitations_of"]
