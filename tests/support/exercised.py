"""Remembers which routes answered with success, so that a full run can name those that no test exercises."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Exercised:
    """The routes (method and template) that gave a 2xx or 3xx in this process."""

    def __init__(self) -> None:
        self.routes: set[str] = set()

    def recording(self, app: ASGIApp) -> ASGIApp:
        """The application, with every success noted."""

        async def recorder(scope: Scope, receive: Receive, send: Send) -> None:
            async def note(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] < 400:
                    path = getattr(scope.get("route"), "path_format", None)
                    if path:
                        self.routes.add(f"{scope['method']} {path}")
                await send(message)

            await app(scope, receive, note)

        return recorder


@pytest.fixture(scope="session")
def exercised(request: pytest.FixtureRequest) -> Iterator[Exercised]:
    """Collected per worker and handed to the controller at the end of the run."""
    record = Exercised()
    yield record
    output = getattr(request.config, "workeroutput", None)
    if output is not None:
        output["exercised"] = sorted(record.routes)
    else:
        request.config.stash[ROUTES].update(record.routes)


ROUTES: pytest.StashKey[set[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROUTES] = set()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """A worker has finished: take over what it saw."""
    node.config.stash[ROUTES].update(getattr(node, "workeroutput", {}).get("exercised", []))


def _is_full_run(config: pytest.Config) -> bool:
    """Whether nothing narrowed the run: no path, no keyword, no marker, no early end."""
    option = config.option
    narrowed = config.args != config.getini("testpaths") or option.keyword or option.markexpr
    return not narrowed and not getattr(option, "collectonly", False)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After a full and green run: fail when a route of the document was never exercised."""
    config = session.config
    if hasattr(config, "workerinput") or exitstatus != 0 or not _is_full_run(config):
        return
    document = json.loads((Path(config.rootpath) / "openapi" / "openapi.json").read_text())
    wanted = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in {"get", "post", "put", "patch", "delete"}
    }
    seen = config.stash[ROUTES]
    missing = sorted(wanted - seen)
    assert len(wanted) > 20
    if missing:
        config.stash[MISSING] = missing
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


MISSING: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_terminal_summary(terminalreporter) -> None:
    missing = terminalreporter.config.stash.get(MISSING, [])
    if missing:
        terminalreporter.section("routes that no test exercised with success")
        for route in missing:
            terminalreporter.line(route)
