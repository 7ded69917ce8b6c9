"""Owns web push: who subscribes, and how a message reaches a browser."""
