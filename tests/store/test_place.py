"""The locations of a store, and the errors for impossible ones."""

from pathlib import Path
from typing import Any

import pytest

from collab.errors import StoreError
from collab.store.database.place import network_mount, url_of
from collab.store.store import Store


async def _open(where: str | Path) -> None:
    async with Store.open(where):
        pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("notes, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"not a database; set store\.url to another path"):
        await _open(path)
    assert path.read_text().startswith("notes")


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StoreError, match="cannot use the store"):
        await _open(tmp_path / "runs" / "store.sqlite")


async def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    await _open(tmp_path / "store.sqlite")
    url = f"sqlite+pysqlite:///file:{tmp_path}/store.sqlite?mode=ro&uri=true"
    with pytest.raises(StoreError, match="make the file and its folder writable"):
        await _open(url)


async def test_a_url_that_nothing_can_read_is_refused() -> None:
    with pytest.raises(StoreError, match="nonsense"):
        await _open("nonsense://somewhere")


MOUNTS = """\
/dev/sda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/ada/local\\040disk ext4 rw 0 0
mds@tcp:/scratch /scratch lustre rw 0 0
me@host: /mnt/far fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize("url", ["mysql+aiomysql://db/store", "postgresql+psycopg://db/store"])
async def test_another_database_is_refused_with_those_there_are(url: str) -> None:
    with pytest.raises(StoreError, match=r"neither a path nor one of sqlite\+pysqlite://, postg"):
        await _open(url)


def test_a_postgresql_url_needs_no_driver() -> None:
    assert url_of("postgresql://db/store").drivername == "postgresql+asyncpg"


async def test_no_message_shows_a_password() -> None:
    for url in ("nonsense://ada:secret@db/store", "postgresql://ada:secret@127.0.0.1:1/store"):
        with pytest.raises(StoreError, match=r"ada:\*\*\*@") as refused:
            await _open(url)
        assert "secret" not in str(refused.value)


async def test_a_server_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(StoreError, match="start the server, or correct the host and port"):
        await _open("postgresql://127.0.0.1:1/store")


async def test_a_database_that_is_not_there_is_refused(postgres: Any) -> None:
    url = postgres.place().replace("/postgres?", "/missing?")
    with pytest.raises(StoreError, match='"missing" does not exist; create it first: createdb'):
        await _open(url)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/var/store.sqlite", None),
        ("/homework/store.sqlite", None),
        ("/home/ada/store.sqlite", "nfs4 at /home"),
        ("/home/ada/local disk/store.sqlite", None),
        ("/scratch/store.sqlite", "lustre at /scratch"),
        ("/mnt/far/store.sqlite", "fuse.sshfs at /mnt/far"),
    ],
)
def test_network_file_systems_are_found_by_name(path: str, found: str | None) -> None:
    assert network_mount(Path(path), MOUNTS) == found
