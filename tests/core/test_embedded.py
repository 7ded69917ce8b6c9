"""The embedded PostgreSQL launcher, with real servers, real processes and real kills."""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.embedded import FAST, EmbeddedPostgres, EmbeddedPostgresError, kept_running, watching
from app.core.embedded.programs import account_for, find_programs, reachable_programs

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0

# A process of its own that starts the server, says so, and stops it when its input closes.
HOLDER = """
import sys
from pathlib import Path
from app.core.embedded import FAST, EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings=FAST, die_with_parent="die" in sys.argv)
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
"""

# The whole life of a server under an ordinary user. All is loaded before root becomes that user, who may not
# be able to read the interpreter; the wheel is a copy that the user can read.
ORDINARY = """
import os, sys
from pathlib import Path
from app.core.embedded import FAST, EmbeddedPostgres
data, site, uid = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.path.insert(0, site)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
server = EmbeddedPostgres(data, settings=FAST)
server.start()
server.create_database("mine")
print(os.geteuid(), (data / "PG_VERSION").stat().st_uid, server.is_running, data.is_symlink())
server.stop()
print(server.is_running)
"""

Factory = Callable[..., EmbeddedPostgres]


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="embedded-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def embedded(room: Path) -> Iterator[Factory]:
    """Make launchers, by default over the data directory `pg`; all servers are gone after the test."""
    made: list[EmbeddedPostgres] = []

    def make(data: Path | None = None, **options) -> EmbeddedPostgres:
        server = EmbeddedPostgres(data or room / "pg", **{"settings": FAST, **options})
        made.append(server)
        return server

    yield make
    for server in made:
        server.destroy()


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data directory that is made once and holds one row; its server does not run."""
    path = Path(tempfile.mkdtemp(prefix="embedded-made-")).resolve()
    path.chmod(0o755)
    server = EmbeddedPostgres(path / "pg", settings=FAST)
    server.start()
    write_row(server)
    server.stop()
    yield server.data
    server.destroy()
    path.rmdir()


@pytest.fixture
def kept(made: Path) -> Iterator[EmbeddedPostgres]:
    """A launcher over that directory, for tests that leave it whole."""
    server = EmbeddedPostgres(made, settings=FAST)
    yield server
    server.stop(force=True)


@pytest.fixture(scope="module")
def wheel() -> Iterator[Path]:
    """A directory that every user can enter, with all that the launcher needs of the installed wheel."""
    site = Path(tempfile.mkdtemp(prefix="embedded-wheel-")).resolve()
    site.chmod(0o755)
    programs = find_programs()
    package = programs.parents[1]
    ignore = shutil.ignore_patterns("include")
    shutil.copytree(programs.parent, site / package.name / programs.parent.name, symlinks=True, ignore=ignore)
    (site / package.name / "__init__.py").touch()
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.is_dir():
            shutil.copytree(libraries, site / libraries.relative_to(package.parent))
    yield site
    shutil.rmtree(site)


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that run a script over a data directory, and end those that are left."""
    with contextlib.ExitStack() as stack:

        def hold(data: Path, *arguments: str, ready: bool = True) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, data, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            )
            stack.callback(process.kill)
            if ready:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
            return process

        yield hold


