"""Programs that some tests start and not every machine has: without one, its tests are left out and named.

`--every-test` (as `.ci/run` says it) runs them all the same, and lets them fail.
"""

import shutil

import pytest

PACKAGES = {"chromium": "chromium", "curl": "curl", "redis-server": "redis-server"}
"""Each program, and the Debian package that brings it."""

OF_FIXTURES = {"redis_server": "redis-server"}
"""Fixtures that start one; every other test that does says `@pytest.mark.needs(program)`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-test", action="store_true", help="fail where a program is missing that tests start"
    )


def missing() -> set[str]:
    """The programs that this machine lacks."""
    return {program for program in PACKAGES if shutil.which(program) is None}


def needed_by(item: pytest.Item) -> set[str]:
    """The programs that a test starts."""
    marked = {program for mark in item.iter_markers("needs") for program in mark.args}
    fixtures = getattr(item, "fixturenames", ())
    return marked | {program for name, program in OF_FIXTURES.items() if name in fixtures}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lacking = set() if config.option.every_test else missing()
    if lacking:
        left_out = [item for item in items if needed_by(item) & lacking]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not needed_by(item) & lacking]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.option.every_test:
        return
    for program in sorted(missing()):
        terminalreporter.write_line(
            f"Left out: the tests that start {program}, which is not on the PATH"
            f" (apt-get install {PACKAGES[program]}).",
            yellow=True,
        )
