"""What was measured, as ratios to the floor: medians of the rounds, a table, and whether budgets are met."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Measurement:
    """One run: answers per second, CPU of the program per answer, and how long answers took."""

    rate: float
    cpu_us: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Verdict:
    """A workload's medians, side by side."""

    workload: Workload
    floor: Measurement
    service: Measurement
    ratio: float
    spread: tuple[float, float]

    @property
    def p99_ratio(self) -> float:
        """How many times the floor's p99 ours is."""
        return self.service.p99_us / self.floor.p99_us

    @property
    def is_met(self) -> bool:
        """Whether the service keeps what it must."""
        bound = self.workload.p99_must
        return self.ratio >= self.workload.must and (bound is None or self.p99_ratio <= bound)

    def cells(self) -> list[str]:
        """The row of the table."""
        floor, service = self.floor, self.service
        return [
            f"{self.workload.name} {self.workload.title}",
            f"{self.ratio:.2f}",
            f"{self.spread[0]:.2f}-{self.spread[1]:.2f}",
            f"{self.workload.must:.2f}",
            f"{self.workload.aim:.2f}",
            f"{floor.rate:.0f}",
            f"{service.rate:.0f}",
            f"{floor.cpu_us:.0f}",
            f"{service.cpu_us:.0f}",
            f"{floor.p99_us / 1000:.1f}",
            f"{service.p99_us / 1000:.1f}",
            f"{self.p99_ratio:.2f}",
        ]

    def line(self) -> str:
        """The same as one line."""
        return " | ".join(self.cells())

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "name": self.workload.name,
            "ratio": round(self.ratio, 3),
            "ratio_of_rounds": [round(value, 3) for value in self.spread],
            "must": self.workload.must,
            "aim": self.workload.aim,
            "p99_ratio": round(self.p99_ratio, 2),
            "is_met": self.is_met,
            "floor": {name: round(value, 1) for name, value in vars(self.floor).items()},
            "service": {name: round(value, 1) for name, value in vars(self.service).items()},
        }


HEAD = [
    "workload",
    "ratio",
    "of rounds",
    "must",
    "aim",
    "floor/s",
    "service/s",
    "floor CPU µs",
    "service CPU µs",
    "floor p99 ms",
    "service p99 ms",
    "p99 ratio",
]


def judge(workload: Workload, floor: Sequence[Measurement], service: Sequence[Measurement]) -> Verdict:
    """The medians of both; the ratio is the median of the rounds' own ratios."""
    ratios = sorted(ours.rate / theirs.rate for theirs, ours in zip(floor, service, strict=True))
    return Verdict(workload, _middle(floor), _middle(service), median(ratios), (ratios[0], ratios[-1]))


def _middle(found: Sequence[Measurement]) -> Measurement:
    return Measurement(*(median(getattr(one, name) for one in found) for name in vars(found[0])))


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a table that is readable as text and as Markdown."""
    rows = [HEAD, ["---"] * len(HEAD), *(verdict.cells() for verdict in verdicts)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEAD))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )
