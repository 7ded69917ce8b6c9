"""`idle`: what a thousand streams cost on which nothing happens."""

import argparse
import asyncio

import psutil
import uvloop

from benchmarks.realtime.clients import Stream, open_stream
from benchmarks.realtime.ground import Ground, Watch, ground, report
from benchmarks.realtime.people import House, settle
from benchmarks.runner import Program, say

OPENED_TOGETHER = 50
WARM_UP_STREAMS = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--streams", type=int, default=1000, help="streams in one process (1000)")
    parser.add_argument("--seconds", type=float, default=60, help="how long they are watched (60)")


def measure(options: argparse.Namespace) -> None:
    """Print one line."""
    with ground() as here:
        node = here.serve("node", MAX_STREAMS_PER_PROCESS=str(options.streams))
        house = asyncio.run(settle(here.url, members=options.streams, products=1))
        node.wait()
        uvloop.run(_run(here, node, house, options))


async def _run(here: Ground, node: Program, house: House, options: argparse.Namespace) -> None:
    for stream in await _open(node, house, WARM_UP_STREAMS):
        stream.leave()
    await asyncio.sleep(3)
    empty, cpu = _memory(node), node.cpu()
    await asyncio.sleep(options.seconds / 3)
    alone = (node.cpu() - cpu) / (options.seconds / 3)
    streams = await _open(node, house, options.streams)
    say(f"{len(streams)} streams are open")
    await asyncio.sleep(5)
    watch, cpu = Watch(), node.cpu()
    await asyncio.sleep(options.seconds)
    with_streams = (node.cpu() - cpu) / options.seconds
    full = _memory(node)
    report(
        "idle",
        watch,
        streams=len(streams),
        seconds=options.seconds,
        kib_each=round((full - empty) / len(streams) / 1024, 1),
        mib_before=round(empty / 2**20, 1),
        core_without_streams=round(alone, 4),
        core_with_streams=round(with_streams, 4),
        pings=sum(stream.said["ping"] for stream in streams),
        open_at_the_end=sum(not stream.is_over for stream in streams),
        complaints=here.complaints()[:5],
    )
    for stream in streams:
        stream.leave()


async def _open(node: Program, house: House, count: int) -> list[Stream]:
    streams: list[Stream] = []
    for begin in range(0, count, OPENED_TOGETHER):
        some = house.members[begin : min(begin + OPENED_TOGETHER, count)]
        streams += await asyncio.gather(*(open_stream(node.url, member.token) for member in some))
    return streams


def _memory(node: Program) -> int:
    """Bytes that the process alone holds."""
    return int(psutil.Process(node.process.pid).memory_full_info().uss)
