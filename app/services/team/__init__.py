"""Organisations and their teams: who works where, and with which rights."""
