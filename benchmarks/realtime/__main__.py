"""The command line: `python -m benchmarks.realtime COMMAND`; each prints lines of JSON."""

import argparse
import sys

from benchmarks.realtime import commits, idle, live, reconnect, sequence
from benchmarks.realtime.ground import wait_for_quiet

COMMANDS = {
    "commits": commits,
    "sequence": sequence,
    "stream": live,
    "reconnect": reconnect,
    "idle": idle,
}


def main() -> int:
    """Run one command; it starts all that it needs on this machine, and ends it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realtime", description=__doc__)
    parser.add_argument(
        "--wait",
        type=float,
        default=0,
        help="seconds to wait at most until others leave the machine alone (0)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        what = (module.__doc__ or "").partition(": ")[2]
        module.add_options(commands.add_parser(name, help=what, description=what))
    options = parser.parse_args()
    wait_for_quiet(options.wait)
    COMMANDS[options.command].measure(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
