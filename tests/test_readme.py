"""The README says what is true: its table of settings, its links, and its first calls as they are pasted."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin

import httpx
import pytest
from pydantic_core import to_jsonable_python

from app.core.config import Settings
from app.demo.house import PASSWORD, TEAM
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def settings_table() -> str:
    """The table of every variable, as the README should have it."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    # What everybody sets stands first; the classes that Settings inherits from come after it.
    for name in sorted(Settings.model_fields, key=lambda name: name not in Settings.__annotations__):
        field = Settings.model_fields[name]
        assert field.description, f"Settings.{name} has no description"
        value = to_jsonable_python(field.default)
        if isinstance(value, list):
            value = ",".join(value) or None
        shown = "" if value is None else f"`{value}`"
        meaning = field.description.replace("|", "&#124;")
        if get_origin(field.annotation) is Literal:
            words = ", ".join(f"`{word}`" for word in get_args(field.annotation))
            meaning += f" One of {words}."
        lines.append(f"| `{name.upper()}` | {shown} | {meaning} |")
    return "\n".join(lines)


def test_settings_when_compared_with_the_table() -> None:
    match = re.search(r"<!-- settings: [^>]*-->\n(.*?)<!-- /settings -->", README.read_text(), re.DOTALL)
    assert match, "README.md has lost the comments around its table of settings"
    expected = settings_table()
    assert len(expected.splitlines()) > 40
    assert match[1].strip() == expected, f"paste this into README.md:\n\n{expected}\n"


def test_links_when_followed() -> None:
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target
    ]
    assert len(links) > 10
    broken = [
        f"{page.relative_to(ROOT)} → {target}"
        for page, target in links
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_make_targets_when_named() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [page.read_text() for page in PAGES]
    named = {name for text in texts for name in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)}
    assert {"run", "test", "check"} <= named
    assert named <= targets


@dataclass(frozen=True)
class Service:
    """A running service: its address, the line that it printed, and its log."""

    address: str
    line: str
    log: Path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`python -m app serve` as a stranger starts it: nothing configured but the place and the port."""
    room = tmp_path_factory.mktemp("service")
    port = free_port()
    with (room / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port)],
            # Not in the project's own directory, in which a developer may keep a file `.env`.
            cwd=room,
            env={**outside(), "PYTHONPATH": str(ROOT), "DATA_DIR": str(room / "data")},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert f"127.0.0.1:{port}" in line, (room / "log").read_text()
        yield Service(f"http://127.0.0.1:{port}", line.strip(), room / "log")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 0, (room / "log").read_text()


def outside() -> dict[str, str]:
    """The environment without what the suite set for itself."""
    names = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name not in names}


def first_calls() -> str:
    """The shell block of the README."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def test_line_when_the_service_is_ready(service: Service) -> None:
    shown = re.findall(r"^Luneo API is ready at .*$", README.read_text(), re.MULTILINE)
    port = service.address.rpartition(":")[2]
    assert shown == [f"{service.line.replace(port, '8000')}; demo sign-in: {TEAM[0].email} / {PASSWORD}"]


@pytest.mark.needs("curl")
def test_first_calls_when_pasted(service: Service, tmp_path: Path) -> None:
    # What a shell would show, and then what it holds: the values that the next calls would use.
    script = f'{first_calls()}\nprintf \'\\n%s\\n%s\\n\' "$TOKEN" "$PRODUCT"'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**outside(), "API": service.address},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{service.log.read_text()}"
    shown, token, product_id = done.stdout.rstrip("\n").rsplit("\n", 2)
    values, history = shown.split("{", 1)
    told = ["confirmation_sent", "confirmed", "8", "confirmed", "shipped", "delivered", "delivered"]
    assert values.split() == told
    changes = [(entry["field"], entry["to_value"]) for entry in json.loads("{" + history)["items"]]
    assert {("status", "pending"), ("payment_status", "paid"), ("status", "delivered")} <= set(changes)
    address = f"{service.address}/api/products/{product_id}"
    product = httpx.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=60).json()
    assert (product["stock"], product["reserved"], product["available"]) == (8, 0, 8)


def test_pages_when_visited(service: Service) -> None:
    section = README.read_text().partition("\n## Pages\n")[2].partition("\n## ")[0]
    addresses = set(re.findall(r"`(/[a-z/.]+)`", section)) - {"/metrics"}
    assert len(addresses) >= 5
    for address in sorted(addresses):
        assert httpx.get(service.address + address, timeout=60).status_code == 200, address
