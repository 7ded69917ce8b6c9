"""Measures what two hundred servers that hang cost the event loop: `python -m benchmarks.outbound`.

Its lateness is compared in one run, with and without them, so that the machine's own share falls out.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from ipaddress import ip_network

import psutil

from app.clients.outbound import OutboundClient, OutboundFailure
from app.clients.outbound.addresses import AddressRules
from app.clients.outbound.urls import UrlRules

RECEIVERS = """
import asyncio
async def take(reader, writer):
    await reader.read()
    writer.close()
async def main():
    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


async def lateness(seconds: float) -> list[float]:
    """By how many milliseconds a timer of one millisecond is late, again and again."""
    late = []
    until = time.perf_counter() + seconds
    while (now := time.perf_counter()) < until:
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - now - 0.001) * 1000)
    return late


async def measure(rounds: int, count: int, seconds: float) -> None:
    """Print the 99th percentiles, their ratio, and the memory of one exchange."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RECEIVERS, stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the receivers have no voice")
        port = int(await process.stdout.readline())
        sys.stdout.write(json.dumps(await compare(port, rounds, count, seconds)) + "\n")
    finally:
        process.terminate()
        await process.wait()


async def compare(port: int, rounds: int, count: int, seconds: float) -> dict[str, object]:
    """Alternate rounds without and with `count` exchanges that hang for the whole round."""

    async def resolve(_: str) -> list[str]:
        return ["127.0.0.1"]

    rules = UrlRules(True, frozenset({port}), AddressRules(opened=(ip_network("127.0.0.0/8"),)))
    client = OutboundClient(rules, resolve=resolve)

    async def hang() -> str:
        try:
            await client.send("POST", f"http://a.example:{port}/", content=b"{}", timeout_seconds=seconds + 2)
        except OutboundFailure as failure:
            return failure.code
        return "answered"

    alone, beside, ratios, sizes = [], [], [], []
    for _ in range(rounds):
        alone.append(p99(await lateness(seconds)))
        before = psutil.Process().memory_info().rss
        crowd = asyncio.gather(*(hang() for _ in range(count)))
        await asyncio.sleep(1)
        sizes.append((psutil.Process().memory_info().rss - before) / count / 1024)
        beside.append(p99(await lateness(seconds)))
        codes = set(await crowd)
        if codes != {"timeout"}:
            raise RuntimeError(f"they did not hang, but said {codes}")
        ratios.append(beside[-1] / alone[-1])
    return {
        "hanging": count,
        "p99_ms_alone": round(statistics.median(alone), 2),
        "p99_ms_beside": round(statistics.median(beside), 2),
        "ratio": round(statistics.median(ratios), 2),
        "kib_per_exchange_first": round(sizes[0], 1),
        "kib_per_exchange_last": round(sizes[-1], 1),
    }


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return sorted(values)[int(len(values) * 0.99)]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outbound", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hanging", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.hanging, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
