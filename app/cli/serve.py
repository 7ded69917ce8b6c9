"""`python -m app serve`: the service, with everything that it needs on one machine."""

import argparse
import asyncio
import errno
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from app.cli.keys import has_good_keys
from app.cli.migrate import bring_up_to_date, is_behind
from app.cli.saying import complain, report, say
from app.cli.seed import put_demo_data
from app.core import collector, logging
from app.core.config import Settings, get_settings, use_settings
from app.core.protocol import BoundedProtocol
from app.core.runtime import running_database

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE_SECONDS = 10
"""How long requests that are being answered may take after a signal to stop, once the streams have ended.

Some of them wait for the payment provider, which is given as long for a call.
"""

VANISHED_PEERS = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}
"""Seconds of silence, seconds between probes, probes; milliseconds until what was sent must have arrived."""

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - only how it is shown


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; answers the exit code."""
    given = {"host": arguments.host, "port": arguments.port}
    settings = use_settings(**{name: value for name, value in given.items() if value is not None})
    logging.configure(settings)
    if arguments.seed_demo and settings.environment == "production":
        complain(
            "--seed-demo makes an account with a password that everybody knows; it is not for production."
        )
        return 2
    if not has_good_keys():
        return 1
    listener = _listen(settings)
    if listener is None:
        return 1
    with listener:
        # The port is known now, also when a free one was asked for, and PUBLIC_URL may follow from it.
        settings = use_settings(port=listener.getsockname()[1])
        _prepare_metrics(settings)
        is_embedded = settings.database_url is None
        try:
            with running_database(settings) as url:
                if is_embedded or arguments.migrate or arguments.seed_demo:
                    bring_up_to_date(url)
                elif asyncio.run(is_behind(url)):
                    complain("the database lacks migrations: run `python -m app migrate`, or add --migrate.")
                    return 1
                sign_in = put_demo_data(url) if arguments.seed_demo else None
                return _serve(listener, sign_in)
        except KeyboardInterrupt:
            return 0


def _listen(settings: Settings) -> socket.socket | None:
    """A socket on the wanted address, or None after saying why there is none."""
    is_six = ":" in settings.host
    listener = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET)
    # Otherwise the port of a service that has just been stopped stays closed for a minute.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _notice_vanished_peers(listener)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        _complain_about_address(settings, error)
        return None
    return listener


def _notice_vanished_peers(listener: socket.socket) -> None:
    """Let the connections that are accepted end half a minute after their peer has vanished.

    A stream to a machine that lost its network would otherwise keep its place for a quarter of an hour.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in VANISHED_PEERS.items():
        # Not every system knows all of them.
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _complain_about_address(settings: Settings, error: OSError) -> None:
    where = f"port {settings.port} of {settings.host}"
    if error.errno == errno.EADDRINUSE:
        complain(
            f"{where} is in use; stop the other program, or choose another one: --port {settings.port + 1}"
        )
    else:
        complain(f"{where} cannot be listened on: {error.strerror}; choose others with --host and --port")


def _prepare_metrics(settings: Settings) -> None:
    """Empty the directory of shared metrics, since those of ended processes would be counted for ever."""
    folder = settings.prometheus_multiproc_dir
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True)


def _serve(listener: socket.socket, sign_in: str | None) -> int:
    from app.main import create_app  # noqa: PLC0415 - the application reads the settings, which are whole by now

    app = create_app()
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # The caller's address is found in core/client_address.py, by TRUSTED_PROXIES.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Longer than balancers keep idle connections, so that they never send into one that is being closed.
        timeout_keep_alive=75,
    )
    server = _Server(config, app, sign_in)
    try:
        server.run(sockets=[listener])
    except OSError as error:
        _complain_about_address(get_settings(), error)
        return 1
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Says when it is ready, and ends the streams before it waits for requests that are being answered."""

    def __init__(self, config: uvicorn.Config, app: "FastAPI", sign_in: str | None) -> None:
        super().__init__(config)
        self._app = app
        self._sign_in = sign_in

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        collector.settle()
        settings = get_settings()
        host = EVERYWHERE.get(settings.host, settings.host)
        shown = f"[{host}]" if ":" in host else host
        line = f"Luneo API is ready at http://{shown}:{settings.port} (documentation: /docs)"
        say(f"{line}; demo sign-in: {self._sign_in}" if self._sign_in else line)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        report("Stopping")
        hub = self._app.state.hub
        if hub is not None:
            # New connections are still taken meanwhile: their streams are told to go elsewhere.
            await hub.drain(lambda: self.force_exit)
        await super().shutdown(sockets)
