"""A human in a seat, over a pipe."""

import io

import pytest
from rich.console import Console

from collab import Close, Message, Question, Stop, View, Write
from collab.app.terminal import Terminal
from collab.core.boundary import Sentence
from collab.core.decision import Decision
from collab.core.settings import Settings
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.errors import CollabError, PolicyError
from collab.reasoners.human import Human
from collab.store.store import Store

QUESTION = Question("q", (Message("user", "3 + 4?"),))


class Asking(Settings):
    """Write once, ask what to do, and do it."""

    async def decide(self, view: View) -> Decision:
        if not view.units:
            return Write("human")
        choice = await view.ask("human", "Go on?", choices=("answer", "stop"))
        return Close("human") if choice == "answer" else Stop(f"said {choice}")


async def play(typed: str, store: Store) -> tuple[Episode, str]:
    seen = io.StringIO()
    terminal = Terminal(io.StringIO(typed), Console(file=seen, width=80))
    team = Team({"human": Human(terminal.listen, store)})
    case = Case("case", QUESTION, Asking())
    return await play_case(case, team, until=Sentence(), budget=99), seen.getvalue()


async def test_a_human_writes_a_unit_chooses_and_answers(store: Store) -> None:
    episode, seen = await play("3 and 4\nare 7.\n\nans\n\nIt is 7.\n\n", store)
    (unit,) = episode.trajectory.units
    assert (unit.text, unit.kind) == ("3 and 4\nare 7.\n\n", "generated")
    assert episode.finish == "answered"
    assert episode.trajectory.answer == "It is 7.\n"
    assert "3 + 4?" in seen
    assert "(answer / stop)" in seen


async def test_a_human_is_shown_what_is_new_and_all_of_another_episode(store: Store) -> None:
    _, seen = await play("So 7.\n\nstop\n\n", store)
    assert (seen.count("3 + 4?"), seen.count("So 7.")) == (1, 1)
    screen, typed = io.StringIO(), "So 7.\n\nstop\n\nSo 8.\n\nstop\n\n"
    terminal = Terminal(io.StringIO(typed), Console(file=screen))
    for case in "ab":
        team = Team({"human": Human(terminal.listen, store)})
        await play_case(Case(case, QUESTION, Asking()), team, until=Sentence(), budget=99)
    assert screen.getvalue().count("3 + 4?") == 2


async def test_what_was_typed_is_asked_for_once(store: Store) -> None:
    first, _ = await play("7.\n\nstop\n\n", store)
    again, seen = await play("", store)
    assert again.trajectory == first.trajectory
    assert (first.sampled, again.sampled, seen) == (2, 0, "")


async def test_a_choice_that_is_none_of_the_options_is_none(store: Store) -> None:
    episode, _ = await play("7.\n\nwell\n\n", store)
    assert episode.finish == "stopped"
    assert "said None" in str(episode.trajectory.log[-1])


async def test_a_human_may_close_the_thinking(store: Store) -> None:
    episode, _ = await play("So 7.\n/close\n\nstop\n\n", store)
    assert episode.trajectory.closed_by == "human"
    assert episode.trajectory.thinking == "So 7.\n\n"


async def test_the_end_of_the_input_is_said(store: Store) -> None:
    with pytest.raises(CollabError, match="the human's seat got no text"):
        await play("", store)


async def test_a_human_scores_no_text(store: Store) -> None:
    class Scoring(Settings):
        async def decide(self, view: View) -> Decision:
            await view.score("7", "human")
            return Stop("")

    team = Team({"human": Human(Terminal(io.StringIO()).listen, store)})
    with pytest.raises(PolicyError, match="is a human"):
        await play_case(Case("c", QUESTION, Scoring()), team, until=Sentence(), budget=9)
