"""The command line: one file per verb, and what they share: arguments, signals, and how failures are told."""

import argparse
import signal
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.cli import doctor, migrate, openapi, seed, serve, worker
from app.cli.saying import complain
from app.core.embedded import EmbeddedPostgresError

EXAMPLES = """\
examples:
  python -m app serve --seed-demo          the whole product on this machine, with demo data
  PORT=9000 DATA_DIR=/tmp/b python -m app serve
                                           a second one beside it
  DATABASE_URL=postgresql://luneo:secret@db/luneo python -m app migrate
                                           bring a database of your own up to date
  python -m app doctor                     what is wrong here, and how to mend it
  python -m app doctor --new-key           an entry for SECRET_KEYS

Everything else is set by environment variables or in `.env`; the README lists them.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code: 0 done, 1 failed, 2 called wrongly, 130 interrupted."""
    parsed = _parser().parse_args(arguments)
    # What a supervisor sends is treated like Ctrl-C, so that everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return 130
    except ValidationError as error:
        complain("the configuration is not valid:")
        for item in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in item["loc"]).upper()
            complain(f"  {name or 'settings'}: {item['msg'].removeprefix('Value error, ')}")
        return 2
    except EmbeddedPostgresError as error:
        complain(str(error))
    except (OSError, DBAPIError) as error:
        complain(f"{type(error).__name__}: {getattr(error, 'orig', error)}")
        complain("`python -m app doctor` looks for the cause.")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="The Luneo API.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in (serve, worker, migrate, seed, openapi, doctor):
        verb.add(verbs)
    return parser


if sys.platform == "win32":  # pragma: no cover
    raise SystemExit("The service runs on Linux and macOS; on Windows use WSL or the container image.")
