"""The service's own source, parsed once: what the invariants on files, imports and calls look at."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root of the repository, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module = field(repr=False)

    @classmethod
    def of(cls, path: str, text: str) -> "Source":
        return cls(path, text, ast.parse(text))

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree: found once, for all the rules that look at it."""
        return list(ast.walk(self.tree))

    @cached_property
    def imports(self) -> list[tuple[int, str, str]]:
        """Line, module and name of everything imported; the name is empty where a whole module is."""
        found: list[tuple[int, str, str]] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(node.lineno, node.module or "", alias.name) for alias in node.names]
        return found

    @cached_property
    def calls(self) -> list[tuple[int, str]]:
        """Line and dotted name of everything called: `database.system`, `self.session.execute`, `print`."""
        return [(node.lineno, dotted(node.func)) for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def attributes(self) -> list[tuple[int, str]]:
        """Line and dotted name of every attribute that is read or written."""
        return [(node.lineno, dotted(node)) for node in self.nodes if isinstance(node, ast.Attribute)]


def dotted(node: ast.expr) -> str:
    """The written name of an expression, `…` for what has none: `….execute` for `(await x).execute`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "…"


@lru_cache(maxsize=1)
def sources() -> tuple[Source, ...]:
    """Every Python file under `app/`."""
    files = sorted((ROOT / "app").rglob("*.py"))
    return tuple(Source.of(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files)


def judge(found: Iterable[tuple[str, int, str]], allowed: Mapping[str, str], advice: str) -> list[str]:
    """What is wrong: whatever was found in files that are not allowed it, and allowances that nobody needs.

    `found` are file, line and what stands there; `allowed` are files, or folders that end in a slash.
    Every sentence says what to do.
    """
    used: set[str] = set()
    wrong: list[str] = []
    for path, line, what in found:
        entry = next((entry for entry in allowed if _covers(entry, path)), None)
        if entry is None:
            wrong.append(f"{path}:{line} {what}: {advice}, or add the file to ALLOWED with its reason")
        else:
            used.add(entry)
    for entry, reason in allowed.items():
        if entry not in used:
            wrong.append(f"{entry} is ALLOWED something that it does not need: take the entry out")
        if not reason.strip():
            wrong.append(f"{entry} is ALLOWED something without a reason: say why")
    return wrong


def _covers(entry: str, path: str) -> bool:
    return path == entry or (entry.endswith("/") and path.startswith(entry))
