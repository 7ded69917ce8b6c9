"""The files that build, lock and deploy the service agree with each other and with the code."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.core.config import Settings
from app.services.billing.pdf.fonts import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
SETTINGS = {name.upper() for name in Settings.model_fields}
TOOLS = ("PATH", "PIP_", "PYTHON")
SECRETS = ["SECRET_KEYS", "POSTGRES_PASSWORD"]


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile as (name, arguments), with its ARG defaults filled in."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    instructions = [
        (name, rest) for name, _, rest in (line.strip().partition(" ") for line in joined.split("\n")) if name
    ]
    defaults = dict(rest.split("=", 1) for name, rest in instructions if name == "ARG")
    return [
        (name, re.sub(r"\$\{(\w+)\}", lambda found: defaults.get(found[1], found[0]), rest))
        for name, rest in instructions
    ]


def arguments(name: str) -> list[str]:
    """The arguments of every such instruction, in order."""
    return [rest for instruction, rest in dockerfile() if instruction == name]


def test_image_has_the_font_that_invoices_are_printed_with() -> None:
    folder, plain, bold = FAMILIES[0]
    assert folder == Path("/usr/share/fonts/truetype/dejavu")
    assert {plain, bold} == {"DejaVuSans.ttf", "DejaVuSans-Bold.ttf"}
    (install,) = [rest for rest in arguments("RUN") if "apt-get install" in rest]
    assert "fonts-dejavu-core" in install.split()


def compose() -> dict[str, Any]:
    """The compose file with its merges applied."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def own_services() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: service for name, service in compose()["services"].items() if "build" in service}


def locked(name: str) -> dict[str, str]:
    """Each requirement of a lock file: its name and the whole entry."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {canonicalize_name(re.split(r"[=\[ ]", entry)[0]): entry for entry in entries}


def declared(group: str | None = None) -> list[Requirement]:
    """The requirements that pyproject.toml names, for the service or for a group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = project["dependency-groups"][group] if group else project["project"]["dependencies"]
    return [Requirement(name) for name in names]


def tracked_files() -> list[Path]:
    """The files of the repository, or of the copy of it that this is, without what was generated."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in paths if path.is_file()]


def is_pinned(image: str) -> bool:
    """Whether an image's tag names at least a major and a minor version."""
    return re.search(r":\d+\.\d+", image) is not None


def test_dockerfile_runs_without_root_when_started() -> None:
    user = arguments("USER")[-1]
    # A number, so that an orchestrator can tell that it is not root.
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    final_stage = dockerfile()[[name for name, _ in dockerfile()].index("USER") :]
    assert not [rest for name, rest in final_stage if name in {"RUN", "COPY", "ADD"}]


def test_dockerfile_copies_only_what_exists_and_is_let_through() -> None:
    sources = [
        source.removeprefix("./")
        for rest in arguments("COPY")
        if "--from=" not in rest
        for source in shlex.split(rest)[:-1]
    ]
    admitted = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"app", "alembic", "alembic.ini", "requirements.lock"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in admitted, source
    assert "*" in admitted, "everything else, secrets too, stays out of the build"


def test_dockerfile_checks_hashes_when_it_installs() -> None:
    installs = [rest for rest in arguments("RUN") if "pip install" in rest]
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert "-r requirements.lock" in installs[0]


