"""Owns the way to the provider that this very application plays in development and test."""

import asyncio

import httpx
from fastapi import FastAPI


class OwnApplication(httpx.AsyncBaseTransport):
    """Asks this application without a socket: behind a proxy it may not know where it can be reached.

    Each question runs in a task of its own, so that it leaves no trace in the request that asks.
    """

    def __init__(self, app: FastAPI) -> None:
        self._inner = httpx.ASGITransport(app=app, raise_app_exceptions=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The application's answer; httpx's ConnectError when it gives none."""
        try:
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(self._inner.handle_async_request(request))
        except* Exception as errors:
            raise httpx.ConnectError("the application gave no answer", request=request) from errors
        return asked.result()
