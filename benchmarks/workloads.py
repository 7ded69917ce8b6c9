"""The workloads: what is asked, and whether the service answers what the floor answers."""

import asyncio
import json
import random
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.seeding import ADDRESS, Owner, signed_in

CUSTOMER = {"email": "anna@example.test", "name": "Anna Martin", "phone": "+33 6 12 34 56 78"}

OF_THE_SERVICE = {"available_transitions", "checkout_error", "next_cursor"}
"""Members that the floor leaves out."""

OF_EACH = {
    "id",
    "order_id",
    "order_number",
    "product_snapshot",
    "customization_sha256",
    "pricing",
    "placed_at",
    "reservation_expires_at",
    "created_at",
    "updated_at",
}
"""Members of a new order that no other order shares, or that the floor does not work out."""


@dataclass(frozen=True)
class Workload:
    """One kind of request and its budget: the rates as a share of the floor's."""

    name: str
    title: str
    must: float
    aim: float
    p99_must: float | None = None


WORKLOADS = (
    Workload("W0", "authenticated, no data", 0.40, 0.80),
    Workload("W1", "newest 20 orders with their lines", 0.35, 0.80, p99_must=2.5),
    Workload("W2", "one order by id", 0.30, 0.80),
    Workload("W3", "place an order of two lines", 0.30, 0.60),
)


def write_requests(url: str, files: Mapping[str, Path]) -> None:
    """Write the requests of each workload to its file, as `load.lua` reads them."""
    owners = asyncio.run(signed_in(url))
    random.seed(7)
    lines = {
        "W0": [_line("GET", "/benchmark/nothing", owner) for owner in owners],
        "W1": [_line("GET", "/api/orders", owner) for owner in owners],
        "W2": asyncio.run(_single(url, owners)),
        "W3": asyncio.run(_placing(url, owners)),
    }
    for name, file in files.items():
        random.shuffle(lines[name])
        file.write_text("\n".join(lines[name]) + "\n")


def _line(method: str, path: str, owner: Owner, body: object = None) -> str:
    return "\t".join((method, path, owner.token, "" if body is None else json.dumps(body)))


async def _single(url: str, owners: list[Owner], each: int = 10) -> list[str]:
    """Paths of a few orders of everybody."""
    statement = "SELECT id FROM orders WHERE organization_id = $1 ORDER BY created_at LIMIT $2"
    connection = await asyncpg.connect(url)
    try:
        return [
            _line("GET", f"/api/orders/{row['id']}", owner)
            for owner in owners
            for row in await connection.fetch(statement, owner.organization_id, each)
        ]
    finally:
        await connection.close()


async def _placing(url: str, owners: list[Owner]) -> list[str]:
    """Bodies of orders with two products of everybody."""
    statement = "SELECT id FROM products WHERE organization_id = $1 ORDER BY id"
    connection = await asyncpg.connect(url)
    try:
        lines = []
        for owner in owners:
            products = [str(row["id"]) for row in await connection.fetch(statement, owner.organization_id)]
            for two in (random.sample(products, 2), random.sample(products, 2)):
                body = {
                    "items": [{"product_id": product, "quantity": n} for n, product in enumerate(two, 1)],
                    "customer": CUSTOMER,
                    "shipping_address": ADDRESS,
                    "payment_method": "manual",
                }
                lines.append(_line("POST", "/api/orders", owner, body))
        return lines
    finally:
        await connection.close()


def check(workload: Workload, file: Path, floor: str, service: str) -> None:
    """Compare a few answers of both programs; SystemExit when they differ."""
    with file.open() as lines:
        for line, _ in zip(lines, range(5), strict=False):
            expected, found = (_comparable(workload, _ask(url, line)) for url in (floor, service))
            if (where := _difference(expected, found)) is not None:
                raise SystemExit(f"{workload.name}: the answers differ at {where}")


def _ask(url: str, line: str) -> Any:
    method, path, token, body = line.rstrip("\n").split("\t")
    request = urllib.request.Request(  # noqa: S310 - always http, to this machine
        url + path,
        body.encode() if body else None,
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _comparable(workload: Workload, document: Any) -> Any:
    """A document without what may differ, moments as such."""
    left_out = OF_THE_SERVICE | (OF_EACH if workload.name == "W3" else set())

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: _moment(name, plain(item)) for name, item in value.items() if name not in left_out}
        return [plain(item) for item in value] if isinstance(value, list) else value

    return plain(document)


def _difference(expected: Any, found: Any, path: str = "") -> str | None:
    """The first place where two documents differ, with what stands there."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        places = [(f"{path}/{name}", expected[name], found[name]) for name in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        places = [(f"{path}/{n}", *pair) for n, pair in enumerate(zip(expected, found, strict=True))]
    else:
        return None if expected == found else f"{path}: {str(expected)[:200]} and {str(found)[:200]}"
    return next((where for place in places if (where := _difference(place[1], place[2], place[0]))), None)


def _moment(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name.endswith("_at") and isinstance(value, str) else value