def test_dockerfile_probes_liveness_with_python_when_running() -> None:
    (probe,) = arguments("HEALTHCHECK")
    command = ast.literal_eval(probe.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    ast.parse(command[2])
    assert "/health/live" in command[2]
    assert arguments("CMD") == ['["python", "-m", "app", "serve"]']


def test_images_are_pinned_wherever_they_are_named() -> None:
    stages = {rest.rpartition(" ")[2] for rest in arguments("FROM")}
    images = [image for image in (rest.split()[0] for rest in arguments("FROM")) if image not in stages]
    images += [service["image"] for service in compose()["services"].values()]
    assert len(images) >= 4
    assert [image for image in images if not is_pinned(image)] == []


def test_environment_names_settings_when_a_container_gets_it() -> None:
    environments = [service["environment"] for service in own_services().values()]
    assert len(environments) == 3
    named = {name for environment in environments for name in environment}
    in_image = {pair.split("=", 1)[0] for rest in arguments("ENV") for pair in shlex.split(rest)}
    named |= {name for name in in_image if not name.startswith(TOOLS)}
    assert len(named) >= 10
    assert named - SETTINGS == set()


def test_containers_get_every_setting_of_the_operators_file() -> None:
    """What is named beside it is what a deployment of containers decides itself."""
    for name, service in own_services().items():
        assert service["env_file"] == [{"path": ".env", "required": False}], name
        unset = [variable for variable, value in service["environment"].items() if value is None]
        assert unset == [], f"{name}: without a value {unset} would win over the file and say nothing"
        assert {"HOST", "PORT", "DATA_DIR"} <= set(service["environment"]), name


def test_compose_refuses_to_start_when_a_secret_is_missing() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for name in SECRETS:
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", text)
        assert uses, name
        assert all(use.startswith(":?") for use in uses), f"{name} has a default or may be empty"
    literal = [
        f"{service}.{name}"
        for service, body in compose()["services"].items()
        for name, value in body.get("environment", {}).items()
        if re.search(r"KEY|PASSWORD|SECRET|TOKEN", name) and value is not None and "${" not in value
    ]
    assert literal == []


def test_compose_hangs_together_when_read() -> None:
    document = compose()
    services = document["services"]
    assert set(services) == {"api", "worker", "migrate", "postgres", "redis"}
    for name, service in services.items():
        assert "restart" in service, name
        for other, rule in service.get("depends_on", {}).items():
            condition = rule["condition"]
            assert condition in {"service_healthy", "service_completed_successfully"}
            if condition == "service_healthy":
                assert services[other]["healthcheck"]["test"], other
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in document["volumes"], volume
    assert services["migrate"]["command"] == ["python", "-m", "app", "migrate"]
    assert services["worker"]["command"] == ["python", "-m", "app", "worker"]
    assert {service["environment"]["WORKER"] for service in own_services().values()} == {"external"}


def test_compose_publishes_only_the_api_and_only_to_this_machine() -> None:
    published = {name: body["ports"] for name, body in compose()["services"].items() if "ports" in body}
    assert set(published) == {"api"}
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_address_and_hashes_everything_when_read(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|^-e |^/", text, re.MULTILINE) == []
    entries = locked(name)
    assert len(entries) > 50
    assert [entry for entry in entries.values() if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(("name", "groups"), [(LOCKS[0], [None]), (LOCKS[1], [None, "dev"])])
def test_lock_answers_every_requirement_when_pyproject_changes(name: str, groups: list[str | None]) -> None:
    entries = locked(name)
    requirements = [requirement for group in groups for requirement in declared(group)]
    assert len(requirements) > 25
    for requirement in requirements:
        entry = entries.get(canonicalize_name(requirement.name))
        assert entry, f"`make lock`: {requirement} is not in {name}"
        version = re.search(r"==([^ ;]+)", entry)
        assert version, entry
        assert requirement.specifier.contains(version[1]), f"`make lock`: {requirement} not {version[1]}"


def test_runtime_lock_is_part_of_the_one_for_development() -> None:
    runtime, development = locked("requirements.lock"), locked("requirements-dev.lock")
    assert "uv" not in runtime
    different = {name for name, entry in runtime.items() if not is_same(entry, development.get(name, ""))}
    assert different == set()


def is_same(entry: str, other: str) -> bool:
    """Whether two locked entries pin the same version with the same hashes, whatever their markers."""
    versions = [re.search(r"==([^ ;]+)", text) for text in (entry, other)]
    hashes = [set(re.findall(r"sha256:\w+", text)) for text in (entry, other)]
    return all(versions) and versions[0][1] == versions[1][1] and hashes[0] == hashes[1]  # type: ignore[index]


def test_requirements_name_every_library_when_the_service_imports_it() -> None:
    imported: dict[str, Path] = {}
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            imported |= {name.partition(".")[0]: path.relative_to(ROOT) for name in names}
    libraries = {
        name: path for name, path in imported.items() if name not in {*sys.stdlib_module_names, "app"}
    }
    assert len(libraries) >= 8
    named = {canonicalize_name(requirement.name) for requirement in declared()}
    # FastAPI and pydantic hand these out as parts of themselves, so their pins hold for them.
    named |= {canonicalize_name("starlette"), canonicalize_name("pydantic-core")}
    distributions = packages_distributions()
    missing = {
        name: str(path)
        for name, path in libraries.items()
        if not named & {canonicalize_name(found) for found in distributions.get(name, [])}
    }
    assert missing == {}, "imported in app/, but not among the dependencies of pyproject.toml"


def test_repository_names_no_package_registry_when_searched() -> None:
    # Written in two pieces, so that this file is searched as well.
    pieces = [("py", "pi.org"), ("python", "hosted"), ("registry.", "npmjs"), ("registry.", "yarnpkg")]
    hosts = [re.escape(first + second) for first, second in pieces]
    patterns = re.compile("|".join(hosts) + r"|--(?:extra-)?index-url[ =]+http")
    files = tracked_files()
    assert len(files) >= 20
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in files}
    found = {str(path.relative_to(ROOT)) for path, text in texts.items() if patterns.search(text)}
    assert found == set()


def test_makefile_explains_every_target_when_asked_for_help() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE)
    wanted = {
        "check",
        "doctor",
        "fix",
        "help",
        "install",
        "lock",
        "migration",
        "openapi",
        "run",
        "seed",
        "test",
    }
    assert wanted <= set(targets)
    assert {target for target in targets if not re.search(rf"^{target}:.*## \w", text, re.MULTILINE)} == set()


def test_ci_calls_the_test_command_when_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().splitlines()[-1].startswith("make test")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
