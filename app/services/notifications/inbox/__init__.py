"""Owns what people find in the application: notices, their state, and the history of how they came."""
