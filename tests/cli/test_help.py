import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collab.cli import VERBS
from collab.core.release import installed

Command = Callable[..., Any]  # any: what conftest says a command comes to
HEAVY = ("hydra", "omegaconf", "openai", "numpy", "rich", "sqlalchemy", "math_verify")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom collab.cli import main\nstatus = main(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\nsys.exit(status)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "[]"
    assert "usage: collab COMMAND" in said.stdout


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_lists_every_verb(command: Command, words: tuple[str, ...]) -> None:
    said = command(*words)
    assert (said.status, said.err) == (0, "")
    assert set(re.findall(r"^  (\w+)  ", said.out, re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(command: Command, verb: str) -> None:
    said = command(verb, "--help")
    assert (said.status, said.err) == (0, "")
    assert re.match(rf"usage: collab[ .]{verb}", said.out)


def test_every_file_of_the_command_line_that_is_a_verb_is_listed() -> None:
    folder = Path(sys.modules["collab.cli"].__file__ or "").parent
    verbs = {
        path.stem
        for path in folder.glob("[!_]*.py")
        if re.search(r"^def main\(argv", path.read_text(), re.MULTILINE)
    }
    assert verbs == set(VERBS)


def test_an_unknown_verb_lists_those_there_are(command: Command) -> None:
    said = command("frobnicate")
    assert said.status == 2
    assert said.out == ""
    assert said.error == (
        f"error: unknown command 'frobnicate' (commands: {', '.join(sorted(VERBS))})"
    )


def test_the_version_is_the_packages(command: Command) -> None:
    assert command("--version").out == f"collab {installed()}\n"
