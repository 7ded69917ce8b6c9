"""CONTRIBUTING.md lists every module of core and every invariant."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def first_column(heading: str) -> set[str]:
    """The names in the first column of the table under a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_index_of_core_when_compared_with_its_files() -> None:
    core = ROOT / "app" / "core"
    modules = {path.name for path in core.glob("*.py")} - {"__init__.py"}
    packages = {path.parent.name for path in core.glob("*/__init__.py")}
    assert len(modules | packages) > 20
    listed = first_column("Index of `core/`")
    assert modules | packages <= listed, "give each module of app/core its line in CONTRIBUTING.md"
    assert listed <= modules | packages, "take lines without a module out of CONTRIBUTING.md"


def test_invariants_when_compared_with_their_files() -> None:
    tests = {path.stem for path in (ROOT / "tests" / "invariants").glob("test_*.py")}
    assert len(tests) > 4
    listed = first_column("Invariants")
    assert tests <= listed, "say in CONTRIBUTING.md what a failure of each invariant means"
    assert listed <= tests, "take lines without a test out of CONTRIBUTING.md"
