"""Remembers how routes answered, so that a run can name those that nobody tried or that said too little."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Exercised:
    """The routes (method and template) that gave a 2xx or 3xx in this process.

    `unaddressed` are those that made something (201) and did not say where it is.
    """

    def __init__(self) -> None:
        self.routes: set[str] = set()
        self.unaddressed: set[str] = set()

    def recording(self, app: ASGIApp) -> ASGIApp:
        """The application, with every success noted."""

        async def recorder(scope: Scope, receive: Receive, send: Send) -> None:
            async def note(message: Message) -> None:
                if message["type"] == "http.response.start" and message["status"] < 400:
                    path = getattr(scope.get("route"), "path_format", None)
                    if path:
                        route = f"{scope['method']} {path}"
                        self.routes.add(route)
                        has_address = b"location" in dict(message["headers"])
                        if message["status"] == 201 and path.startswith("/api/") and not has_address:
                            self.unaddressed.add(route)
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
        output["unaddressed"] = sorted(record.unaddressed)
    else:
        request.config.stash[ROUTES].update(record.routes)
        request.config.stash[UNADDRESSED].update(record.unaddressed)


ROUTES: pytest.StashKey[set[str]] = pytest.StashKey()
UNADDRESSED: pytest.StashKey[set[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROUTES] = set()
    config.stash[UNADDRESSED] = set()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """A worker has finished: take over what it saw."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[ROUTES].update(output.get("exercised", []))
    node.config.stash[UNADDRESSED].update(output.get("unaddressed", []))


def _is_full_run(config: pytest.Config) -> bool:
    """Whether nothing narrowed the run: no path, no keyword, no marker, no early end."""
    option = config.option
    narrowed = config.args != config.getini("testpaths") or option.keyword or option.markexpr
    return not narrowed and not getattr(option, "collectonly", False)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After a green run: fail for a 201 without an address, and after a full one for routes never tried."""
    config = session.config
    if config.stash[UNADDRESSED] and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
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
    sections = {
        "routes that no test exercised with success": terminalreporter.config.stash.get(MISSING, []),
        "routes that answered 201 without Location": sorted(terminalreporter.config.stash[UNADDRESSED]),
    }
    for title, routes in sections.items():
        if routes:
            terminalreporter.section(title)
            for route in routes:
                terminalreporter.line(route)
