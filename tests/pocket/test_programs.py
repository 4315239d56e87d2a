import pytest

from collab.pocket.programs import ASKED, LEVELS, LevelName, coder, tasks


def passes(program: str, tests: tuple[str, ...]) -> bool:
    space: dict[str, object] = {}
    try:
        exec(program, space)
        exec("\n".join(tests), space)
    except AssertionError:
        return False
    return True


def code(draft: str) -> str:
    return draft.partition("```python\n")[2].partition("```")[0]


def prompt(text: str, thinking: str = "") -> str:
    return f"<|user|>\n{text}\n\nThink.</s>\n<|assistant|>\n<think>\n{thinking}"


@pytest.mark.parametrize("level", LEVELS)
def test_solutions_pass_their_tests_and_no_task_comes_twice(level: LevelName) -> None:
    made = tasks(level, 20, 0)
    assert all(passes(task.solution, task.tests) for task in made)
    assert len({task.text for task in made}) == 20
    assert tasks(level, 5, 0) == made[:5]
    assert not {task.text for task in tasks(level, 20, 1)} & {task.text for task in made}


def test_the_strong_coder_solves_more_than_the_weak_one() -> None:
    solved = {
        name: sum(
            passes(code(draft), task.tests)
            for task in tasks("hard", 5, 0)
            for draft in coder(name)(prompt(task.text))
        )
        for name in ("weak", "strong")
    }
    assert 0 < solved["weak"] < 0.4 * 5 * 64 < 0.6 * 5 * 64 < solved["strong"]


def test_a_coder_goes_on_from_the_steps_that_stand_there() -> None:
    (task,) = tasks("middle", 1, 0)
    (whole,) = {
        draft for draft in coder("strong")(prompt(task.text)) if passes(code(draft), task.tests)
    }
    begun = "".join(whole.partition("</think>")[0].splitlines(keepends=True)[:4])
    assert "Step 3" in begun
    drafts = coder("weak")(prompt(task.text, begun))
    assert all(draft.startswith("Step 4: ") for draft in drafts)
    assert code(whole) in {code(draft) for draft in drafts}
    assert (
        coder("weak")(prompt(task.text, whole.partition("\n\n")[0]))[0].strip()
        == (whole.partition("\n\n")[2])
    )


def test_a_coder_follows_another_tasks_steps_at_times_and_comes_back_at_others() -> None:
    one, other = tasks("middle", 2, 0)
    (told,) = ASKED.findall(other.text)
    drafts = coder("strong")(prompt(one.text, f"Wait.\nThe task: {told}.\nStep 1: "))
    back = [draft for draft in drafts if "Back to what was asked." in draft]
    assert 0.4 * 64 < len(back) < 64
    assert any(passes(code(draft), one.tests) for draft in back)
    followed = [draft for draft in drafts if draft not in back]
    assert any(passes(code(draft), other.tests) for draft in followed)


def test_a_coder_answers_what_a_doctor_asks() -> None:
    assert (
        "PLATYPUS" in coder("weak")("<think>\nthe secret word is PLATYPUS. The secret word is")[0]
    )
