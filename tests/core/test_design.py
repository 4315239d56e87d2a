"""The design of a case has one definition, and no name is taken apart to find it again."""

import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.core import design as module
from collab.core.design import FACTORS, Design, Label
from collab.core.trajectory import Question
from collab.episode.engine import Case
from collab.errors import ConfigError
from collab.policies.solo import Solo

ROOT = Path(__file__).parent.parent.parent
NAMES = re.compile(r"\bcase\b|\bpair\b|\.id\b")
"""Expressions that hold the name of a case, a pair or a question."""
LABELS: st.SearchStrategy[Label] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()
)
NAMED = st.dictionaries(st.sampled_from([*FACTORS, "level", "set"]), LABELS)


@given(NAMED)
def test_no_stored_label_is_lost_whatever_its_type(row: dict[str, Label]) -> None:
    design, labels = Design.split(row)
    assert {**labels, **design.factors} == row
    assert not labels.keys() & design.factors.keys()


def test_a_label_that_is_named_like_a_factor_and_has_another_type_stays_a_label() -> None:
    design, labels = Design.split({"length": "long", "solved": True, "at": 0, "arm": "steer"})
    assert design == Design(arm="steer", at=0)
    assert labels == {"length": "long", "solved": True}


def test_a_factor_goes_before_a_label_of_its_name_and_a_label_stands_where_none_is_set() -> None:
    assert Design(at=0.2).factor("at", {"at": 0.4, "level": "easy"}) == 0.2
    assert Design().factor("at", {"at": 0.4}) == 0.4
    assert Design(at=0.2).factor("level", {"level": "easy"}) == "easy"
    assert Design().factor("factors", {}) is None


def test_the_example_of_the_design_runs() -> None:
    ran = doctest.testmod(module)
    assert (ran.failed, ran.attempted > 0) == (0, True)


def uses(tree: ast.AST) -> Iterator[str]:
    """Yield where a factor is read or written as a label, or a name is taken apart."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value, ast.Constant(str(key))) if key in FACTORS:
                if ast.unparse(value).endswith("labels"):
                    yield ast.unparse(node)
            case ast.Call(ast.Attribute(value, "get"), [ast.Constant(str(key)), *_]):
                if key in FACTORS and ast.unparse(value).endswith("labels"):
                    yield ast.unparse(node)
            case ast.keyword("labels", ast.Dict(keys)):
                named = {key.value for key in keys if isinstance(key, ast.Constant)}
                if named & set(FACTORS):
                    yield ast.unparse(node)
            case ast.Call(
                ast.Attribute(value, "partition" | "rpartition" | "split" | "rsplit"),
                [ast.Constant("/"), *_],
            ) if NAMES.search(ast.unparse(value)):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    "text",
    [
        "score.labels['arm']",
        "score.labels.get('steer_kind', 'raw')",
        "Case(labels={**question.labels, 'at': 0.2})",
        "score.case.rpartition('/')",
        "str(labels['pair']).rsplit('/', 1)",
        "case.id.split('/')",
    ],
)
def test_the_scan_finds_each_way_round_the_design(text: str) -> None:
    assert list(uses(ast.parse(text)))


def test_no_module_reads_a_factor_by_its_label_or_takes_a_name_apart() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): list(uses(ast.parse(path.read_text(encoding="utf-8"))))
        for folder in ("collab", "policies")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(found) > 200
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(("name", "value"), [("arm", "mine"), ("at", 0.5), ("solved", 3)])
def test_a_label_that_would_be_read_back_as_a_factor_is_refused(name: str, value: Label) -> None:
    question = Question("q", ())
    with pytest.raises(ConfigError, match=f"label '{name}', the name of a factor of the design"):
        Case("c", question, Solo(), labels={name: value})
    assert Case("c", question, Solo(), labels={"mine": value}).factors == {"mine": value}
