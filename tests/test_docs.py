"""Every code block in the README and in docs/ does what it says, and nothing is left out there."""

import json
import re
import shlex
from pathlib import Path

import pytest

from collab.app.overrides import quiet
from collab.cli import VERBS
from tests import optional
from tests.conftest import Served
from tests.docs import reader
from tests.docs.pages import BLOCK, PAGES, ROOT, blocks, commands, scripts, steps
from tests.docs.reader import Reader

LONG = {
    "endpoints.md",
    "paper.md",
    "policies.md",
    "questions.md",
    "runs.md",
    "store.md",
    "twin-tests.md",
}
"""Pages of which even the short commands take long: `make check-long` runs them."""


@pytest.fixture
def somebody(tmp_path: Path, pocket: Served, launched: None) -> Reader:
    """A reader in a folder of their own, who has what pages take for granted."""
    reader.prepare(tmp_path)
    return Reader(tmp_path, f"{pocket.url}/v1")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_is_of_a_kind_that_is_tested(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= {"python", "bash", "console"}
    shown = [block.code for block in blocks(page) if block.language == "console"]
    assert [code for code in shown if not code.startswith(("$ ", ">>> "))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_programs_and_the_short_commands_of_a_page_run(page: Path, somebody: Reader) -> None:
    if page.stem == "sandbox":
        optional.found("bwrap")
    for step in steps(page):
        if step.kind == "python" or (step.kind == "script" and page.name not in LONG):
            somebody.do(step)
    assert not somebody.faults, "".join(map(str, somebody.faults))


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_that_a_page_shows_runs_in_its_order(page: Path, somebody: Reader) -> None:
    optional.found("bwrap")
    if page.stem == "tutorial":
        pytest.importorskip("setuptools", minversion="77")  # what builds the package there
        somebody.programs = reader.environment(somebody.folder / "env")
        somebody.env = {"PIP_NO_BUILD_ISOLATION": "0"}  # 0: there is none, nothing is downloaded
        *_, code = (block.code for block in blocks(page) if block.language == "python")
        reader.arbiter(somebody.folder, code)
    if page.stem == "trust":
        reader.receive(somebody)
    somebody.read(page)
    assert not somebody.faults, "".join(map(str, somebody.faults))


def test_what_is_said_to_be_different_of_a_command_is_said_of_one_that_is_shown() -> None:
    pieces = [*reader.NOT_RUN, *reader.FAILS, *reader.CLUSTER]
    assert [p for p in pieces if not any(p in f"{command} " for command in commands())] == []


@pytest.mark.parametrize("command", [c for c in commands() if reader.why_not(c)])
def test_a_command_that_is_only_shown_is_one_that_exists(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{words[0]}:.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "collab":
        assert words[0] in VERBS
    else:
        assert program in ("vllm", "python", "apt-get", "lm_eval", "inspect")


@pytest.mark.parametrize(
    "command",
    [c for c in commands() + scripts() if re.match("collab run(?!.*(gide|mylab|--cfg))", c)],
)
def test_a_run_that_is_shown_composes(command: str, tmp_path: Path) -> None:
    from hydra import compose, initialize_config_module

    words = [word for word in shlex.split(command)[2:] if word != "-m"]
    single = [re.sub(r"=([^\[,]*),.*", r"=\1", word) for word in words]
    with quiet(), initialize_config_module("collab.conf", version_base="1.3"):
        assert "policy" in compose("config", overrides=single)


def test_the_policy_in_the_readme_is_the_example() -> None:
    (shown,) = (block.code for block in blocks(ROOT / "README.md") if block.language == "python")
    example = (ROOT / "examples" / "hand_over.py").read_text(encoding="utf-8")
    brief = re.sub(r'^ {8}""".*"""\n', "", example, flags=re.MULTILINE)  # the method's docstring
    assert shown.split() == brief.partition('"""\n')[2].split()


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


def headings(page: Path) -> set[str]:
    """Return the anchors of a page: those of its headings and of the objects that it describes."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    return slugs | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    dead = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            dead.append(link)
    assert dead == []


def test_the_glossary_defines_each_term_once_and_links_it() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!term )(.*?) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    terms = [term for row, *_ in rows for term in row.split(", ")]
    assert len(terms) > 80
    assert sorted(set(terms)) == sorted(terms)
    assert [row for row, _, link in rows if "](" not in link] == []


def test_every_page_is_on_the_map() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in readme] == []
