"""Invariant: imports run one way, and no area reaches into another's tables past its service."""

from collections.abc import Iterator

from tests.invariants.source import Source, judge, sources

MAY_IMPORT = {
    "core": {"core"},
    "models": {"core", "models"},
    "schemas": {"core", "schemas"},
    "clients": {"core", "clients"},
    "repositories": {"core", "models", "repositories"},
    "services": {"core", "models", "schemas", "repositories", "clients", "services"},
    "routers": {"core", "schemas", "services"},
    "jobs": {"core", "services", "jobs"},
}
"""What each folder may import besides its own package; what stands elsewhere puts the parts together."""

BASES = {"app.models.base", "app.schemas.base"}
"""The bases that core builds its own tables and pages on; they belong to no area."""

VALUES = {
    "app.core.card_numbers",
    "app.core.csv_rows",
    "app.core.currencies",
    "app.core.mail_addresses",
    "app.core.money",
    "app.core.paging",
    "app.core.permissions",
    "app.schemas.base",
    "app.schemas.metadata",
    "app.schemas.product_options",
    "app.schemas.purposes",
}
"""What schemas are made of: bases, and kinds of values that are no area's."""

ALLOWED = {
    "app/clients/mailer/local.py": "The local sender's outbox is a table.",
    "app/jobs/handlers.py": "The log of events and what was handled have no rules but its own.",
    "app/jobs/notifications.py": "The sweep of the queue of mails reads its table.",
    "app/jobs/queue.py": "The queue's tables are Procrastinate's.",
    "app/jobs/sequencer.py": "The sequencer is one call of a function of the database.",
    "app/jobs/upkeep.py": "It removes what is old from tables that belong to nobody.",
    "app/repositories/notifications/mail.py": "It keeps the mail that the local sender was given.",
}
"""Files that reach past their neighbour, and why."""

OTHER_REPOSITORIES: dict[str, str] = {
    "app/services/team/limits.py": "It shows what is used of every limit, whichever area counts it.",
}
"""Services that ask another area's repository, and why."""


def layer_and_stem(module: str) -> tuple[str, str]:
    """`app.services.orders.placing` → `services`, `orders`."""
    parts = [*module.split("."), "", ""]
    return parts[1], parts[2]


def module_of(source: Source) -> str:
    return source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported_modules(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of our own imports; `from app.core import clock` names `app.core.clock`."""
    for line, module, name in source.imports:
        if module.split(".")[0] == "app":
            yield line, f"{module}.{name}" if name and module.count(".") < 2 else module


def upward(source: Source) -> Iterator[tuple[str, int, str]]:
    """Imports against the direction of the layers."""
    layer, stem = layer_and_stem(module_of(source))
    for line, module in imported_modules(source):
        target, other = layer_and_stem(module)
        if layer not in MAY_IMPORT or module in BASES or (target == layer and stem in ("", other)):
            continue
        if target not in MAY_IMPORT[layer]:
            yield source.path, line, f"imports {module}"


def sideways(source: Source) -> Iterator[tuple[str, int, str]]:
    """Services that import a repository of another area."""
    layer, stem = layer_and_stem(module_of(source))
    if layer != "services":
        return
    for line, module in imported_modules(source):
        target, other = layer_and_stem(module)
        if target == "repositories" and other not in (stem, "base"):
            yield source.path, line, f"imports {module}"


def test_layers_when_every_import_is_read() -> None:
    assert len(sources()) > 60
    assert sum(1 for source in sources() for _ in imported_modules(source)) > 200
    found = [item for source in sources() for item in upward(source)]
    wrong = judge(found, ALLOWED, "imports run routers → services → repositories → models")
    assert not wrong, "\n".join(wrong)


def test_services_when_they_need_another_area() -> None:
    found = [item for source in sources() for item in sideways(source)]
    wrong = judge(found, OTHER_REPOSITORIES, "call that area's service")
    assert not wrong, "\n".join(wrong)


def foreign_to_schemas(source: Source) -> Iterator[tuple[str, int, str]]:
    """Imports of schemas that are no values, such as a setting, a clock or another area's schema."""
    layer, stem = layer_and_stem(module_of(source))
    if layer == "schemas":
        for line, module in imported_modules(source):
            if module not in VALUES and layer_and_stem(module) != ("schemas", stem):
                yield source.path, line, f"imports {module}"


def test_schemas_when_they_import() -> None:
    assert sum(source.path.startswith("app/schemas/") for source in sources()) > 5
    found = [item for source in sources() for item in foreign_to_schemas(source)]
    assert not found, f"{found}: a schema only describes; let the service look up what it needs"


def test_search_when_imports_run_the_wrong_way() -> None:
    router = Source.of(
        "app/routers/orders.py", "from app.models.orders import Order\nfrom app.routers import auth"
    )
    assert [what for _, _, what in upward(router)] == [
        "imports app.models.orders",
        "imports app.routers.auth",
    ]
    core = Source.of("app/core/x.py", "from app.models.base import Base\nfrom app.services import orders")
    assert [what for _, _, what in upward(core)] == ["imports app.services.orders"]
    service = Source.of(
        "app/services/orders/placing.py",
        "from app.repositories.products.stock import S\nfrom app.repositories.orders import O",
    )
    assert [what for _, _, what in sideways(service)] == ["imports app.repositories.products.stock"]
    schema = Source.of("app/schemas/x.py", "from app.core.clock import now\nfrom app.schemas.orders import O")
    assert [line for _, line, _ in foreign_to_schemas(schema)] == [1, 2]
