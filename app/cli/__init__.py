"""The command line: one file per verb; here the signals, and how failures are told."""

import importlib
import signal
from collections.abc import Sequence

from app.cli.arguments import parser
from app.cli.saying import complain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code: 0 done, 1 failed, 2 called wrongly, 130 interrupted."""
    parsed = parser().parse_args(arguments)
    # What a supervisor sends is treated like Ctrl-C, so that everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(importlib.import_module(f"app.cli.{parsed.verb}").run(parsed))
    except KeyboardInterrupt:
        return 0 if parsed.verb in {"serve", "worker"} else 130
    except Exception as error:
        if not _is_told(error):
            raise
    return 1


def _is_told(error: Exception) -> bool:
    """Say what an error that is nobody's defect means to whoever called; False for any other."""
    # The libraries are loaded by now, since something of them was raised; help needs none of them.
    from pydantic import ValidationError  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from app.core.embedded import EmbeddedPostgresError  # noqa: PLC0415

    if isinstance(error, ValidationError):
        complain("the configuration is not valid:")
        for item in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in item["loc"]).upper()
            complain(f"  {name or 'settings'}: {item['msg'].removeprefix('Value error, ')}")
    elif isinstance(error, EmbeddedPostgresError):
        complain(str(error))
    elif isinstance(error, OSError | DBAPIError):
        complain(f"{type(error).__name__}: {getattr(error, 'orig', error)}")
        complain("`python -m app doctor` looks for the cause.")
    else:
        return False
    return True
