"""A real Redis server of the test's own, which the test may stop, freeze and start again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.limits import windows
from tests.support.ports import free_port

PROGRAM = "redis-server"


class RedisServer:
    """One redis-server process on a free loopback port; everything it keeps is in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and return when it answers."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise RuntimeError(
                f"These tests need {PROGRAM}, and it is not on the PATH: apt-get install -y {PROGRAM}"
            )
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *arguments], cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_it_answers()

    def kill(self) -> None:
        """Stop the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let the server keep its connections but answer nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        for _ in range(6000):
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"{PROGRAM} did not start: {(self._folder / 'redis.log').read_text()}")


@pytest.fixture
def redis_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A running Redis server, stopped after the test; on a busy machine it may take its time."""
    monkeypatch.setattr(windows, "_REDIS_TIMEOUT_SECONDS", 20)
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
