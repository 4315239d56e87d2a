import pytest

from collab.grading.checker.blame import Suite


@pytest.mark.parametrize(
    ("text", "noted", "line", "excused"),
    [
        ("assert f(1) == 2", {1}, 1, True),
        ("assert f(1) == 2", set(), 1, False),
        ("assert f(1) == 2\nassert f(2) == 3", {1}, 2, False),
        ("x = f(1) == 2\ny = not x\nassert y", {1}, 3, True),
        ("x = f(1) == 2\ny = f(2)\nassert y", {1}, 3, False),
        ("seen = []\nseen.append(f(1) == 2)\nassert all(seen)", {2}, 3, True),
        ("seen = {}\nseen[1] = f(1) == 2\nassert seen[1]", {2}, 3, True),
        ("for x in f(1):\n    assert x == 2", {1}, 2, True),
        ("if f(1) == 2:\n    pass\nassert f(2) == 3", {1}, 3, False),
        ("assert (f(1)\n    == 2)", {2}, 1, True),
    ],
)
def test_a_failure_is_excused_if_its_statement_uses_what_was_lost(
    text: str, noted: set[int], line: int, excused: bool
) -> None:
    assert Suite("base", text).is_excused(line, noted) == excused


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("assert f(a) == 2\nassert a == [1]", True),
        ("assert f(a) == 2 and a[:f(a)] == [1]", False),
        ("k = f(a)\nassert k == 2 and a[:k] == [1]", True),
        ("assert [1] == list(a)", True),
        ("r = f(t)\nassert r is t and r.left.value == 3", True),
        ("assert S().f(a, b, n=2) == [1]", True),
        ("assert f(a) == sorted(a)", False),
        ("def same(x, y): return x == y\nassert same(f(a), a) == True", False),
        ("def lost(x, y): return len(x) - len(y)\nassert lost(f(a), a) == 0", False),
        ("assert is_sorted(a) == True", False),
        ("assert len(set(a) ^ set(f(a))) == 0", False),
        ("assert a.count(f(a)) == 0", False),
        ("assert f(a)", False),
        ("assert a != [1] or f(a)", False),
        ("x = 1", False),
    ],
)
def test_changed_arguments_count_only_where_one_result_is_compared_with_a_literal(
    text: str, literal: bool
) -> None:
    assert Suite("base", text).is_literal({"f", "S"}) == literal


@pytest.mark.parametrize(
    ("text", "line", "purpose"),
    [
        ("with f():\n    raise ValueError", 2, True),
        ("with f():\n    int('x')", 2, True),
        ("with f() as g:\n    g(1)", 2, False),
        ("with f() as g:\n    if g.x:\n        raise ValueError", 3, False),
        ("raise ValueError", 1, False),
    ],
)
def test_a_with_block_may_stop_only_what_its_tests_raise_for_sure(
    text: str, line: int, purpose: bool
) -> None:
    assert Suite("base", text).raises_on_purpose(line) == purpose


def test_tests_that_patch_what_the_program_does_not_see_are_known() -> None:
    assert Suite("base", "with patch('time.time'): assert f() == 1").patches()
    assert not Suite("base", "with patch('builtins.input'): assert f() == 1").patches()
