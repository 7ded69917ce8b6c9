"""Measures what the CSV export of a million orders takes: `python -m benchmarks.export`."""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.runner import Mode, Program, configure, database, running, say, scratch
from benchmarks.seeding import signed_in

MEGABYTE = 1024 * 1024
PATH = "/api/orders/export.csv"


def main() -> int:
    """Seed, start, read, print a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000, help="orders of one owner (1,000,000)")
    options = parser.parse_args()
    mode = Mode(owners=1, orders=options.orders, rounds=1, seconds=0, warm_up=0)
    with scratch() as folder:
        home = Path(folder)
        home.chmod(0o755)
        configure(home)
        with database(home, mode) as url, running("service", url, home) as service:
            (owner,) = asyncio.run(signed_in(url))
            service.wait()
            found = asyncio.run(measure(service, {"Authorization": f"Bearer {owner.token}"}))
    sys.stdout.write(json.dumps({"orders": options.orders, **found}) + "\n")
    return 0


async def measure(service: Program, headers: dict[str, str]) -> dict[str, Any]:
    """How long the whole file takes, and by how much the process grows while it makes it."""
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60) as client:
        # What is loaded once is loaded by a first part of the file.
        await _read(client, service, enough=MEGABYTE)
        resting = service.process.memory_info().rss
        began = time.monotonic()
        lines, received, peak = await _read(client, service)
    return {
        "lines": lines,
        "megabytes": received // MEGABYTE,
        "seconds": round(time.monotonic() - began, 1),
        "resting_mib": resting // MEGABYTE,
        "growth_mib": max(0, peak - resting) // MEGABYTE,
    }


async def _read(
    client: httpx.AsyncClient, service: Program, enough: int | None = None
) -> tuple[int, int, int]:
    """Lines, bytes and the largest memory of the process; reading stops after `enough` bytes."""
    lines = received = peak = 0
    told = time.monotonic()
    async with client.stream("GET", PATH) as answer:
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            lines += part.count(b"\n")
            received += len(part)
            peak = max(peak, service.process.memory_info().rss)
            if time.monotonic() - told > 5:
                told = time.monotonic()
                say(f"{lines} lines, {received // MEGABYTE} MB, the process has {peak // MEGABYTE} MiB")
            if enough is not None and received >= enough:
                break
    return lines, received, peak


if __name__ == "__main__":
    sys.exit(main())
