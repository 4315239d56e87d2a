import pytest

from collab.grading.reply import boxes, last_line, marked, stated, together


@pytest.mark.parametrize(
    ("text", "inside", "closed", "asked"),
    [
        (r"\boxed{5} and \boxed{7", "7", False, True),
        (r"$\boxed{7$ done", "7", False, True),
        (r"\boxed{\frac{1}{2", r"\frac{1}{2}", False, True),
        (r"\fbox{42}", "42", True, False),
        (r"\framebox[2cm]{42}", "42", True, False),
        (r"\boxed 42", "42", True, True),
        (r"\boxed{\boxed{3}}", "3", True, True),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}", True, True),
    ],
)
def test_the_box_that_opens_last_is_read(text: str, inside: str, closed: bool, asked: bool) -> None:
    last = boxes(text)[-1]
    assert (last.inside, last.closed, last.asked) == (inside, closed, asked)


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
        (r"\boxed{2}, \boxed{3}, \boxed{4}", "2, 3, 4"),
        (r"\boxed{5}. But no, it is \boxed{7}", None),
        (r"\boxed{5}" + "\n\n" + r"\boxed{7}", None),
        (r"\boxed{5}", None),
    ],
)
def test_boxes_in_a_row_are_a_list(text: str, listed: str | None) -> None:
    assert together(text, boxes(text)) == listed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>42</answer> or 43", "42"),
        ("<answer>41</answer><answer>42", "42"),
        ("so\n#### 42", "42"),
        (r"It is \underline{42}.", "42"),
        ("## 42", None),
    ],
)
def test_marked_answers_are_read(text: str, answer: str | None) -> None:
    assert marked(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 42. (Checked with x=3.)", "42"),
        ("**Final Answer:** **42**", "42"),
        ("The answer is $42$, since $6x=252$.", "42"),
        ("Die Antwort ist 42.", "42"),
        ("答案是 42。", "42"),
        ("The answer is not 42.", "not 42"),
        ("We answered it.", None),
    ],
)
def test_stated_answers_are_read_up_to_the_end_of_the_clause(text: str, answer: str | None) -> None:
    assert stated(text) == answer


def test_the_last_line_loses_its_label_and_its_marks() -> None:
    assert last_line("We add.\n\nTotal: **42**") == "42"
