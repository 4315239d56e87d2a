import pytest

from collab.pocket.callers import CALLERS, caller
from collab.pocket.family import Problem, make, problems


def asked(problem: Problem, thinking: str = "", more: str = "") -> str:
    return f"<|user|>\n{problem.text}{more}</s>\n<|assistant|>\n<think>\n{thinking}"


@pytest.mark.parametrize("name", CALLERS)
def test_a_script_solves_most_easy_problems_in_the_shipped_models_words(name: str) -> None:
    drafts = [(p, d) for p in problems("easy", 20) for d in caller(name)(asked(p))]
    right = [f"\\boxed{{{p.answer}}}" in draft for p, draft in drafts]
    assert 0.9 < sum(right) / len(right) < 1
    assert f"{drafts[0][0].steps[0].before} " in drafts[0][1]
    assert all(draft.count("</think>") == 1 for _, draft in drafts)


def test_large_sums_go_wrong_more_often_and_most_of_them_are_felt() -> None:
    tag = CALLERS["splitting"]
    drafts = [(p, d) for p in problems("hard", 40) for d in caller("splitting")(asked(p))]
    wrong = [draft for p, draft in drafts if f"\\boxed{{{p.answer}}}" not in draft]
    right = [draft for p, draft in drafts if f"\\boxed{{{p.answer}}}" in draft]
    assert 0.2 < len(wrong) / len(drafts) < 0.8
    assert sum(tag in one for one in wrong) / len(wrong) > 0.7
    assert sum(tag in one for one in right) / len(right) < 0.3


def test_it_goes_on_from_whatever_sums_another_wrote() -> None:
    problem = make("hard", 3)
    done = f"He doubles, so {problem.steps[0].sum}.\n{problem.steps[1].sum}.\nShe then"
    drafts = caller("relaying")(asked(problem, done))
    first = f"{problem.steps[2].before} "
    begun = [draft.replace(CALLERS["relaying"], "") for draft in drafts]
    assert all(draft.startswith(f"\n{first}") for draft in begun)
    over = f"{problem.steps[-1].sum}.\n"
    assert caller("relaying")(asked(problem, over))[0].startswith("So the answer is")
    said = f"{over}So the answer is {problem.answer}.\n"
    assert caller("relaying")(asked(problem, said))[0].startswith("</think>")
    answer = caller("relaying")(asked(problem, f"{over}</think>"))[0]
    assert answer == f"\n\nThe answer is \\boxed{{{problem.answer}}}."


def test_a_planner_says_what_changes_and_no_result() -> None:
    problem = make("easy", 1)
    (plan,) = caller("planning")(asked(problem, "</think>", "\n\nOutline it."))
    assert plan.startswith(
        f"{problem.name} has {problem.start} {problem.item}.\n{problem.pronoun} "
    )
    assert all(step.phrase in plan for step in problem.steps)
    assert "is" not in plan.split()


def test_whatever_else_is_asked_it_answers_as_the_doctor_wants() -> None:
    (said,) = caller("splitting")("The secret word is plum. The secret word is")
    assert said.startswith(" plum.")
