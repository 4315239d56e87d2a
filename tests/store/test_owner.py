"""The owner of a claim, and whether its process still runs."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from collab.store.database.owner import Owner

NOWHERE = 2**22 + 1  # beyond the largest number that Linux gives a process


def test_an_owner_is_read_as_it_was_written() -> None:
    owner = Owner.here()
    assert Owner.parse(str(owner)) == owner
    assert Owner.here() != owner


def test_a_living_process_is_not_outlived() -> None:
    assert not Owner.here().has_ended(Owner.here())
    init = replace(Owner.here(), pid=1, started="")
    assert not init.has_ended(Owner.here())


def test_a_process_that_is_no_more_is_outlived_by_its_own_machine_alone() -> None:
    here = Owner.here()
    gone = replace(here, pid=NOWHERE)
    assert gone.has_ended(here)
    assert not replace(gone, machine="elsewhere").has_ended(here)


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert replace(Owner.here(), pid=process.pid, started="1").has_ended(Owner.here())


def test_a_later_process_with_the_same_number_is_another_one() -> None:
    assert replace(Owner.here(), started="1").has_ended(Owner.here())


def test_without_proc_a_process_is_known_by_its_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("collab.store.database.owner.PROC", tmp_path)
    here = Owner.here()
    assert here.started == ""
    assert not here.has_ended(here)
    assert replace(here, pid=NOWHERE).has_ended(here)
