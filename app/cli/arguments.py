"""What the command line understands. It imports nothing of the service, so that help comes at once."""

import argparse
from typing import TypeAlias

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

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    """The whole command line; `verb` of what it parses names the module of `app.cli` that runs it."""
    made = argparse.ArgumentParser(
        prog="python -m app",
        description="The Luneo API.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for add in (_serve, _worker, _migrate, _seed, _openapi, _doctor):
        add(verbs)
    return made


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _serve(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "serve",
        help="answer requests",
        description="Answer requests. Without DATABASE_URL an embedded PostgreSQL runs under DATA_DIR and is"
        " migrated by itself. Prints one line when it is ready; Ctrl-C stops it.",
    )
    verb.add_argument("--host", help="address to listen on (HOST, default 127.0.0.1)")
    verb.add_argument("--port", type=_port, help="port to listen on (PORT, default 8000); 0 takes a free one")
    verb.add_argument("--migrate", action="store_true", help="migrate a database of your own, too")
    verb.add_argument(
        "--seed-demo",
        action="store_true",
        help="migrate, and put demo data where there is none; not in production",
    )


def _worker(verbs: Verbs) -> None:
    verbs.add_parser(
        "worker",
        help="run events and jobs in a process of their own",
        description="Run events and jobs until Ctrl-C or SIGTERM. Give the servers WORKER=external then. Any"
        " number of workers may run, on any number of machines.",
    )


def _migrate(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "migrate",
        help="bring the database up to date",
        description="Bring the database up to date: that of DATABASE_URL, or the embedded one. Several at"
        " once wait for each other. Every migration is committed by itself.",
    )
    way = verb.add_mutually_exclusive_group()
    way.add_argument("--to", metavar="REVISION", default="head", help="stop at this revision (default: head)")
    way.add_argument(
        "--down",
        metavar="REVISION",
        help="go back to this revision; `-1` is one step, `base` empties the database",
    )


def _seed(verbs: Verbs) -> None:
    verbs.add_parser(
        "seed",
        help="put demo data into the database",
        description="Put demo data into the database, which is migrated first; once, however often it is"
        " called. Not in production: the demo account's password is known to everybody.",
    )


def _openapi(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "openapi",
        help="write openapi/openapi.json",
        description="Write the OpenAPI document of this code to openapi/openapi.json. Needs no database.",
    )
    verb.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
    verb.add_argument("--output", metavar="FILE", help="another file")


def _doctor(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "doctor",
        help="say what is wrong here, and how to mend it",
        description="Look at the configuration and at everything that the service depends on. Exits with 1"
        " when something is wrong.",
    )
    act = verb.add_mutually_exclusive_group()
    act.add_argument(
        "--new-key", action="store_true", help="print a fresh entry for SECRET_KEYS and do nothing else"
    )
    act.add_argument(
        "--new-epoch",
        action="store_true",
        help="after restoring a backup: make the cursors of event streams unknown; clients load afresh",
    )
