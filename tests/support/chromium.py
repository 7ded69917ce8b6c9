"""A real headless Chromium that reaches nothing but this machine."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "chromium"


@dataclass(frozen=True)
class Page:
    """A page after its scripts have run: its elements as HTML, and the lines of its console."""

    html: str
    console: list[str]


def load(url: str, folder: Path) -> Page:
    """Load a page until it is quiet. Names other than 127.0.0.1 are not found, as if the cable were cut."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise RuntimeError(
            f"This test needs {PROGRAM}, and it is not on the PATH: apt-get install -y {PROGRAM}"
        )
    done = subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return Page(done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE:" in line])