def query(server: EmbeddedPostgres, statement: str) -> Sequence[tuple[Any, ...]]:
    with psycopg.connect(server.url(driver=""), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def write_row(server: EmbeddedPostgres) -> None:
    query(server, "CREATE TABLE kept AS SELECT 7 AS value")


def read_row(server: EmbeddedPostgres) -> object:
    return query(server, "SELECT value FROM kept")[0][0]


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def postmasters(data: Path) -> list[int]:
    """The server processes over a directory that are nobody's child within it."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(data.resolve()):
                found[process.pid] = process.ppid()
    return [pid for pid, parent in found.items() if parent not in found]


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_start_changes_nothing_when_the_server_runs_already(kept: EmbeddedPostgres) -> None:
    assert not kept.is_running

    kept.start()
    first = postmaster(kept)
    kept.start()
    other = EmbeddedPostgres(kept.data)
    other.start()

    assert kept.is_running
    assert other.is_running
    assert postmasters(kept.data) == [first]
    other.stop()
    assert kept.is_running


def test_server_has_the_settings_that_it_was_started_with(kept: EmbeddedPostgres) -> None:
    kept.start()
    assert query(kept, "SELECT current_setting('server_version_num')::int / 10000") == [(18,)]
    expected = {"fsync": "off", "listen_addresses": "", "max_connections": "200", "TimeZone": "UTC"}
    settings = dict(query(kept, "SELECT name, setting FROM pg_settings"))
    assert {name: settings[name] for name in expected} == expected


def test_rows_are_kept_when_the_server_stops_and_starts_again(embedded: Factory) -> None:
    server = embedded()
    server.start()
    write_row(server)

    server.stop()
    assert not server.is_running
    assert postmasters(server.data) == []

    server.start()
    assert read_row(server) == 7
    owner = (server.data / "PG_VERSION").stat().st_uid
    assert owner == (pwd.getpwnam("nobody").pw_uid if AS_ROOT else os.geteuid())
    assert psutil.Process(postmaster(server)).uids().effective == owner


def test_stop_does_nothing_when_there_never_was_a_server(room: Path, embedded: Factory) -> None:
    embedded(room / "absent" / "pg").stop()
    assert not (room / "absent").exists()


def test_server_lives_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(
    kept: EmbeddedPostgres,
) -> None:
    kept.start()
    pid = postmaster(kept)
    assert os.getsid(pid) == pid


def test_create_database_is_done_once_when_asked_for_twice(
    kept: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "9999")
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    kept.start()

    kept.create_database("luneo")
    kept.create_database("luneo")

    assert query(kept, "SELECT count(*) FROM pg_database WHERE datname = 'luneo'") == [(1,)]
    with psycopg.connect(kept.url("luneo", driver="")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("luneo",)


async def test_url_serves_sqlalchemy_when_the_environment_names_another_port(
    kept: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "9999")
    kept.start()
    engine = create_async_engine(kept.url())
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT value FROM kept")) == 7
    await engine.dispose()


@pytest.mark.parametrize("name", ["", "Luneo", "a b", 'a"b', "1a", "a\n", "a" * 64])
def test_create_database_refuses_a_name_that_is_no_identifier(embedded: Factory, name: str) -> None:
    with pytest.raises(ValueError, match="Not a database name"):
        embedded().create_database(name)


def test_url_names_host_and_port_for_sqlalchemy_and_for_libpq(room: Path, embedded: Factory) -> None:
    server = embedded()
    assert server.url("luneo") == f"postgresql+asyncpg://postgres@/luneo?host={room}/pg&port=5432"
    assert server.url("a/b", driver="") == f"postgresql://postgres@/a%2Fb?host={room}/pg&port=5432"


@pytest.mark.parametrize("name", ["long" * 30, "a düne: one, two"])
def test_socket_lies_elsewhere_when_the_path_does_not_fit_an_address(
    room: Path, embedded: Factory, name: str
) -> None:
    server = embedded(room / name / "pg")
    server.start()
    write_row(server)
    server.stop()
    server.start()
    assert read_row(server) == 7


def test_start_says_why_when_the_server_refuses_its_settings(made: Path, kept: EmbeddedPostgres) -> None:
    server = EmbeddedPostgres(made, settings={"shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedPostgresError, match=r'parameter "shared_buffers": "nonsense".*DATABASE_URL'):
        server.start()
    assert not kept.is_running

    kept.start()
    assert kept.is_running


def test_start_says_what_to_do_when_the_package_is_missing(
    embedded: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = embedded()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [])
        with pytest.raises(EmbeddedPostgresError, match=r"pgserver is not installed.*Set DATABASE_URL"):
            server.start()


def test_start_refuses_a_thread_when_the_server_would_die_with_it(embedded: Factory) -> None:
    server = embedded(die_with_parent=True)
    refused: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


def test_start_refuses_a_directory_when_it_holds_other_files(room: Path, embedded: Factory) -> None:
    (room / "pg").mkdir()
    (room / "pg" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedPostgresError, match="holds other files"):
        embedded().start()
    assert (room / "pg" / "letter.txt").read_text() == "dear"


def test_start_refuses_data_when_another_version_made_it(kept: EmbeddedPostgres) -> None:
    version = kept.data / "PG_VERSION"
    version.write_text("17\n")
    try:
        with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 17"):
            kept.start()
    finally:
        version.write_text("18\n")
    assert not kept.is_running


def test_start_makes_the_data_when_the_directory_stands_empty_and_destroy_leaves_nothing(
    room: Path, embedded: Factory
) -> None:
    (room / "pg").mkdir()
    server = embedded()
    server.start()
    assert server.is_running
    server.destroy()
    assert list(room.iterdir()) == []


def test_start_waits_in_vain_when_a_process_that_it_cannot_see_holds_the_data(kept: EmbeddedPostgres) -> None:
    directory = os.open(kept.data, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)  # So does a server in another container over the same volume.
        with pytest.raises(EmbeddedPostgresError, match="neither ready nor gone"):
            kept.start(timeout=0.3)
    finally:
        os.close(directory)
    kept.start()
    assert kept.is_running


def test_stop_ends_the_server_when_its_data_has_been_deleted(embedded: Factory) -> None:
    server = embedded()
    server.start()
    process = psutil.Process(postmaster(server))
    shutil.rmtree(server.data)

    server.stop()
    assert not is_alive(process)


def test_data_is_reached_when_it_lies_in_a_closed_directory(room: Path, embedded: Factory) -> None:
    closed = room / "closed"
    closed.mkdir(mode=0o700)
    server = embedded(closed / "pg")
    server.start()
    write_row(server)
    server.stop()
    server.start()

    assert read_row(server) == 7
    assert server.data.is_symlink() == AS_ROOT
    home = server.data.resolve()
    server.destroy()
    assert not home.exists()


def test_scratch_data_is_swept_when_its_closed_directory_was_deleted(room: Path, embedded: Factory) -> None:
    homes = []
    for name in ("first", "second"):
        (room / name).mkdir(mode=0o700)
        server = embedded(room / name / "pg")
        server.start()
        homes.append(server.data.resolve())
        assert homes[-1].exists()
        server.stop()
        if name == "first":
            shutil.rmtree(room / name)

    assert [home.exists() for home in homes] == [False, True]


def test_programs_are_copied_when_the_account_cannot_reach_them(room: Path, wheel: Path) -> None:
    original = find_programs()
    programs = wheel / original.relative_to(original.parents[2])
    account = account_for(room / "pg")
    deadline = time.monotonic() + 120
    assert reachable_programs(programs, account, deadline) == programs

    wheel.chmod(0o700)
    try:
        reached = reachable_programs(programs, account, deadline)
        assert reachable_programs(programs, account, deadline) == reached
    finally:
        wheel.chmod(0o755)
    assert (reached == programs) == (not AS_ROOT)
    try:
        identity = {"user": account.uid, "group": account.gid} if account else {}
        command = [reached / "initdb", "--version"]
        assert b" 18." in subprocess.check_output(command, cwd="/", **identity)  # type: ignore[call-overload]
    finally:
        if AS_ROOT:
            shutil.rmtree(reached.parents[2])


def test_server_runs_under_an_ordinary_user(room: Path, wheel: Path) -> None:
    uid = pwd.getpwnam("nobody").pw_uid if AS_ROOT else os.geteuid()
    (room / "own").mkdir()
    os.chown(room / "own", uid, -1)

    done = subprocess.run(
        [sys.executable, "-c", ORDINARY, room / "own" / "pg", wheel, str(uid)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{uid} {uid} True False", "False"]


def test_one_server_runs_when_four_processes_start_it_at_once(embedded: Factory, holder) -> None:
    server = embedded()
    processes = [holder(server.data, ready=False) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4

    assert postmasters(server.data) == [postmaster(server)]

    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    assert postmasters(server.data) == []


def test_stop_leaves_the_server_alone_while_another_process_uses_it(kept: EmbeddedPostgres, holder) -> None:
    process = holder(kept.data)
    kept.start()
    first = postmaster(kept)

    kept.stop()
    assert kept.is_running

    kept.start()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert postmaster(kept) == first
    assert kept.is_running

    kept.stop()
    assert not kept.is_running


def test_stop_takes_the_server_from_everybody_when_it_is_forced(kept: EmbeddedPostgres, holder) -> None:
    holder(kept.data)
    kept.stop(force=True)
    assert not kept.is_running


@pytest.mark.fault
def test_lease_ends_when_its_holder_is_killed(kept: EmbeddedPostgres, holder) -> None:
    process = holder(kept.data)
    kept.start()
    process.kill()
    process.wait()
    assert kept.is_running

    kept.stop()
    assert not kept.is_running


@pytest.mark.fault
def test_server_shuts_down_when_its_parent_is_killed(kept: EmbeddedPostgres, holder) -> None:
    process = holder(kept.data, "die")
    assert kept.is_running
    process.kill()
    wait_until(lambda: postmasters(kept.data) == [])

    kept.start()
    assert kept.is_running


@pytest.mark.fault
def test_server_starts_again_when_its_postmaster_was_killed(kept: EmbeddedPostgres) -> None:
    kept.start()
    killed = postmaster(kept)
    with psycopg.connect(kept.url(driver=""), autocommit=True):
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not kept.is_running)
        kept.start()

    assert read_row(kept) == 7
    assert postmaster(kept) != killed
    assert postmasters(kept.data) == [postmaster(kept)]


@pytest.mark.fault
def test_server_is_brought_back_when_it_is_killed_while_it_is_needed(
    kept: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    kept.start()
    with kept_running(kept):
        killed = postmaster(kept)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: kept.is_running and postmaster(kept) != killed)
        assert read_row(kept) == 7
    kept.stop()
    assert postmasters(kept.data) == []


@pytest.mark.fault
def test_data_is_not_made_anew_when_it_was_deleted_while_it_is_needed(
    embedded: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wants an empty database in the place of theirs."""
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    server = embedded()
    server.start()
    with kept_running(server):
        process = psutil.Process(postmaster(server))
        aside = server.data.rename(server.data.with_name("aside"))
        process.kill()
        wait_until(lambda: not is_alive(process))
        time.sleep(0.3)
        assert not server.data.exists()
    shutil.rmtree(aside)


@pytest.mark.fault
def test_server_starts_again_when_a_long_query_outlives_its_postmaster(kept: EmbeddedPostgres) -> None:
    kept.start()
    # Nothing in this query waits, so its process does not notice that it is alone.
    endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"
    command: list[str | Path] = [find_programs() / "psql", kept.url(driver=""), "-c", endless]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL):
        running = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT count%' AND state = 'active'"
        wait_until(lambda: len(query(kept, running)) == 1)
        backend = psutil.Process(query(kept, running)[0][0])
        os.kill(postmaster(kept), signal.SIGKILL)
        wait_until(lambda: not kept.is_running)
        time.sleep(0.1)
        assert is_alive(backend)
        kept.start()

    assert not is_alive(backend)
    assert read_row(kept) == 7


