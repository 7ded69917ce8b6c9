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
"""What a file of each folder may import; everything that stands in `app/` itself puts the parts together."""

BASES = {"app.models.base", "app.schemas.base"}
"""The bases that core builds its own tables and pages on; they belong to no area."""

ALLOWED: dict[str, str] = {}

OTHER_REPOSITORIES: dict[str, str] = {}


def layer_and_stem(module: str) -> tuple[str, str]:
    """`app.services.orders.placing` → `services`, `orders`."""
    parts = [*module.split("."), "", ""]
    return parts[1], parts[2]


def module_of(source: Source) -> str:
    return source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported_modules(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of our own imports; `from app.core import clock` names `app.core.clock`."""
    for line, module, name in source.imports():
        if module.split(".")[0] == "app":
            yield line, f"{module}.{name}" if name and module.count(".") < 2 else module


def upward(source: Source) -> Iterator[tuple[str, int, str]]:
    """Imports against the direction of the layers."""
    layer, _ = layer_and_stem(module_of(source))
    for line, module in imported_modules(source):
        target, _ = layer_and_stem(module)
        if layer in MAY_IMPORT and target not in MAY_IMPORT[layer] and module not in BASES:
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


def test_search_when_imports_run_the_wrong_way() -> None:
    router = Source.of(
        "app/routers/orders.py", "from app.models.orders import Order\nfrom app.core import clock"
    )
    assert [what for _, _, what in upward(router)] == ["imports app.models.orders"]
    core = Source.of("app/core/x.py", "from app.models.base import Base\nfrom app.services import orders")
    assert [what for _, _, what in upward(core)] == ["imports app.services.orders"]
    service = Source.of(
        "app/services/orders/placing.py",
        "from app.repositories.products.stock import S\nfrom app.repositories.orders import O",
    )
    assert [what for _, _, what in sideways(service)] == ["imports app.repositories.products.stock"]
