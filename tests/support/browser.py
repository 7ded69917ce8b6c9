"""A real headless Chromium that is steered: it opens pages, and clicks where a person would."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.chromium import PROGRAM

PATIENCE = 60.0

BEGIN = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    " os.execv(sys.argv[3], sys.argv[3:])"
)
"""The browser reads its orders from descriptor 3, and answers on 4."""


class Browser:
    """One tab, steered over a pair of pipes. Names other than 127.0.0.1 are not found."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise RuntimeError(
                f"This test needs {PROGRAM}, and it is not on the PATH: apt-get install -y {PROGRAM}"
            )
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", BEGIN, str(to_read), str(to_write), program),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={folder / 'profile'}",
                "--remote-debugging-pipe",
            ],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        self._count = 0
        self._tab: str | None = None
        target = self._order("Target.createTarget", url="about:blank")["targetId"]
        self._tab = self._order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._order("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    @property
    def address(self) -> str:
        """Where the tab stands, with the fragment."""
        return str(self.run("location.href"))

    def open(self, address: str) -> None:
        """Open a page and wait until it is there."""
        self._order("Page.navigate", url=address)
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def click(self, selector: str) -> None:
        """Click with the mouse into the middle of an element."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView();"
            " const b = e.getBoundingClientRect();"
            " return {x: b.x + b.width / 2, y: b.y + b.height / 2} })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._order("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type(self, selector: str, text: str) -> None:
        """Put this text into a field, in place of what was there."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self._order("Input.insertText", text=text)

    def run(self, script: str) -> Any:
        """The value of a script in the page."""
        answer = self._order("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_until(self, condition: str) -> None:
        """Wait until a script is true in the page."""
        until = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < until, f"{condition} at {self.address}"
            time.sleep(0.05)

    def _order(self, method: str, **params: Any) -> dict[str, Any]:
        """Give an order and wait for its answer; what else the browser says meanwhile is not looked at."""
        self._count += 1
        order: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._tab is not None:
            order["sessionId"] = self._tab
        os.write(self._write, json.dumps(order).encode() + b"\0")
        while True:
            said = self._hear()
            if said.get("id") == self._count:
                if "error" in said:
                    raise AssertionError(f"{method}: {said['error']}")
                result: dict[str, Any] = said["result"]
                return result

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._read, 65_536)
            assert part, "the browser has gone"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(line)
        return said
