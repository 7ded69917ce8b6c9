"""Shapes of what an organisation pays for, and pays with."""
