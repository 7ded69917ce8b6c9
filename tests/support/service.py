"""The service as a process of its own, started by its command line as a person would start it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90

# Nothing of the suite's own settings reaches the process.
PLAIN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m app …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**PLAIN, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Service:
    """A running `python -m app serve`."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", *arguments],
            cwd=ROOT,
            env={**PLAIN, "LOG_LEVEL": "WARNING", "PORT": "0", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.errors: list[str] = []
        assert self.process.stderr is not None
        # Read all the time, so that the process never waits for somebody to read.
        self._reader = threading.Thread(target=self.errors.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        self.line = self._read_line()
        found = re.search(r"http://\S+", self.line)
        if found is None:
            self.process.kill()
            self._reader.join()
            raise AssertionError(f"not ready: {self.line!r} {''.join(self.errors)}")
        self.url = found[0]

    def _read_line(self) -> str:
        """The first line, or nothing when the process ends or is too late."""
        guard = threading.Timer(PATIENCE, self.process.kill)
        guard.start()
        try:
            assert self.process.stdout is not None
            return self.process.stdout.readline()
        finally:
            guard.cancel()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str) -> Any:
        """The JSON at a path; HTTPError for refusals."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:  # noqa: S310 - always http
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that a JSON body is answered with; HTTPError for refusals."""
        request = urllib.request.Request(  # noqa: S310 - always http
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - always http
            return json.load(answer)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait for the end; the exit code and the rest of standard output."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join()
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, rest


@contextlib.contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Service]:
    """A service that is stopped at the end of the block, unless the block has done so."""
    service = Service(*arguments, **environment)
    try:
        yield service
    finally:
        if service.process.returncode is None:
            service.stop()
