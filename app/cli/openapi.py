"""`python -m app openapi`: the committed document."""

import argparse
import difflib
from pathlib import Path

from app.cli.saying import complain, say
from app.core.openapi import render
from app.main import create_app

TARGET = Path(__file__).resolve().parents[2] / "openapi" / "openapi.json"


def run(arguments: argparse.Namespace) -> int:
    """Write or compare; answers the exit code."""
    target = TARGET if arguments.output is None else Path(arguments.output)
    text = render(create_app().openapi())
    if not arguments.check:
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        say(f"Wrote {target}")
        return 0
    present = target.read_text() if target.exists() else ""
    if present == text:
        return 0
    complain(f"{target} is not current; run `make openapi`.")
    for line in list(difflib.unified_diff(present.splitlines(), text.splitlines(), lineterm="", n=1))[2:40]:
        complain(line)
    return 1
