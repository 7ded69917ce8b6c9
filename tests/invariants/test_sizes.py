"""Invariant: files and functions of the service stay short enough to be read in one go, and have a name."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.invariants.source import Source, sources

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
NAMELESS = {"common", "helpers", "misc", "shared", "util", "utils"}


def functions(source: Source) -> Iterator[tuple[str, int, int]]:
    """Name, first line and length of every function, decorators not counted."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_when_they_are_counted() -> None:
    found = {source.path: len(source.text.splitlines()) for source in sources()}
    assert len(found) > 60
    long = [
        f"{path} has {lines} lines, more than {LONGEST_FILE}: make it a package, split by noun"
        for path, lines in found.items()
        if lines > LONGEST_FILE
    ]
    assert not long, "\n".join(long)


def test_functions_when_they_are_counted() -> None:
    found = [(source.path, *function) for source in sources() for function in functions(source)]
    assert len(found) > 300
    long = [
        f"{path}:{line} {name}() has {lines} lines, more than {LONGEST_FUNCTION}: name its parts"
        for path, name, line, lines in found
        if lines > LONGEST_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_files_when_their_names_are_read() -> None:
    """A name that fits everything says nothing of what a file owns."""
    stems = {path.parts[-1].removesuffix(".py") for path in (Path(source.path) for source in sources())}
    assert not stems & NAMELESS, f"{sorted(stems & NAMELESS)}: call a file after the noun that it owns"


def test_counting_when_a_function_is_too_long() -> None:
    text = "@decorated\nasync def long():\n" + "    pass\n" * 60
    assert list(functions(Source.of("app/x.py", text))) == [("long", 2, 61)]
