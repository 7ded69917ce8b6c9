"""`python -m app worker`: events and jobs in a process of their own."""

import argparse
import asyncio

from app.cli.keys import has_good_keys
from app.cli.saying import report
from app.core import collector, logging
from app.core.config import get_settings
from app.core.runtime import running_database


def run(_: argparse.Namespace) -> int:
    """Work until a signal; answers the exit code."""
    # They import every area, which other commands need not wait for.
    from app.clients.outbound.opening import announce_opened_networks  # noqa: PLC0415
    from app.jobs.worker import run_worker  # noqa: PLC0415

    settings = get_settings()
    logging.configure(settings)
    if not has_good_keys():
        return 1
    announce_opened_networks(settings)
    collector.settle()
    try:
        with running_database(settings) as url:
            report("The worker runs")
            asyncio.run(run_worker(settings, url))
    except KeyboardInterrupt:
        pass
    return 0
