"""`python -m app openapi`: the committed document."""

import argparse
import difflib
from pathlib import Path

from app.cli.saying import complain, say

TARGET = Path(__file__).resolve().parents[2] / "openapi" / "openapi.json"


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = verbs.add_parser(
        "openapi",
        help="write openapi/openapi.json",
        description="Write the OpenAPI document of this code to openapi/openapi.json. Needs no database.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the file is not current"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write or compare; answers the exit code."""
    from app.core.openapi import render  # noqa: PLC0415 - imports every area, which other commands need not wait for
    from app.main import create_app  # noqa: PLC0415 - as above

    text = render(create_app().openapi())
    if arguments.check:
        present = TARGET.read_text() if TARGET.exists() else ""
        if present == text:
            return 0
        complain("openapi/openapi.json is not current; run `make openapi`.")
        for line in list(difflib.unified_diff(present.splitlines(), text.splitlines(), lineterm="", n=1))[
            2:40
        ]:
            complain(line)
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text)
    say(f"Wrote {TARGET.relative_to(TARGET.parents[1])}")
    return 0
