"""Answers whose JSON is there already; the route's `response_model` says what it looks like."""

from fastapi import Response


class JsonAnswer(Response):
    """JSON as it was written by PostgreSQL, unread."""

    media_type = "application/json"
