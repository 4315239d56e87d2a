"""The locations of a store: a file, and a database of a PostgreSQL server started by the tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest
import sqlalchemy as sa

from collab.store.database.place import pool_of, url_of
from tests import optional

_names = (f"store_{number}" for number in count())


class Server:
    """A PostgreSQL server that listens on a Unix socket in its own folder."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._as: list[str] = []
        if os.getuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def start(self) -> None:
        data = str(self._folder / "data")
        quick = ("--no-sync", "--wal-segsize=1")
        self._do("initdb", "-D", data, "-A", "trust", "-U", "collab", "-E", "UTF8", *quick)
        self.resume()

    def resume(self) -> None:
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self._control("-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._control("-w", "-m", "immediate", "stop")

    def place(self) -> str:
        """Create an empty schema, which is quicker than a database, and return its URL."""
        name = next(_names)
        words = f"CREATE ROLE {name} LOGIN; CREATE SCHEMA AUTHORIZATION {name}"
        self._do("psql", "-h", str(self._folder), "-U", "collab", "-qc", words, "postgres")
        return f"postgresql+asyncpg://{name}@/postgres?host={self._folder}"

    def _control(self, *words: str) -> None:
        self._do("pg_ctl", "-D", str(self._folder / "data"), *words)

    def _do(self, program: str, *words: str) -> None:
        subprocess.run(
            [*self._as, self._binaries / program, *words],
            cwd=self._folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Start a server once; skip by name if PostgreSQL is not installed."""
    binaries = optional.postgresql()
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (extra: postgres)")
    with tempfile.TemporaryDirectory(prefix="collab-pg-") as folder:
        server = Server(binaries, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a location for a store of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "store.sqlite")
    server: Server = request.getfixturevalue("postgres")
    return server.place()


class Sql(Protocol):
    """Run statements in a store's own database; return the rows of the last."""

    def __call__(
        self, where: str, *statements: str, **values: object
    ) -> Awaitable[Sequence[tuple[object, ...]]]: ...


@pytest.fixture
def sql() -> Sql:
    async def run(where: str, *statements: str, **values: object) -> Sequence[tuple[object, ...]]:
        def work(connection: sa.Connection) -> Sequence[tuple[object, ...]]:
            for statement in statements:
                result = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

        pool = pool_of(url_of(where))
        try:
            return await pool.do(work, writes=True)
        finally:
            await pool.close()

    return run
