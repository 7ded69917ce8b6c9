"""How commands talk: results to standard output, progress and complaints to standard error."""

import sys


def say(text: str) -> None:
    """Print a result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def report(text: str) -> None:
    """Tell what is being done."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """Tell what is wrong."""
    report(f"luneo: {text}")
