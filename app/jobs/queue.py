"""The registry of jobs, and `defer()`, the one way to ask for one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, get_args

from pydantic_core import to_jsonable_python

from app.core.database import SystemSession
from app.repositories.jobs import JobRepository, NewJob

QuickQueue = Literal["events", "mail", "push", "stripe", "default"]
WaitingQueue = Literal["webhooks"]
SlowQueue = Literal["exports", "maintenance"]
QUICK_QUEUES: tuple[QuickQueue, ...] = get_args(QuickQueue)
WAITING_QUEUES: tuple[WaitingQueue, ...] = get_args(WaitingQueue)
"""Their jobs wait for servers of customers, which may take as long as they like."""
SLOW_QUEUES: tuple[SlowQueue, ...] = get_args(SlowQueue)

Function = TypeVar("Function", bound=Callable[..., Awaitable[None]])


@dataclass(frozen=True, kw_only=True)
class Job:
    """A kind of job: its function, its queue and when it runs again."""

    name: str
    queue: QuickQueue | WaitingQueue | SlowQueue
    run: Callable[..., Awaitable[None]]
    retry_after: tuple[int, ...]
    cron: str | None
    priority: int


JOBS: dict[str, Job] = {}
"""Every kind of job by its name."""


def job(
    name: str,
    *,
    queue: QuickQueue | WaitingQueue | SlowQueue,
    retry_after: tuple[int, ...] = (),
    cron: str | None = None,
    priority: int = 0,
) -> Callable[[Function], Function]:
    """Register `async def f(database: Database, *, …arguments) -> None` as the job `name`.

    Arguments arrive as JSON values (ids as text). When the function raises, it runs again after each of
    `retry_after` (seconds) in turn, and after the last the job is `failed`. A job of a worker that died runs
    again too, so whatever it does must bear being done twice. `cron` may have a sixth field for seconds; such
    a job gets no arguments and is not queued while one is waiting. A higher `priority` is taken first.
    """

    def register(function: Function) -> Function:
        if name in JOBS:
            raise TypeError(f"two jobs have the name {name}")
        JOBS[name] = Job(
            name=name, queue=queue, run=function, retry_after=retry_after, cron=cron, priority=priority
        )
        return function

    return register


async def defer(
    session: SystemSession,
    name: str,
    *,
    lock: str | None = None,
    queueing_lock: str | None = None,
    at: datetime | None = None,
    **arguments: Any,
) -> int | None:
    """Queue a job in the session's transaction: rolled back means that it never runs. Answers its id.

    For handlers and jobs only; a request emits an event instead. Jobs with the same `lock` run one after
    another, also behind one that waits for its time. With `queueing_lock` nothing is queued, and None
    answered, while another job with it waits; such a job cannot be retried, since its successor may wait
    already (ValueError).
    """
    kind = JOBS[name]
    if queueing_lock and kind.retry_after:
        raise ValueError(f"{name} is retried, so it cannot have a queueing lock")
    return await JobRepository(session).add(
        name=kind.name,
        queue=kind.queue,
        priority=kind.priority,
        arguments=to_jsonable_python(arguments),
        lock=lock,
        queueing_lock=queueing_lock,
        at=at,
    )


async def defer_all(
    session: SystemSession,
    name: str,
    arguments: Sequence[Mapping[str, Any]],
    *,
    queueing_lock: str | None = None,
) -> None:
    """`defer` a job for each of these arguments, with one statement.

    `queueing_lock` may name arguments in braces, so that each job has its own.
    """
    kind = JOBS[name]
    if queueing_lock and kind.retry_after:
        raise ValueError(f"{name} is retried, so it cannot have a queueing lock")
    jobs = [
        NewJob(to_jsonable_python(one), queueing_lock=queueing_lock and queueing_lock.format(**one))
        for one in arguments
    ]
    await JobRepository(session).add_all(jobs, name=kind.name, queue=kind.queue)
