"""Invariant: who may import and call what, as one table.

A line of the table names what is restricted, who may do it all the same and why, and what to do instead.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from tests.invariants.source import Source, judge, sources

Finder = Callable[[Source], Iterator[tuple[int, str]]]


def importing(pattern: str) -> Finder:
    """Imports whose dotted name (`sqlalchemy.select`) is the pattern, or begins with it and a dot."""
    wanted = re.compile(rf"(?:{pattern})(?:\..*)?")

    def find(source: Source) -> Iterator[tuple[int, str]]:
        for line, module, name in source.imports:
            whole = f"{module}.{name}" if name else module
            if wanted.fullmatch(whole):
                yield line, f"imports {whole}"

    return find


def calling(pattern: str) -> Finder:
    """Calls whose dotted name (`self.session.execute`) is the pattern."""
    wanted = re.compile(pattern)

    def find(source: Source) -> Iterator[tuple[int, str]]:
        return ((line, f"calls {name}()") for line, name in source.calls if wanted.fullmatch(name))

    return find


def touching(pattern: str) -> Finder:
    """Attributes whose dotted name (`os.environ`) is the pattern."""
    wanted = re.compile(pattern)

    def find(source: Source) -> Iterator[tuple[int, str]]:
        return ((line, f"uses {name}") for line, name in source.attributes if wanted.fullmatch(name))

    return find


@dataclass(frozen=True)
class Rule:
    """Something that only a few files may do."""

    name: str
    find: tuple[Finder, ...]
    advice: str
    allowed: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    """Folders whose very purpose it is; they are not searched."""

    def offences(self, source: Source) -> Iterator[tuple[str, int, str]]:
        if not source.path.startswith(self.outside):
            for find in self.find:
                yield from ((source.path, line, what) for line, what in find(source))


SQL = r"sqlalchemy(?:\.orm|\.dialects\.postgresql)?"

RULES = (
    Rule(
        "sql_verbs",
        (
            importing(rf"{SQL}\.(?:select|insert|update|delete)"),
            calling(
                r".*\b(?:session|connection)\.(?:execute|scalar|scalars|stream|stream_scalars|get|get_one)"
            ),
        ),
        "ask the repository of the area for it",
        {
            "app/core/access/": "The one statement that makes a Principal.",
            "app/core/key_access.py": "The one statement that judges an API key.",
            "app/core/database.py": "It owns sessions, the row guard and the transaction's clock.",
            "app/core/idempotency.py": "It keeps its records in the transaction of the change.",
            "app/core/migrations.py": "Replicas queue on an advisory lock before there is any table.",
            "app/core/paging.py": "It fetches a page of the statement that a repository made.",
            "app/jobs/sequencer.py": "It sets limits of its own connection.",
            "app/models/auth/people.py": "visible() of a person asks who the colleagues are.",
            "app/models/settings.py": "visible() of a profile asks who the members are.",
        },
        outside=("app/repositories/",),
    ),
    Rule(
        "raw_sql",
        (
            importing(rf"{SQL}\.text"),
            touching(r".*\.__table__"),
            calling(r".*\.(?:exec_driver_sql|text|copy_\w+)|.*\bsession\.fetch|.*\breads\.rows"),
        ),
        "the row guard does not see it, so use an ORM statement",
        {
            "app/core/access/": "The one statement that makes a Principal runs before there is an owner.",
            "app/core/key_access.py": "A key is judged before there is an owner, by one statement.",
            "app/core/database.py": "act_as() sets variables of the transaction.",
            "app/clients/storage/objects.py": "What it copies are objects of the store, not rows.",
            "app/clients/stripe/sandbox/": "What is called text() there reads a form; it knows no database.",
            "app/core/events.py": "The outbox belongs to nobody; the guard refuses ORM inserts.",
            "app/core/reads.py": "It only passes on the statements of others, who stand here themselves.",
            "app/repositories/audit/chain.py": "Pruning tells the trigger that it may.",
            "app/repositories/billing/ledger.py": "A document is one statement; each part binds the owner.",
            "app/repositories/billing/usage.py": "Counting is one statement; the owner is bound.",
            "app/repositories/demo.py": "It gives rows of the demo organisation times in the past.",
            "app/core/idempotency.py": "The records belong to nobody; their owner is part of the key.",
            "app/jobs/sequencer.py": "It sets limits of its own connection.",
            "app/repositories/copying.py": "COPY has no place in SQLAlchemy; it adds the guard's conditions.",
            "app/repositories/health.py": "It asks the server about itself, and no table of an owner.",
            "app/repositories/jobs.py": "The queue's tables are Procrastinate's and have no classes.",
            "app/repositories/notifications/push.py": "Whoever sits at a browser claims it; all is bound.",
            "app/repositories/orders/basket.py": "One statement, prepared once; the owner joins every table.",
            "app/repositories/orders/documents.py": "PostgreSQL writes the JSON; the owner is bound.",
            "app/repositories/orders/erasing.py": "Mails belong to nobody whom the guard knows; it is bound.",
            "app/repositories/orders/placing.py": "One statement writes an order; each part binds the owner.",
            "app/repositories/privacy/consents.py": "One statement each; the person is bound.",
            "app/repositories/products/stock.py": "Stock is moved by one statement; the owner is bound.",
            "app/repositories/realtime/": "It calls functions of the database, and reads for all readers.",
            "app/repositories/team/purging.py": "It says how its transaction removes rows.",
        },
        outside=("app/models/",),
    ),
    Rule(
        "unscoped_sessions",
        (
            importing(r"app\.core\.database\.(?:SystemSession|Unscoped|DatabaseOf|system_session)"),
            calling(r".*\b_?database\.(?:system|transaction)"),
        ),
        "use the Owner session",
        {
            "app/core/access/": "It looks up the session and the membership before there is an owner.",
            "app/core/key_access.py": "It notes a key's use, which is a transaction of its own.",
            "app/services/billing/key_calls.py": "A batch holds the requests of many organisations.",
            "app/services/billing/paying/": "Steps around a call are transactions; plans are everybody's.",
            "app/services/billing/pdf/files.py": "A file is stored in transactions of its own.",
            "app/services/billing/usage_upkeep.py": "A sweep looks at every organisation.",
            "app/services/billing/subscriptions/": "Stripe acts for nobody; its events name the owner.",
            "app/cli/": "The operator's commands are about the whole database.",
            "app/clients/mailer/local.py": "It keeps mails, which belong to nobody, in its own transaction.",
            "app/demo/": "It founds an organisation, and then works in its owner's name.",
            "app/jobs/": "A job acts for nobody, and names whose rows it is about.",
            "app/services/audit/": "Chains and keys are kept for all; routes read by an Owner session.",
            "app/services/auth/": "Whoever signs in is nobody yet.",
            "app/services/files/": "Leases and deletions belong to nobody, and public files to everybody.",
            "app/services/health.py": "A probe has no owner.",
            "app/services/privacy/policies.py": "The texts are everybody's.",
            "app/services/settings/email_change.py": "An address is the sign-in's; links come from anybody.",
            "app/services/settings/mails.py": "A handler acts for nobody; the event names the person.",
            "app/services/integrations/webhooks/": "A sender acts for nobody, and names whose rows it sends.",
            "app/services/integrations/connections/": "Steps around a call are transactions; states and"
            " revocations belong to nobody; every statement names the organisation.",
            "app/services/integrations/mails.py": "A handler acts for nobody; the event names the key.",
            "app/repositories/team/purging.py": "A job acts for nobody.",
            "app/services/team/": "Acts on members reach their sessions and keys, wherever those are.",
            "app/services/realtime/": "Streams read the log for all; rights are judged by topic and session.",
            "app/services/orders/capturing.py": "A capture is called between transactions, never in one.",
            "app/services/orders/checkout.py": "A checkout is opened between transactions, never in one.",
            "app/services/orders/stripe_commands.py": "Stripe acts for nobody; commands name the owner.",
            "app/services/orders/stripe_effects.py": "Stripe acts for nobody; events name the owner.",
            "app/services/orders/exporting.py": "Each part of a file has an owner session of its own.",
            "app/services/orders/mails.py": "A handler acts for nobody; the event names the organisation.",
            "app/services/orders/tracking.py": "A buyer has no account; the link names the organisation.",
            "app/services/products/storefront.py": "A visitor has no account; the shop is named by its slug.",
            "app/repositories/products/storefront.py": "Reads what a shop shows to everybody.",
            "app/services/stripe_webhooks/": "Stripe acts for nobody; whose an event is has to be found.",
            "app/services/products/exporting.py": "Each part of a file has an owner session of its own.",
            "app/services/notifications/inbox/": "Handlers act for nobody; the event names the recipients.",
            "app/services/notifications/push/": "A job acts for nobody; it names the browser.",
            "app/services/notifications/bounces.py": "A handler acts for nobody; the event names the person.",
            "app/services/notifications/composing.py": "Mails belong to nobody.",
            "app/services/notifications/mailing.py": "Mails belong to nobody.",
            "app/services/notifications/mails.py": "A handler acts for nobody; the event names the person.",
            "app/services/notifications/operating.py": "The staff looks after everybody's mails.",
            "app/services/notifications/requests.py": "Handlers compose mails.",
            "app/services/notifications/unsubscribing.py": "Mail programs call it without a session.",
            "app/services/notifications/sandbox.py": "Mails belong to nobody.",
            "app/services/notifications/sending.py": "Mails belong to nobody.",
            "app/services/notifications/writing.py": "The staff writes the platform's texts.",
        },
    ),
    Rule(
        "foreign_requests",
        (importing(r"(?:httpx|httpcore|aiohttp|requests|urllib3|urllib\.request|http\.client)"),),
        "send it by app.clients.outbound, which reaches nothing inside and bounds everything",
        {
            "app/clients/oauth/": "Providers of sign-in have fixed addresses.",
            "app/clients/outbound/": "It is the outbound client.",
            "app/clients/stripe/": "Stripe has one fixed address.",
            "app/services/stripe_sandbox/delivering.py": "The sandbox calls this service itself.",
        },
    ),
    Rule(
        "http_exception",
        (importing(r"(?:fastapi|starlette)(?:\.exceptions)?\.HTTPException"),),
        "raise an AppError from app.core.errors",
        {
            "app/core/errors/": "Its handler renders what the framework's own router refuses.",
            "app/core/http.py": "FastAPI passes on this alone while it reads a body that is too large.",
            "app/core/requests.py": "The same, for a body in an encoding that is not read.",
        },
    ),
    Rule(
        "background_tasks",
        (
            importing(r"fastapi\.BackgroundTasks|(?:fastapi|starlette)\.background"),
            calling(r"asyncio\.(?:create_task|ensure_future)"),
        ),
        "it vanishes with the process, so emit an event",
        {
            "app/jobs/worker.py": "The loops that run everything else; they are stopped and awaited.",
            "app/services/realtime/hub.py": "The loops that feed the streams; they are stopped and awaited.",
            "app/services/billing/key_calls.py": "It counts what is in memory anyway, and is awaited.",
            "app/services/stripe_sandbox/delivering.py": "The sandbox's sender; it is stopped and awaited.",
        },
    ),
    Rule(
        "base_http_middleware",
        (importing(r"(?:starlette|fastapi)\.middleware\.base"), calling(r"app\.middleware")),
        "it costs as much as a whole request, so write a pure ASGI layer",
    ),
    Rule(
        "environment",
        (importing(r"os\.(?:environ|getenv|getenvb)"), touching(r"os\.(?:environ|environb|getenv)")),
        "make it a field of Settings in app/core/config",
    ),
    Rule(
        "the_time",
        (
            calling(r"(?:.*\.)?datetime\.(?:now|utcnow|today|utcfromtimestamp)"),
            calling(r"(?:.*\.)?date\.today"),
            calling(r"time\.(?:time|time_ns|localtime|gmtime)"),
        ),
        "ask app.core.clock.now(), which is aware and can be moved by tests",
        {
            "app/cli/examination.py": "It compares this machine's clock with the database's.",
            "app/core/clock.py": "It owns the clock.",
            "app/core/embedded/server.py": "A name for a directory that is put aside.",
            "app/core/ids.py": "UUIDv7 begins with the machine's time.",
        },
    ),
    Rule(
        "printing",
        (calling(r"print"), calling(r"sys\.std(?:out|err)\.write")),
        "log it by structlog",
        {"app/cli/saying.py": "What the command line says to whoever typed."},
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_when_every_file_is_read(rule: Rule) -> None:
    assert len(sources()) > 60
    found = [item for source in sources() for item in rule.offences(source)]
    wrong = judge(found, rule.allowed, rule.advice)
    assert not wrong, "\n".join(wrong)


OFFENCES = {
    "sql_verbs": "from sqlalchemy import select\nawait self.session.execute(x)",
    "raw_sql": "from sqlalchemy import text\nOrder.__table__",
    "unscoped_sessions": "from app.core.database import SystemSession\nself.database.transaction()",
    "foreign_requests": "import httpx\nfrom urllib.request import urlopen",
    "http_exception": "from fastapi import HTTPException\nimport starlette.exceptions\n"
    "from starlette.exceptions import HTTPException",
    "background_tasks": "from fastapi import BackgroundTasks\nimport starlette.background",
    "base_http_middleware": "import starlette.middleware.base\napp.middleware('http')",
    "environment": "import os\nos.environ['X']\nos.getenv('X')",
    "the_time": "from datetime import datetime\ndatetime.now()\nimport datetime\ndatetime.date.today()",
    "printing": "print(1)\nsys.stderr.write('x')",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_when_a_service_breaks_it(rule: Rule) -> None:
    source = Source.of("app/services/example.py", OFFENCES[rule.name])
    assert len(list(rule.offences(source))) == 2
