"""The decisions in docs/decisions are numbered, short, and each names the tests that hold it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 25


def decisions() -> list[Path]:
    return sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_numbers_when_read_in_order() -> None:
    names = [path.name for path in decisions()]
    assert len(names) >= 14
    assert all(re.fullmatch(r"\d{4}-[a-z0-9]+(-[a-z0-9]+)*\.md", name) for name in names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_decisions_when_read() -> None:
    for path in decisions():
        lines = path.read_text().splitlines()
        assert len(lines) <= LONGEST, f"{path.name} has {len(lines)} lines; say it in {LONGEST}"
        assert lines[0].startswith(f"# {path.name[:4]} "), f"{path.name} does not begin with its number"
        parts = re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], path.name


def test_decisions_when_somebody_asks_who_holds_them() -> None:
    for path in decisions():
        last = path.read_text().splitlines()[-1]
        assert last.startswith("Held by: tests/"), f"{path.name} does not end with the tests that hold it"
        for name in last.removeprefix("Held by: ").split(", "):
            assert (ROOT / name).is_file(), f"{path.name} is held by {name}, which does not exist"
