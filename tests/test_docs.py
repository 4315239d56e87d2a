"""Every code block in the README and in docs/ does what it says, and nothing is left out there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from collab.cli import VERBS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


LONG = {
    "endpoints.md",
    "paper.md",
    "policies.md",
    "questions.md",
    "runs.md",
    "store.md",
    "twin-tests.md",
}
"""Pages whose commands take long: the fast tests only look whether they can be run."""
SHELL = [
    pytest.param(page, marks=[pytest.mark.long] if page.name in LONG else [], id=page.name)
    for page in PAGES
]


def commands() -> Iterator[str]:
    """The commands that a reader types, but that a test cannot run, or not a fast one."""
    for page in PAGES:
        for block in blocks(page):
            lines = block.code.replace("\\\n", " ").splitlines()
            if block.language == "console":
                yield from (line[2:] for line in lines if line.startswith("$ "))
            elif block.language == "bash" and page.name in LONG:
                yield from (line for line in lines if line.startswith("collab "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_is_of_a_kind_that_is_tested(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= {"python", "bash", "console"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    if page.stem == "sandbox" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.code, str(page), "exec"), {"__name__": "a_reader"})


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("page", SHELL)
def test_the_shell_commands_of_a_page_run_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    script = "\n".join(block.code for block in blocks(page) if block.language == "bash")
    if not script:
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_that_is_only_shown_is_one_that_exists(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{words[0]}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "collab":
        assert words[0] in VERBS
    else:
        assert program in ("vllm", "pip", "python", "apt-get", "lm_eval", "inspect")


@pytest.mark.parametrize(
    "command",
    sorted({c for c in commands() if re.match("collab run(?!.*(gide|mylab))", c)}),
)
def test_a_run_that_is_only_shown_composes(command: str, tmp_path: Path) -> None:
    from hydra import compose, initialize_config_module

    words = [word for word in shlex.split(command)[2:] if word != "-m"]
    single = [re.sub(r"=([^\[,]*),.*", r"=\1", word) for word in words]
    with initialize_config_module("collab.conf", version_base="1.3"):
        assert "policy" in compose("config", overrides=single)


def test_the_policy_in_the_readme_is_the_example() -> None:
    (shown,) = (block.code for block in blocks(ROOT / "README.md") if block.language == "python")
    example = (ROOT / "examples" / "hand_over.py").read_text(encoding="utf-8")
    said = [line for line in shown.splitlines() if line.strip()]
    there = [line for line in example.splitlines() if line.strip() and "Count the" not in line]
    assert said == there[1:]


@pytest.mark.parametrize("name", ["plain", "restating", "checking", "strong"])
def test_the_figures_of_the_reasoners_are_those_of_their_cards(name: str) -> None:
    page = (ROOT / "docs" / "pocket.md").read_text(encoding="utf-8")
    card = json.loads((ROOT / f"collab/pocket/models/{name}/card.json").read_text())
    for level, solved in card["solo"].items():
        rate, low, high = (round(100 * solved[key]) for key in ("rate", "low", "high"))
        (row,) = (line for line in page.splitlines() if line.startswith(f"| solved, {level}"))
        assert f" {rate} [{low},{high}] " in row


def test_every_command_is_in_the_docs() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [verb for verb in VERBS if f"`collab {verb}" not in text] == []


def test_every_group_of_settings_is_in_the_docs() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    groups = [folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()]
    missing = [name for name in groups if name != "__pycache__" and f"conf/{name}/" not in text]
    assert missing == []


def test_every_page_is_on_the_map() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in readme] == []
