"""Commands that help texts, messages and comments name are ones that there are."""

import ast
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from collab.app.overrides import quiet
from collab.cli import VERBS
from tests.cli.conftest import call
from tests.docs.pages import PAGES, ROOT

SOURCES = sorted(p for p in (ROOT / "collab").rglob("*.py") if "policies" not in p.parts)
COMMENTED = sorted((ROOT / "conf").rglob("*.yaml"))
NAMED = re.compile(r"(?<!from )\bcollab ([a-z]+)\b([^`\n;·]*)")
TYPED = re.compile(r"(?:^ +|`|\brun |\bexamples?: |· |[Ff]irst: |real: )\s*collab ([a-z]\w*)", re.M)
FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
COMPOSED = ("play", "plan", "run", "serve")
"""Commands whose words are all those of a config."""
EXTRA = re.compile(r"pip install '\.\[([\w,]+)\]'")


@cache
def texts(path: Path) -> tuple[str, ...]:
    """Return what a source says: its strings, `…` for what is put in; of another file, all."""
    if path.suffix != ".py":
        return (path.read_text(encoding="utf-8"),)
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    mixed = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    pieces = {id(piece) for one in mixed for piece in ast.walk(one)}
    plain = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in pieces]
    return (
        *(
            "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in one.values)
            for one in mixed
        ),
        *(node.value for node in plain if isinstance(node.value, str)),
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def said() -> list[tuple[str, str]]:
    """Return each command that is named, with what stands behind it, and where."""
    return [
        (name_of(path), found[0])
        for path in [*SOURCES, *COMMENTED, *PAGES]
        for text in texts(path)
        for found in NAMED.finditer(text)
        if found[1] in VERBS
    ]


@cache
def flags(verb: str) -> frozenset[str]:
    """Return the flags that a command takes."""
    said = call(verb, "--help").out
    text = get_args_parser().format_usage() + said.splitlines()[0] if verb == "run" else said
    return frozenset(FLAG.findall(text))


def words(command: str) -> list[str]:
    """Return the words of a command, as far as they are one: two spaces begin a remark."""
    shown = re.split(r"\s{2,}|\s\(", command.strip())[0]
    try:
        return shlex.split(shown)
    except ValueError:  # a quotation that ends behind it
        return shown.split()


def test_what_is_typed_behind_collab_is_a_command() -> None:
    found = [
        (path.name, verb)
        for path in [*SOURCES, *COMMENTED, *PAGES]
        for text in texts(path)
        for verb in TYPED.findall(text)
    ]
    assert {verb for _, verb in found} >= {"run", "doctor", "repro"}
    assert [one for one in found if one[1] not in VERBS] == []


def test_flags_of_named_commands_are_flags_of_theirs() -> None:
    wrong = [
        (where, command, flag)
        for where, command in said()
        for flag in FLAG.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", command))  # not those in values
        if flag not in flags(command.split()[1])
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "command",
    sorted(
        {
            command
            for where, command in said()
            if where not in map(name_of, PAGES)  # `tests/test_docs.py` has those
            and command.split()[1] in COMPOSED
            and "=" in command
            and "…" not in command
        }
    ),
)
def test_an_example_composes(command: str) -> None:
    from hydra import compose, initialize_config_module

    given = [word for word in words(command)[2:] if "=" in word and not word.startswith("[")]
    given = [word for word in given if not word.startswith("question=")]
    single = [re.sub(r"=([^\[,]*),.*", r"=\1", word) for word in given]
    with quiet(), initialize_config_module("collab.conf", version_base="1.3"):
        if "policy=nonsense" in single:
            with pytest.raises(Exception, match="nonsense"):
                compose("config", overrides=single)
        else:
            assert "policy" in compose("config", overrides=single)


def test_extras_that_are_to_be_installed_are_ones_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = project["optional-dependencies"].keys()
    named = [
        (path.name, extra)
        for path in [*COMMENTED, *PAGES]
        for some in EXTRA.findall(path.read_text(encoding="utf-8"))
        for extra in some.split(",")
    ]
    assert named
    asked = re.compile(r"\bextra\(\"(\w+)\"\)")
    named += [(p.name, extra) for p in SOURCES for extra in asked.findall(p.read_text("utf-8"))]
    assert [one for one in named if one[1] not in known] == []


def test_targets_of_make_that_are_named_are_there() -> None:
    there = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for path in [*SOURCES, *COMMENTED, *PAGES]
        for text in texts(path)
        for target in re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, re.M)
    }
    assert named
    assert named - there == set()


def test_scripts_and_modules_that_are_named_are_there() -> None:
    named = {
        (path.parent, words)
        for path in [*SOURCES, *COMMENTED, *PAGES]
        for text in texts(path)
        for words in re.findall(r"(?:`|^\$ )python (-m [\w.]+|[\w/]+\.py)", text, re.M)
    }
    assert len(named) > 5
    assert [
        words for folder, words in named if not any(map(Path.exists, places(folder, words)))
    ] == []


def places(folder: Path, words: str) -> list[Path]:
    """Return where what is run by Python may be: a module, or a file here or in the checkout."""
    if not words.startswith("-m "):
        return [ROOT / words, folder / words]
    module = ROOT / words.removeprefix("-m ").replace(".", "/")
    return [module.with_suffix(".py"), module / "__main__.py"]
