"""Answers that no grader could judge are counted, with their reasons."""

from collections.abc import Mapping

from collab.app.unjudged import unjudged_notes
from collab.scenarios.base import Score, Verdict


def score(verdict: Verdict, **reasons: str) -> Score:
    details: Mapping[str, Mapping[str, str]] = {"not judged": reasons} if reasons else {}
    return Score("case", "question", verdict, details=details)


def test_a_note_counts_them_with_their_commonest_reasons() -> None:
    scores = [score("correct"), score("wrong")] * 600
    scores += [score("not judged", base="a", plus="a"), score("not judged", base="b", plus="a")]
    (note,) = unjudged_notes(scores)
    assert note == "2 of 1,202 answers were not judged: a (2); b (1)"


def test_a_verdict_without_a_reason_counts_too() -> None:
    assert list(unjudged_notes([score("not judged")])) == ["1 of 1 answers was not judged"]


def test_a_run_whose_answers_were_all_judged_says_nothing() -> None:
    assert list(unjudged_notes([score("correct"), score("no answer")])) == []