@pytest.mark.fault
def test_files_of_a_dead_server_are_ignored_when_their_process_id_belongs_to_another_server(
    kept: EmbeddedPostgres, embedded: Factory
) -> None:
    stranger = embedded()
    stranger.start()
    kept.start()
    kept.stop()
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        shutil.copyfile(stranger.data / name, kept.data / name)

    assert not kept.is_running
    kept.stop()
    assert stranger.is_running

    kept.start()
    assert read_row(kept) == 7
    assert postmaster(kept) != postmaster(stranger)
    kept.stop()
    assert stranger.is_running


@pytest.mark.fault
def test_data_is_made_again_when_its_maker_was_killed_half_way(room: Path, embedded: Factory, holder) -> None:
    process = holder(room / "pg", ready=False)
    wait_until(lambda: any(room.glob(".pg.new-*/PG_VERSION")))
    process.kill()
    process.wait()
    assert not (room / "pg").exists()

    server = embedded()
    server.start()
    write_row(server)
    assert read_row(server) == 7


@pytest.mark.fault
def test_data_is_made_again_when_it_stands_half_made(room: Path, embedded: Factory) -> None:
    (room / "pg" / "global").mkdir(parents=True)
    (room / "pg" / "PG_VERSION").write_text("18\n")
    server = embedded()
    server.start()

    write_row(server)
    assert read_row(server) == 7
    [aside] = room.glob("pg.incomplete-*")
    assert (aside / "PG_VERSION").exists()
