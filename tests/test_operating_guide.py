"""The guide for operators names every finding of `doctor`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def findings() -> set[str]:
    """The names of all findings in the code of `doctor`, but for those of single settings."""
    names: set[str] = set()
    for path in (ROOT / "app" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    names.add(str(first.value))
    return names


def test_findings_when_compared_with_the_guide() -> None:
    guide = (ROOT / "docs" / "guides" / "operating.md").read_text()
    section = guide.partition("\n## What `doctor` finds\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE))))
    assert len(findings()) >= 10
    assert findings() <= explained
    assert explained - findings() == {"PUBLIC_URL", "APP_URL"}, "these come from the settings' own names"
