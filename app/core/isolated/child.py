"""The program of the child process: takes its limits upon itself, runs one task, reports in JSON.

    python -I child.py <task> <memory in MiB> <CPU seconds> < arguments as JSON

Its working directory is the one that the task may use.
"""

import importlib
import json
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TASKS = {
    "images.square": ("app.core.isolated.images", "square"),
    "mails.render": ("app.core.isolated.mail_texts", "render"),
}
"""Every task by its name: the module and the function, `f(**arguments) -> report`."""

MAX_FILE = 300 * 1024 * 1024
MAX_OPEN = 64


def limit(memory_mb: int, cpu_seconds: int) -> None:
    """Take away what a task may not use up; the kernel ends a process that does it all the same."""
    for kind, value in (
        (resource.RLIMIT_AS, memory_mb * 1024 * 1024),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_NOFILE, MAX_OPEN),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def main() -> None:
    """Run the task that the arguments name."""
    name, memory_mb, cpu_seconds = sys.argv[1:]
    limit(int(memory_mb), int(cpu_seconds))
    sys.path.insert(0, str(ROOT))
    module, function = TASKS[name]
    arguments = json.load(sys.stdin)
    report = getattr(importlib.import_module(module), function)(**arguments)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
