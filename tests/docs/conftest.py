"""What pages need that a reader is to have: a database, and clusters."""

from collections.abc import Iterator, Mapping

import pytest

from tests.cli import conftest as cli
from tests.docs import clusters
from tests.store import conftest as store

postgres = store.postgres
scripted = cli.scripted


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """SLURM on this machine, as the variables by which its commands find it."""
    with clusters.slurm(tmp_path_factory.mktemp("slurm")) as there:
        yield there


@pytest.fixture
def ray() -> Iterator[Mapping[str, str]]:
    """A Ray head on this machine, likewise."""
    with clusters.ray() as there:
        yield there
