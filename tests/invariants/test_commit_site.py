"""Invariant: one function commits, so that a transaction ends in one place and events are announced there."""

import re
from collections.abc import Iterator

from tests.invariants.source import Source, judge, sources

COMMIT = re.compile(r"(?:.*\.)commit|.*\b_?(?:session|connection|engine|database|db)\.begin")
"""`begin()` is a context manager that commits at its end; `begin_nested()` only opens a savepoint."""

OTHER_MEANINGS = {
    "savepoint.commit": "releases a savepoint",
    "self.stock.commit": "takes pieces off the shelf",
}
"""What is called so and ends no transaction."""

ALLOWED = {
    "app/core/database.py": "It holds the one commit.",
    "app/core/migrations.py": "A replica queues on a connection of its own, before there is any table.",
    "app/demo/seeding.py": "It makes each order through its services, in a transaction of its own.",
}


def committing(source: Source) -> Iterator[tuple[str, int, str]]:
    """Calls that end a transaction or open one that ends by itself, and imports of the one commit."""
    for line, name in source.calls:
        if COMMIT.fullmatch(name) and name not in OTHER_MEANINGS:
            yield source.path, line, f"calls {name}()"
    for line, module, name in source.imports:
        if (module, name) == ("app.core.database", "commit"):
            yield source.path, line, "imports the one commit"


def test_commits_when_every_file_is_read() -> None:
    assert len(sources()) > 60
    found = [item for source in sources() for item in committing(source)]
    wrong = judge(found, ALLOWED, "the session dependency commits, so call flush() at most")
    assert not wrong, "\n".join(wrong)


def test_commit_function_when_it_is_looked_for() -> None:
    database = next(source for source in sources() if source.path == "app/core/database.py")
    sites = [line for _, line, what in committing(database) if what.endswith(".commit()")]
    assert len(sites) == 1, "app/core/database.py commits in more than one place: call its commit()"


def test_other_meanings_when_they_are_looked_for() -> None:
    called = {name for source in sources() for _, name in source.calls}
    gone = set(OTHER_MEANINGS) - called
    assert not gone, f"nothing calls {gone}: take it out of OTHER_MEANINGS"


def test_search_when_a_service_commits() -> None:
    text = "async def place(self):\n    await self.session.commit()\n    self.session.begin()\n"
    assert sorted(committing(Source.of("app/services/x.py", text))) == [
        ("app/services/x.py", 2, "calls self.session.commit()"),
        ("app/services/x.py", 3, "calls self.session.begin()"),
    ]
