"""Owns what people want to be told, and by which channel."""
