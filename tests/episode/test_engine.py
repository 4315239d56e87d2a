from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from collab.core.boundary import (
    Answer,
    Boundary,
    End,
    Length,
    Paragraph,
    Regex,
    Sentence,
    Share,
    Tag,
    Tokens,
    Words,
)
from collab.core.decision import (
    Branch,
    Choose,
    Close,
    Decision,
    Edit,
    Fork,
    Insert,
    Rewind,
    Stop,
    Write,
)
from collab.core.policy import Likelihood, Policy, View
from collab.core.sampling import Sampling
from collab.core.trajectory import (
    Asked,
    Chose,
    Closed,
    Edited,
    Ended,
    Forked,
    Json,
    Message,
    Question,
    Recording,
    Rewound,
    Scored,
    Stopped,
    Trajectory,
    Wrote,
)
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.scripted import TEMPLATE, Script, ScriptedServer, recite
from collab.episode.engine import Case, Episode, play_case
from collab.episode.reasoner import Recorded
from collab.episode.team import Team
from collab.errors import Denied, PolicyError
from collab.reasoners.model import Model
from collab.store.draw_keys import BANK
from collab.templates.template import Template

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from collab.endpoints.scripted import WordTokenizer as ScriptedWords
    from collab.endpoints.tokens import Tokenizer
    from collab.store.store import Store
    from tests.conftest import Seat

    Spoken = Callable[[Tokenizer], ScriptedWords]

QUESTION = Question("q", (Message("user", "1 + 2?"),), answer="SECRET 3")
THOUGHT = "We add 1 and 2.\n\nIt is 3. So we stop."
WHOLE = f"{THOUGHT}</think>The answer is 3."
HEAD = "<|user|>\n1 + 2?</s>\n<|assistant|>\n<think>\n"


@dataclass(frozen=True)
class Playing:
    """A policy that plays a list of decisions and keeps what it saw."""

    decisions: tuple[Decision, ...]
    views: list[View] = field(default_factory=list)
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        self.views.append(view)
        return self.decisions[view.step]


@dataclass(frozen=True)
class Deciding:
    """A policy that is one function."""

    choose: Callable[[View], Decision]
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        return self.choose(view)


def alone(view: View) -> Decision:
    return Close("main") if view.closed_by else Write("main")


async def play(
    seats: Model | Mapping[str, Model | Recorded],
    policy: Policy | tuple[Decision, ...],
    *,
    until: Boundary = Sentence(),  # noqa: B008 - a frozen value
    budget: int = 400,
    opening: Mapping[str, Recording] | None = None,
    case: str = "case",
    draw: int | None = None,
    replicate: int = 0,
) -> Episode:
    team = Team({"main": seats} if isinstance(seats, Model) else seats)
    played = Playing(policy) if isinstance(policy, tuple) else policy
    one = Case(case, QUESTION, played, opening or {}, draw=draw)
    return await play_case(one, team, until=until, budget=budget, replicate=replicate)


def texts(episode: Episode) -> list[str]:
    return [unit.text for unit in episode.trajectory.units]


@dataclass
class Stage:
    """A scripted server with its model in a seat."""

    server: ScriptedServer
    model: Model
    tokenizer: Tokenizer

    @property
    def prompts(self) -> list[str]:
        """What the server was sent, as text."""
        return [self.tokenizer.decode(one.body["prompt"]) for one in self.server.generating]


Open = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage(seat: Seat, wordy: Tokenizer, spoken: Spoken) -> Open:
    @asynccontextmanager
    async def open_stage(
        script: Script = WHOLE,
        *,
        context: int = 4096,
        known: int | None = None,
        temperature: float = 0.6,
    ) -> AsyncIterator[Stage]:
        go_on = recite(script) if isinstance(script, str) else script
        async with ScriptedServer(go_on, tokenizer=spoken(wordy), context=context) as server:
            sampling = Sampling(temperature=temperature)
            model = await seat(server.url, tokenizer=wordy, sampling=sampling, context=known)
            yield Stage(server, model, wordy)

    return open_stage


async def test_every_decision_leaves_its_reason_and_memo_in_the_log(stage: Open) -> None:
    decisions = (
        Write("main", why="begin", memo=1),
        Insert("main", "Hm.\n", why="doubt", memo={"n": 2}),
        Write("main", why="again", memo=[3]),
        Edit(1, "Well.\n", why="milder", memo="4"),
        Rewind(2, why="no", memo=5.5),
        Close("main", why="enough", memo=None),
    )
    policy = Playing(decisions)
    async with stage() as here:
        episode = await play(here.model, policy)
    log = episode.trajectory.log
    assert [type(event) for event in log] == [Wrote, Wrote, Wrote, Edited, Rewound, Closed, Wrote]
    first, second, third, edited, rewound, closed, answer = log
    assert isinstance(first, Wrote)
    assert (first.unit.why, first.unit.kind, first.memo) == ("begin", "generated", 1)
    assert isinstance(second, Wrote)
    assert (second.unit.why, second.unit.kind, second.memo) == ("doubt", "inserted", {"n": 2})
    assert isinstance(third, Wrote)
    assert third.memo == [3]
    assert edited == Edited(
        1, "Well.\n", "milder", "4", tokens=len(here.tokenizer.encode("Well.\n"))
    )
    assert rewound == Rewound(2, "no", 5.5)
    assert closed == Closed("main", "enough")
    assert isinstance(answer, Wrote)
    assert (answer.unit.phase, answer.unit.why) == ("answer", "enough")
    assert [view.memo for view in policy.views] == [None, 1, {"n": 2}, [3], "4", 5.5]
    assert [view.step for view in policy.views] == [*range(6)]
    assert episode.finish == "answered"


async def test_stop_ends_the_episode_without_an_answer(stage: Open) -> None:
    async with stage() as here:
        episode = await play(here.model, (Write("main"), Stop("lost")))
    assert episode.finish == "stopped"
    assert episode.trajectory.log[-1] == Stopped("lost")
    assert episode.trajectory.reply == ()


async def test_units_put_together_are_what_the_model_had_in_mind(stage: Open) -> None:
    async with stage() as here:
        episode = await play(here.model, Deciding(alone))
    assert texts(episode) == ["We add 1 and 2.\n", "\nIt is 3.", " So we stop."]
    assert episode.trajectory.thinking == THOUGHT
    assert episode.trajectory.answer == "The answer is 3."
    assert episode.trajectory.closed_by == "main"
    assert [type(event) for event in episode.trajectory.log[-3:]] == [Ended, Closed, Wrote]
    assert all(prompt.startswith(HEAD) for prompt in here.prompts)
    assert here.prompts[-1] == f"{HEAD}{THOUGHT}</think>"


async def test_a_policy_may_go_on_after_a_writers_own_tag_inside_the_same_block(
    stage: Open,
) -> None:
    def forcing(view: View) -> Decision:
        if view.closed_by and view.memo is None:
            return Insert("main", " Wait,", why="budget forcing", memo="forced")
        if view.closed_by:
            return Close("main", memo="forced")
        return Write("main", memo=view.memo)

    def script(prompt: str) -> str:
        return " no.</think>4" if prompt.endswith(" Wait,") else recite(WHOLE)(prompt)[0]

    async with stage(script) as here:
        episode = await play(here.model, Deciding(forcing), until=End())
    forced = f"{HEAD}{THOUGHT} Wait,"
    assert here.prompts == [HEAD, forced, f"{forced} no.</think>"]
    assert [prompt.count("<think>") for prompt in here.prompts] == [1, 1, 1]
    assert [prompt.count("</think>") for prompt in here.prompts] == [0, 0, 1]
    kinds = [type(event) for event in episode.trajectory.log]
    assert kinds == [Wrote, Ended, Wrote, Wrote, Ended, Closed, Wrote]


async def test_closing_before_the_writers_own_tag_closes_the_block_once(stage: Open) -> None:
    async with stage() as here:
        episode = await play(here.model, (Write("main"), Close("main")))
    assert here.prompts[-1] == f"{HEAD}We add 1 and 2.\n</think>"
    assert episode.finish == "answered"


async def test_until_answer_writes_thinking_and_answer_in_one_request(stage: Open) -> None:
    async with stage() as here:
        episode = await play(here.model, Deciding(alone), until=Answer())
    assert len(here.prompts) == 1
    trajectory = episode.trajectory
    assert (trajectory.thinking, trajectory.answer) == (THOUGHT, "The answer is 3.")
    assert [type(event) for event in trajectory.log] == [Wrote, Ended, Closed, Wrote]
    assert episode.finish == "answered"
    ids = [index for unit in (*trajectory.units, *trajectory.reply) for index in unit.ids or ()]
    assert here.tokenizer.decode(ids) == WHOLE.replace("</think>", "")


@pytest.mark.parametrize("until", [Sentence(), Paragraph(), End(), Answer()], ids=repr)
async def test_the_end_of_its_turn_is_the_answer_of_a_model_without_tags(
    stage: Open, until: Boundary
) -> None:
    async with stage("We add 1 and 2.\n\nIt is 3.") as here:
        here.model = untagged(here)
        episode = await play(here.model, Deciding(alone), until=until)
        ((solo, _),) = await here.model.solo(QUESTION, range(1), 400)
    assert episode.finish == "answered"
    assert episode.trajectory.thinking == "We add 1 and 2.\n\nIt is 3."
    assert (solo.text, solo.answer, solo.closed) == (*[episode.trajectory.answer] * 2, True)
    assert episode.trajectory.reply == ()
    assert "<think>" not in "".join(here.prompts)


async def test_what_another_wrote_is_no_answer_of_a_model_without_tags(stage: Open) -> None:
    async with stage("We add 1 and 2.\n\nIt is 3.") as here:
        here.model = untagged(here)
        own = (Write("main"), Insert("main", "It is 5.\n"), Insert("guide", "It is 4.\n"))
        decisions = (*own, Write("main", End()), Close("main"))
        seats: Mapping[str, Model | Recorded] = {"main": here.model, "guide": Recorded()}
        episode = await play(seats, decisions)
    assert episode.finish == "answered"
    assert episode.trajectory.answer == "We add 1 and 2.\n\nIt is 3."


async def test_an_answer_is_forced_with_what_the_model_is_used_to(stage: Open) -> None:
    async with stage() as here:
        frame = Frame(Template(TEMPLATE), force_answer="\n</think>\n\n")
        forced = replace(here.model, dialect=IdsDialect(frame, here.tokenizer))
        await play(forced, (Write("main"), Close("main")))
        await play(forced, Deciding(alone))
        here.model = untagged(here, "\n\nSo the answer is:\n")
        await play(here.model, (Write("main"), Close("main")))
    first, last = (p for p in here.prompts if p.endswith(("</think>\n\n", "is:\n")))
    assert first == f"{HEAD}We add 1 and 2.\n\n</think>\n\n"
    assert last.endswith("We add 1 and 2.\n\n\nSo the answer is:\n")


def untagged(here: Stage, force: str = "") -> Model:
    frame = Frame(Template(TEMPLATE.replace("<think>", "")), "", "", force)
    return replace(here.model, dialect=IdsDialect(frame, here.tokenizer), think_close="")


async def test_opening_and_completion_share_the_budget(stage: Open, wordy: Tokenizer) -> None:
    recording = Recording("other", THOUGHT, tokens=0)
    decisions = (Write("main", Share(of=1)), Write("main", End()))
    opened = len(wordy.encode(THOUGHT))
    async with stage(lambda _: " so" * 99) as here:
        episode = await play(here.model, decisions, budget=opened + 5, opening={"main": recording})
    assert here.server.generating[0].body["max_tokens"] == 5
    assert episode.finish == "never closed"
    assert episode.trajectory.tokens == opened + 5


async def test_a_spent_budget_sends_nothing(stage: Open) -> None:
    decisions = (Write("main", Share(of=1)), Write("main"))
    async with stage() as here:
        recording = Recording("other", THOUGHT, tokens=0)
        episode = await play(here.model, decisions, budget=5, opening={"main": recording})
    assert (here.prompts, episode.finish) == ([], "never closed")


async def test_a_turn_that_ends_inside_the_thinking_never_closed_it(stage: Open) -> None:
    async with stage("We add and that is all") as here:
        episode = await play(here.model, Deciding(alone))
    assert episode.finish == "never closed"
    assert episode.trajectory.thinking == "We add and that is all"


async def test_the_view_counts_what_is_left_of_the_budget(stage: Open) -> None:
    policy = Playing((Write("main"), Insert("main", "Hm.\n"), Stop("")))
    async with stage() as here:
        await play(here.model, policy, budget=50)
    used = [sum(unit.tokens for unit in view.units) for view in policy.views]
    assert used[0] == 0 < used[1] < used[2]
    assert [view.tokens_left for view in policy.views] == [50 - tokens for tokens in used]


@pytest.mark.parametrize("known", [None, 30])
async def test_a_trajectory_that_fills_the_context_says_so(stage: Open, known: int | None) -> None:
    async with stage(lambda _: " so" * 99, context=30, known=known) as here:
        episode = await play(here.model, Deciding(alone), until=End())
    assert episode.finish == "context full"


async def test_what_was_written_before_the_server_ran_out_of_room_stays(stage: Open) -> None:
    async with stage(lambda _: " so" * 99, context=40) as here:
        until = Regex(pattern="never", piece_tokens=4)
        episode = await play(here.model, Deciding(alone), until=until)
    assert episode.finish == "context full"
    assert len(here.server.generating) > 2
    (unit,) = episode.trajectory.units
    assert unit.tokens == 4 * (len(here.server.generating) - 1)


@pytest.mark.parametrize("decision", [Insert("main", "Wait. "), Edit(0, "Well,\t")], ids=repr)
async def test_text_that_ends_in_a_space_is_not_put_on_a_trajectory(
    stage: Open, decision: Decision
) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match="ends in a space"):
            await play(here.model, (Write("main"), decision))


async def test_every_unit_says_what_its_author_read(stage: Open) -> None:
    async with stage() as here:
        decisions = (Write("main"), Insert("main", "Hm.\n"), Write("main"), Close("main"))
        episode = await play(here.model, decisions)
    first, inserted, second = episode.trajectory.units
    (answer,) = episode.trajectory.reply
    lengths = [len(one.body["prompt"]) for one in here.server.generating]
    read = (first.seams, second.seams, answer.seams)
    assert [seams.tokens for seams in read if seams] == lengths
    assert [seams.runs for seams in read if seams] == [0, 1, 1]
    assert inserted.seams is None
    total = episode.trajectory.seams
    assert total
    assert (total.tokens, total.foreign) == (sum(lengths), 2 * inserted.tokens)


async def test_an_answer_for_which_the_context_has_no_room_is_a_full_context(stage: Open) -> None:
    async with stage(known=27) as here:
        decisions = (Insert("main", "so it is" * 9), Close("main"))
        episode = await play(here.model, decisions)
    assert episode.finish == "context full"


async def test_a_refused_request_ends_the_episode_and_says_why(
    seat: Seat, wordy: Tokenizer
) -> None:
    async with ScriptedServer(traits=["ids_refused"]) as server:
        model = await seat(server.url, tokenizer=wordy)
        episode = await play(model, Deciding(alone))
    assert episode.finish == "refused"
    last = episode.trajectory.log[-1]
    assert isinstance(last, Stopped)
    assert "must be a string" in last.why


async def test_a_server_that_reads_another_prompt_ends_the_episode(
    seat: Seat, wordy: Tokenizer, letters: Tokenizer
) -> None:
    async with ScriptedServer("So.</think>3", traits=["no_usage", "no_token_ids"]) as server:
        model = await seat(server.url, tokenizer=wordy)
        episode = await play(model, Deciding(alone))
    assert episode.finish == "prompt changed"


async def test_a_wrong_key_ends_no_episode_but_the_run(seat: Seat, wordy: Tokenizer) -> None:
    async with ScriptedServer(key="right") as server:
        model = await seat(server.url, tokenizer=wordy)
        with pytest.raises(Denied, match="401"):
            await play(model, Deciding(alone))


@pytest.mark.parametrize("until", [Answer(), End()])
async def test_an_answer_that_the_budget_cuts_is_none(stage: Open, until: Boundary) -> None:
    async with stage("So it is.</think>The answer is twelve, I think.") as here:
        whole = await play(here.model, Deciding(alone), until=until)
        tokens = whole.trajectory.tokens
        cut = await play(here.model, Deciding(alone), until=until, budget=tokens - 1)
    assert (whole.finish, cut.finish) == ("answered", "answer cut")


async def test_a_policy_that_goes_round_is_stopped(
    stage: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.episode.engine.STEPS", 20)
    turning = Deciding(lambda view: Rewind(0) if view.units else Insert("main", "x"))
    async with stage() as here:
        with pytest.raises(PolicyError, match="Deciding took 20 decisions without an end"):
            await play(here.model, turning)


@pytest.mark.parametrize(
    "decision",
    [
        Write("guid"),
        Write("guid", Share(of=0.5)),
        Insert("guid", "Hm."),
        Close("guid"),
    ],
    ids=repr,
)
async def test_an_unknown_seat_in_a_decision_names_the_seats(
    stage: Open, decision: Decision
) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match=r"'guid' is not in the team \(seats: main, other\)"):
            await play({"main": here.model, "other": here.model}, (decision,))
    assert here.prompts == []


@pytest.mark.parametrize("junk", [None, "main", 3, Write, ("main",)])
async def test_a_policy_that_returns_no_decision_is_told_so(stage: Open, junk: object) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match="which is not a decision"):
            await play(here.model, Deciding(lambda _: cast("Decision", junk)))  # junk on purpose


@pytest.mark.parametrize("decision", [Edit(0, "x"), Rewind(1), Rewind(-1), Choose(0)], ids=repr)
async def test_a_decision_about_units_that_are_not_there_is_refused(
    stage: Open, decision: Decision
) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match=r"allowed are|the trajectory has none"):
            await play(here.model, (decision,))


async def test_a_seat_without_a_recording_cannot_play_a_share(stage: Open) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match="'main' has no recording left"):
            await play(here.model, (Write("main", Length(tokens=4)),))


async def test_luck_is_the_same_for_a_case_and_step_and_no_other(stage: Open) -> None:
    def lucky() -> Playing:
        return Playing((Insert("main", "a"), Insert("main", "b"), Stop("")))

    async def luck(**changes: object) -> list[float]:
        policy = lucky()
        await play(here.model, policy, **changes)  # type: ignore[arg-type]  # keywords of play
        return [view.rng.random() for view in policy.views]

    async with stage() as here:
        first, again = await luck(), await luck()
        other, repeat = await luck(case="other"), await luck(replicate=1)
    assert first == again
    assert len({*first, *other, *repeat}) == 9


async def test_a_view_holds_the_question_and_never_its_answer(stage: Open) -> None:
    policy = Playing((Write("main"), Stop("")))
    async with stage() as here:
        await play(here.model, policy)
    for view in policy.views:
        assert view.question == QUESTION.messages
        assert "SECRET" not in repr([getattr(view, name) for name in View.__slots__[:-1]])
        assert not any(isinstance(getattr(view, name), Question) for name in View.__slots__)


async def test_a_side_question_stands_in_the_log_and_not_on_the_trajectory(stage: Open) -> None:
    @dataclass(frozen=True)
    class Asking:
        needs: ClassVar[frozenset[str]] = frozenset()

        async def decide(self, view: View) -> Decision:
            return Stop(await view.ask("main", "Is it right?"))

    def script(prompt: str) -> str:
        return "Yes." if "Is it right?" in prompt else WHOLE

    async with stage(script) as here:
        episode = await play(here.model, Asking())
    asked, stopped = episode.trajectory.log
    assert isinstance(asked, Asked)
    assert (asked.seat, asked.question, asked.reply) == ("main", "Is it right?", "Yes.")
    assert asked.tokens > 0
    assert stopped == Stopped("Yes.")
    assert episode.trajectory.thinking == ""
    assert (episode.sampled, episode.stored) == (1, 0)


def _several(prompt: str) -> list[str]:
    """Fifty ways to begin; then the end."""
    return (
        [f"Way {n}. So.</think>3" for n in range(50)] if prompt.endswith("k>\n") else ["</think>"]
    )


async def test_a_vetoed_unit_never_comes_back(stage: Open) -> None:
    tries = 6

    def veto(view: View) -> Decision:
        if view.step == 2 * tries:
            return Stop("")
        return Rewind(0) if view.units else Write("main", Sentence())

    async with stage(_several) as here:
        await play(here.model, Deciding(veto))
    seeds = [request.body["seed"] for request in here.server.generating]
    assert len(set(seeds)) == tries
    assert len(set(here.prompts)) == 1


@pytest.mark.parametrize("second", [Paragraph(), End(), Tokens(count=3), Words(count=2)], ids=repr)
async def test_a_vetoed_unit_does_not_come_back_under_another_boundary(
    stage: Open, second: Boundary
) -> None:
    decisions = (Write("main", Sentence()), Rewind(0), Write("main", second), Stop(""))
    async with stage(_several) as here:
        await play(here.model, decisions)
    one, two, *_ = (request.body["seed"] for request in here.server.generating)
    assert one != two


async def test_an_episodes_draws_are_never_bank_draws(stage: Open, store: Store) -> None:
    async with stage() as here:
        ((_solo, drawn),) = await here.model.solo(QUESTION, range(1), 400)
        episode = await play(here.model, Deciding(alone), until=Answer())
    assert drawn.draw == 0
    assert episode.sampled == 1
    (key,) = {key for unit in episode.trajectory.units for key in unit.generations}
    assert int(key.rpartition("-")[2]) >= BANK
    bank, fresh = (request.body["seed"] for request in here.server.generating)
    assert fresh - bank >= BANK


async def test_a_case_that_reports_a_bank_draw_takes_it_from_the_store(stage: Open) -> None:
    async with stage(_several) as here:
        bank = await here.model.solo(QUESTION, range(4), 400)
        sent = len(here.server.generating)
        episode = await play(here.model, Deciding(alone), until=Answer(), draw=2)
        assert len(here.server.generating) == sent
    recording, drawn = bank[2]
    assert (episode.sampled, episode.stored) == (0, 1)
    assert episode.trajectory.thinking == recording.text
    assert episode.trajectory.units[0].generations == (drawn.generation.key,)


async def test_a_case_played_again_samples_nothing_and_ends_the_same(stage: Open) -> None:
    async with stage() as here:
        first = await play(here.model, Deciding(alone))
        sent = len(here.server.generating)
        again = await play(here.model, Deciding(alone))
        assert len(here.server.generating) == sent
        await play(here.model, Deciding(alone), case="another")
        assert len(here.server.generating) > sent
    assert (again.sampled, again.stored) == (0, first.sampled)
    assert again.trajectory == first.trajectory


async def test_recorded_parts_follow_each_other_and_then_the_model_goes_on(stage: Open) -> None:
    recording = Recording("q", "We add 1 and 2.\n\nIt is 3.", tokens=0)
    decisions = (Write("main", Share(of=0.5)), Write("main", Share(of=1)), Write("main"), Stop(""))
    async with stage() as here:
        episode = await play(here.model, decisions, opening={"main": recording})
    assert texts(episode) == ["We add 1 and 2.\n\n", "It is 3.", " So we stop."]
    kinds = [unit.kind for unit in episode.trajectory.units]
    assert kinds == ["recorded", "recorded", "generated"]
    assert all(unit.tokens for unit in episode.trajectory.units)
    assert here.prompts == [f"{HEAD}{recording.text}"]


async def test_a_seat_with_nothing_but_a_recording_plays_it_under_every_boundary(
    stage: Open,
) -> None:
    async with stage() as here:
        seats: dict[str, Model | Recorded] = {"main": here.model, "guide": Recorded()}
        opening = {"guide": Recording("q", "Think. Well.", tokens=0)}
        twice = (Write("guide"), Write("guide"), Stop(""))
        episode = await play(seats, twice, opening=opening)
        assert texts(episode) == ["Think.", " Well."]
        with pytest.raises(PolicyError, match="no recording left to play"):
            await play(seats, (Write("guide"),) * 3, opening=opening)


async def test_whoever_watches_sees_every_event_and_the_text_as_it_comes(stage: Open) -> None:
    seen: list[tuple[int, str]] = []

    def watch(trajectory: Trajectory, text: str) -> None:
        seen.append((len(trajectory.log), text))

    async with stage() as here:
        case = Case("case", QUESTION, Playing((Write("main"), Stop(""))))
        team = Team({"main": here.model})
        await play_case(case, team, until=Sentence(), budget=99, watch=watch)
    growing = [text for count, text in seen if count == 0]
    assert growing
    assert all(two.startswith(one) for one, two in itertools.pairwise(growing))
    assert [count for count, text in seen if not text] == [1, 2]


async def test_whoever_watches_whole_units_changes_nothing_of_what_is_sent(stage: Open) -> None:
    seen: list[tuple[int, str]] = []

    def watch(trajectory: Trajectory, text: str) -> None:
        seen.append((len(trajectory.log), text))

    async with stage() as here:
        case = Case("case", QUESTION, Playing((Write("main"), Stop(""))))
        team = Team({"main": here.model})
        await play_case(case, team, until=Sentence(), budget=99, watch=watch, whole=True)
        assert not any(asked.body.get("stream") for asked in here.server.generating)
    assert seen == [(1, ""), (2, "")]


async def test_a_tag_is_a_signal_that_only_its_author_reads(stage: Open) -> None:
    text = "We add.\n<done>\nThen we stop.</think>3"
    async with stage(text) as here:
        seats = {"main": here.model, "other": here.model}
        until = Tag(tag="<done>")
        decisions = (Write("main", until), Write("main", Sentence()), Write("other"), Stop(""))
        episode = await play(seats, decisions)
    kinds = [(unit.text, unit.kind) for unit in episode.trajectory.units[:2]]
    assert kinds == [("We add.\n", "generated"), ("<done>", "signal")]
    assert "<done>" in here.prompts[1]
    assert "<done>" not in here.prompts[2]


async def test_a_pair_of_tags_and_what_is_between_them_is_one_signal(stage: Open) -> None:
    text = "We add.\n<call>64</call>\nThen we stop.</think>3"
    async with stage(text) as here:
        seats = {"main": here.model, "other": here.model}
        until = Tag(tag="</call>", opens="<call>")
        decisions = (Write("main", until), Write("other", Sentence()), Stop(""))
        episode = await play(seats, decisions)
    kinds = [(unit.text, unit.kind) for unit in episode.trajectory.units[:2]]
    assert kinds == [("We add.\n", "generated"), ("<call>64</call>", "signal")]
    assert "64" not in here.prompts[1]


async def test_an_inserted_signal_is_read_by_its_author_alone(stage: Open) -> None:
    async with stage() as here:
        seats = {"main": here.model, "other": here.model}
        insert = Insert("main", "</bigmodel>\n", signal=True)
        await play(seats, (insert, Write("other"), Write("main"), Stop("")))
    assert "</bigmodel>" not in here.prompts[0]
    assert "</bigmodel>" in here.prompts[1]


@dataclass(frozen=True)
class Doing:
    """A policy that does something on the side, then decides."""

    do: Callable[[View], Awaitable[Decision]]
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        return await self.do(view)


def judged(prompt: str) -> str:
    return " 7" if "Score" in prompt else " accept" if "Verdict" in prompt else WHOLE


async def test_a_score_and_a_choice_are_read_from_one_token_each(stage: Open) -> None:
    said: list[object] = []

    async def ask(view: View) -> Decision:
        said.append(await view.ask("main", "Score?", scale=range(10), lead="The score is"))
        said.append(await view.ask("main", "Verdict?", choices=("rewind", "accept")))
        return Stop("enough")

    async with stage(judged) as here:
        episode = await play(here.model, Doing(ask))
        bodies = [request.body for request in here.server.generating]
    assert said == [7.0, "accept"]
    assert [body["max_tokens"] for body in bodies] == [1, 1]
    assert [body["logprobs"] for body in bodies] == [20, 20]
    assert here.prompts[0].endswith("Score?</s>\n<|assistant|>\n<think>\n</think>The score is")
    score, choice, _ = episode.trajectory.log
    assert isinstance(score, Asked)
    assert isinstance(choice, Asked)
    assert score.chances["7"] == 1
    assert (choice.reply, choice.tokens, len(choice.generations)) == ("accept", 1, 1)


async def test_marks_before_an_option_are_read_past_token_by_token(stage: Open) -> None:
    async def ask(view: View) -> Decision:
        return Stop(await view.ask("main", "Verdict?", choices=("yes", "no")) or "nothing")

    def script(prompt: str) -> str:
        return recite("\n\nYes, it is.")(prompt)[0] if "</think>" in prompt else WHOLE

    async with stage(script) as here:
        episode = await play(here.model, Doing(ask))
        assert [request.body["max_tokens"] for request in here.server.generating] == [1, 1, 1]
        assert here.prompts[2].endswith("</think>\n\n")
    assert episode.trajectory.log[-1] == Stopped("yes")
    assert (episode.sampled, episode.stored) == (3, 0)


@pytest.mark.parametrize(
    ("reply", "read"), [("I would say No, not yes.", "no"), ("Perhaps.", "nothing")]
)
async def test_an_option_that_no_token_tells_is_looked_for_in_what_is_said(
    stage: Open, reply: str, read: str
) -> None:
    async def ask(view: View) -> Decision:
        return Stop(await view.ask("main", "Verdict?", choices=("yes", "no")) or "nothing")

    async with stage(lambda prompt: reply if prompt.endswith("</think>") else "") as here:
        episode = await play(here.model, Doing(ask))
        lengths = [request.body["max_tokens"] for request in here.server.generating]
    assert episode.trajectory.log[-1] == Stopped(read)
    assert lengths == [1, 64]


@pytest.mark.parametrize("choices", [("yes", "yes, but"), ("1", "10"), ("a", " A"), ("", "b")])
async def test_options_that_begin_alike_are_refused(stage: Open, choices: tuple[str, str]) -> None:
    async def ask(view: View) -> Decision:
        return Stop(await view.ask("main", "Which?", choices=choices) or "")

    async with stage() as here:
        with pytest.raises(
            PolicyError, match=r"Doing failed at step 0: option .* begins like another one"
        ):
            await play(here.model, Doing(ask))
        assert here.prompts == []


async def test_a_text_is_scored_behind_the_exact_trajectory(stage: Open) -> None:
    found: list[Likelihood] = []

    async def ask(view: View) -> Decision:
        if not view.units:
            return Write("main")
        for text in ("\nIt is 3.", "\nIt is 4."):
            found.append(await view.score(text, "main"))
        return Stop("enough")

    async with stage() as here:
        episode = await play(here.model, Doing(ask))
        scored = here.server.generating[1].body
    likely, unlikely = found
    tokens = len(here.tokenizer.encode("\nIt is 3."))
    assert likely.tokens == unlikely.tokens == tokens
    assert likely.logprob == pytest.approx(tokens * math.log(0.9), abs=1e-4)
    assert likely.logprob - unlikely.logprob > 4
    assert (scored["prompt_logprobs"], scored["max_tokens"]) == (1, 1)
    assert here.prompts[1] == f"{HEAD}We add 1 and 2.\n\nIt is 3."
    _, event, *_ = episode.trajectory.log
    assert isinstance(event, Scored)
    assert (event.text, event.logprob, event.tokens) == ("\nIt is 3.", likely.logprob, tokens)
    assert episode.trajectory.thinking == "We add 1 and 2.\n"


async def test_a_text_without_tokens_cannot_be_scored(stage: Open) -> None:
    async def ask(view: View) -> Decision:
        await view.score("", "main")
        return Stop("enough")

    async with stage() as here:
        with pytest.raises(PolicyError, match="the text has no tokens"):
            await play(here.model, Doing(ask))


async def test_side_questions_asked_at_once_stand_in_the_log_as_they_were_asked(
    stage: Open,
) -> None:
    async def ask(view: View) -> Decision:
        async with asyncio.TaskGroup() as group:
            for question in ("One?", "Two?", "Three?"):
                group.create_task(view.ask("main", question))
        return Stop("enough")

    async with stage("Yes.") as here:
        episode = await play(here.model, Doing(ask))
        again = await play(here.model, Doing(ask))
    asked = [event.question for event in episode.trajectory.log if isinstance(event, Asked)]
    assert asked == ["One?", "Two?", "Three?"]
    assert again.trajectory == episode.trajectory
    assert (again.sampled, again.stored) == (0, 3)


async def test_what_an_episode_cost_counts_the_store_as_the_server(stage: Open) -> None:
    def until(view: View) -> Decision:
        return Stop(f"{view.spent.completion} {view.spent.draws}") if view.units else Write("main")

    async with stage() as here:
        first = await play(here.model, Deciding(until))
        again = await play(here.model, Deciding(until))
    assert first.trajectory == again.trajectory
    stopped = first.trajectory.log[-1]
    assert isinstance(stopped, Stopped)
    tokens, draws = map(int, stopped.why.split())
    assert tokens >= first.trajectory.tokens > 0
    assert draws == 1


async def test_a_view_is_over_when_its_decision_is_taken(stage: Open) -> None:
    kept: list[View] = []

    async def ask(view: View) -> Decision:
        kept.append(view)
        if len(kept) < 2:
            return Insert("main", "x")
        with pytest.raises(PolicyError, match="whose decision is taken"):
            await kept[0].ask("main", "Still there?")
        with pytest.raises(PolicyError, match="whose decision is taken"):
            kept[0].prefetch(Write("main"))
        return Stop("over")

    async with stage() as here:
        await play(here.model, Doing(ask))
        with pytest.raises(PolicyError, match="whose decision is taken"):
            await kept[1].score("x", "main")
        assert here.prompts == []


async def test_a_policy_that_leaves_a_question_open_is_told_so(stage: Open) -> None:
    asking: list[asyncio.Task[str]] = []

    async def ask(view: View) -> Decision:
        asking.append(asyncio.create_task(view.ask("main", "Who waits?")))
        await asyncio.sleep(0)
        return Stop("not I")

    async with stage() as here:
        with pytest.raises(PolicyError, match="before a side question was answered"):
            await play(here.model, Doing(ask))
        await asyncio.gather(*asking)


async def test_a_policy_that_raises_is_named_with_its_step(stage: Open) -> None:
    def fail(view: View) -> Decision:
        return Insert("main", "x") if view.step < 2 else [][0]

    async with stage() as here:
        with pytest.raises(PolicyError, match="Deciding failed at step 2: IndexError: list index"):
            await play(here.model, Deciding(fail))


async def test_a_policy_that_never_decides_is_given_up(
    stage: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.episode.side_questions.PATIENCE", 0.05)

    async def dream(view: View) -> Decision:
        await view.ask("main", "Are you there?")  # takes longer, and that is no fault of its own
        await asyncio.Event().wait()
        return Stop("never")

    async with stage() as here:
        with pytest.raises(PolicyError, match=r"did not decide within 0\.05 s"):
            await play(here.model, Doing(dream))
        assert len(here.prompts) == 1


def swallow(view: View) -> Decision:
    while True:
        with suppress(Exception):
            "".join("going round and round")


def turn(view: View) -> Decision:
    while True:
        pass


@pytest.mark.parametrize("choose", [turn, swallow])
async def test_a_policy_that_lets_nothing_else_go_on_is_ended(
    stage: Open, monkeypatch: pytest.MonkeyPatch, choose: Callable[[View], Decision]
) -> None:
    monkeypatch.setattr("collab.episode.side_questions.PATIENCE", 0.05)
    async with stage() as here:
        with pytest.raises(PolicyError, match=r"blocked the event loop for 0\.05 s"):
            await play(here.model, Deciding(choose))
        monkeypatch.undo()
        episode = await play(here.model, Deciding(alone))  # and nothing of it is left behind
    assert episode.finish == "answered"


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()], ids=repr)
async def test_a_policy_that_would_end_more_than_its_episode_does_not(
    stage: Open, error: BaseException
) -> None:
    def fail(view: View) -> Decision:
        raise error

    async with stage() as here:
        with pytest.raises(PolicyError, match=f"failed at step 0: {type(error).__name__}"):
            await play(here.model, Deciding(fail))


async def test_a_policy_that_is_not_async_is_told_so(stage: Open) -> None:
    class Plain:
        needs: ClassVar[frozenset[str]] = frozenset()

        def decide(self, view: View) -> Decision:
            return Stop("at once")

    async with stage() as here:
        with pytest.raises(PolicyError, match="write `async def decide`"):
            await play(here.model, cast("Policy", Plain()))  # what a newcomer may write


async def test_a_policy_that_asks_for_ever_is_stopped(
    stage: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.episode.side_questions.ASIDES", 3)

    async def nag(view: View) -> Decision:
        while True:
            await view.ask("main", "And now?")

    async with stage("Yes.") as here:
        with pytest.raises(PolicyError, match="asked 3 side questions in one decision"):
            await play(here.model, Doing(nag))


@pytest.mark.parametrize(
    "memo", [{1, 2}, float("nan"), object()], ids=["a set", "nan", "an object"]
)
async def test_a_memo_that_is_no_json_is_refused(stage: Open, memo: object) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match="memo that is not JSON"):
            await play(here.model, (Stop("x", memo=cast("Json", memo)),))


async def test_what_is_done_to_a_memo_later_changes_nothing(stage: Open) -> None:
    memo: list[Json] = [1]

    def spoil(view: View) -> Decision:
        if view.step == 0:
            return Insert("main", "a", memo=memo)
        memo.append(2)
        assert view.memo == [1]
        cast("list[Json]", view.memo).append(3)
        return Stop("over")

    async with stage() as here:
        episode = await play(here.model, Deciding(spoil))
    first = episode.trajectory.log[0]
    assert isinstance(first, Wrote)
    assert first.memo == [1]


def prefetching(*path: Decision) -> Callable[[View], Awaitable[Decision]]:
    """Write, begin a path ahead while a side question is asked, then go on alone."""

    async def decide(view: View) -> Decision:
        if len(view.units) == 1 and not view.log[1:]:
            view.prefetch(*path)
            await view.ask("main", "Right?")
        return alone(view)

    return decide


def thinking_or_yes(prompt: str) -> str:
    return "Yes." if "Right?" in prompt else recite(WHOLE)(prompt)[0]


async def test_a_write_begun_ahead_is_used_if_it_is_what_is_decided(stage: Open) -> None:
    async with stage(thinking_or_yes) as here:
        plain = await play(here.model, Doing(prefetching(Rewind(0), Write("main"))), case="a")
        sent = len(here.server.generating)
        ahead = await play(here.model, Doing(prefetching(Write("main"))), case="a")
        assert len(here.server.generating) == sent
    assert ahead.trajectory == plain.trajectory
    assert (ahead.sampled, ahead.stored) == (0, plain.sampled)


async def test_what_is_written_ahead_is_what_would_have_been_written(stage: Open) -> None:
    async with stage(thinking_or_yes) as here:
        ahead = await play(here.model, Doing(prefetching(Write("main", why="soon"))))
        bodies = [request.body for request in here.server.generating]
        again = await play(here.model, Doing(prefetching(Rewind(0), Write("main"))))
        assert len(here.server.generating) == len(bodies)
    assert again.trajectory == ahead.trajectory
    assert [unit.why for unit in ahead.trajectory.units] == ["", "", ""]
    assert [body.get("stream", False) for body in bodies].count(True) == 1


async def test_a_path_of_decisions_is_followed_one_by_one(stage: Open) -> None:
    path = (Rewind(0), Insert("main", "So "[:2]), Write("main"))

    async def decide(view: View) -> Decision:
        if view.step == 0:
            return Write("main")
        if view.step == 1:
            view.prefetch(*path)
            await asyncio.sleep(0)
        return (*path, Stop("over"))[view.step - 1]

    async with stage(_several) as here:
        await play(here.model, Doing(decide))
        assert len(here.server.generating) == 2
    assert here.prompts[1] == f"{HEAD}So"


async def test_a_write_that_is_not_decided_is_stopped_on_the_server_and_never_served(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    def script(prompt: str) -> str:
        return " on and on" * 900 if prompt.endswith("Go.") else "Go. Stay. So.</think>3"

    async with ScriptedServer(script, tokenizer=spoken(wordy)) as server:
        model = await seat(server.url, tokenizer=wordy)

        async def decide(view: View) -> Decision:
            if view.step == 0:
                return Write("main", Sentence())
            if view.step == 1:
                view.prefetch(Write("main", End()))
                await server.until(lambda seen: len(seen.generating) == 2)
                return Rewind(0)
            return Stop("over")

        episode = await play(model, Doing(decide), budget=4000)
        await server.until(lambda seen: seen.aborted == 1)
        assert episode.trajectory.thinking == ""
        assert episode.sampled == 1
        assert episode.finish == "stopped"


@pytest.mark.parametrize("path", [(), (Stop("x"),), (Write("main"), Rewind(0))], ids=repr)
async def test_a_path_that_ends_in_no_write_is_refused(
    stage: Open, path: tuple[Decision, ...]
) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match="must end in Write or Close"):
            await play(here.model, Doing(prefetching(*path)))


async def test_an_answer_may_be_begun_ahead(stage: Open) -> None:
    async def decide(view: View) -> Decision:
        if view.closed_by:
            view.prefetch(Close("main"))
            await asyncio.sleep(0)
        return alone(view)

    async with stage() as here:
        episode = await play(here.model, Doing(decide), until=End())
        assert here.server.generating[-1].body["stream"]
    assert episode.trajectory.answer == "The answer is 3."


async def test_whoever_watches_reads_what_was_written_ahead_from_its_begin(stage: Open) -> None:
    seen: list[tuple[int, str]] = []

    def watch(trajectory: Trajectory, text: str) -> None:
        seen.append((len(trajectory.units), text))

    async with stage(thinking_or_yes) as here:
        case = Case("case", QUESTION, Doing(prefetching(Write("main"))))
        team = Team({"main": here.model})
        await play_case(case, team, until=Sentence(), budget=99, watch=watch)
    second = [text for count, text in seen if count == 1 and text]
    assert second
    assert all("\nIt is 3. So".startswith(text) for text in second)


@dataclass(frozen=True)
class Part:
    """Write one unit, then stop or answer."""

    seat: str = "main"
    answers: bool = False
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        if view.step == 0:
            return Write(self.seat, End() if self.answers else Sentence())
        return Close(self.seat) if self.answers else Stop("one unit")


def _ways(prompt: str) -> list[str]:
    rest = ["</think>4", "</think>5"]
    return [f"Way {n}. So." for n in range(50)] if prompt.endswith(("k>\n", "So.")) else rest


async def test_branches_draw_apart_and_the_chosen_one_goes_on(stage: Open) -> None:
    def choose(view: View) -> Decision:
        if not view.log:
            return Fork((Branch(Part()), Branch(Part()), Branch(Part())), why="three ways")
        if not view.units:
            best = max(range(3), key=lambda n: view.branches[n].thinking)
            return Choose(best, why="the last in the alphabet")
        return Stop("chosen")

    async with stage(_ways) as here:
        episode = await play(here.model, Deciding(choose))
        again = await play(here.model, Deciding(choose))
        other = await play(here.model, Deciding(choose), case="another")
    texts_ = [one.thinking for one in episode.trajectory.branches]
    assert len(set(texts_)) == 3
    assert episode.trajectory.thinking == max(texts_)
    assert [one.finish for one in episode.trajectory.branches] == ["stopped"] * 3
    forked, chose, _ = episode.trajectory.log
    assert isinstance(forked, Forked)
    assert forked.why == "three ways"
    assert chose == Chose(texts_.index(max(texts_)), "the last in the alphabet")
    assert (episode.sampled, again.sampled, again.stored) == (3, 0, 3)
    assert again.trajectory == episode.trajectory
    assert [one.thinking for one in other.trajectory.branches] != texts_
    assert Trajectory.replay(episode.trajectory.log) == episode.trajectory


async def test_a_branch_starts_where_it_is_told_to(stage: Open) -> None:
    opening = (Insert("other", "Hint.\n"),)

    def fork(view: View) -> Decision:
        if not view.units:
            return Write("main")
        if not view.branches:
            bare = Branch(Part("other"), opening, empty=True)
            return Fork((Branch(Part()), Branch(Part(), opening), bare))
        return Stop("over")

    async with stage(_ways) as here:
        await play({"main": here.model, "other": here.model}, Deciding(fork))
        first, *branches = here.prompts
    way = first.removeprefix(HEAD)
    assert way == ""
    so_far = branches[0]
    assert so_far.startswith(f"{HEAD}Way ")
    assert sorted(branches) == sorted([so_far, f"{so_far}Hint.\n", f"{HEAD}Hint.\n"])


async def test_a_chosen_branch_that_answered_ends_the_episode(stage: Open) -> None:
    def fork(view: View) -> Decision:
        return Choose(1) if view.branches else Fork((Branch(Part()), Branch(Part(answers=True))))

    async with stage(lambda prompt: "4" if prompt.endswith("</think>") else "So.</think>") as here:
        episode = await play(here.model, Deciding(fork))
    assert episode.finish == "answered"
    assert (episode.trajectory.thinking, episode.trajectory.answer) == ("So.", "4")
    units = [*episode.trajectory.generated]
    assert len(units) == 3
    assert sum(unit.phase == "answer" for unit in units) == 1


async def test_a_branch_that_cannot_go_on_ends_alone(stage: Open) -> None:
    def fork(view: View) -> Decision:
        if view.branches:
            return Stop("over")
        long = Branch(Part(), (Insert("main", "so it is" * 20),))
        return Fork((long, Branch(Part())))

    async with stage(_ways, known=60) as here:
        episode = await play(here.model, Deciding(fork))
    assert [one.finish for one in episode.trajectory.branches] == ["context full", "stopped"]


async def test_a_broken_branch_breaks_the_episode_by_its_own_name(stage: Open) -> None:
    broken = Branch(Deciding(lambda view: Write("guid")))

    async with stage(_ways) as here:
        with pytest.raises(PolicyError, match="'guid' is not in the team"):
            await play(here.model, (Fork((Branch(Part()), broken)),))


@pytest.mark.parametrize("count", [0, 257])
async def test_a_fork_has_a_bounded_number_of_branches(stage: Open, count: int) -> None:
    async with stage() as here:
        with pytest.raises(PolicyError, match=f"forks into {count} branches"):
            await play(here.model, (Fork((Branch(Part()),) * count),))


async def test_forks_within_forks_have_an_end(stage: Open) -> None:
    again = Deciding(lambda view: Fork((Branch(again),)))

    async with stage() as here:
        with pytest.raises(PolicyError, match="at depth 8; allowed are 1 to 256, 8 deep"):
            await play(here.model, again)


async def test_any_seat_may_answer_and_its_prompt_is_its_own(stage: Open) -> None:
    async with stage() as here:
        seats = {"main": here.model, "other": here.model}
        decisions = (Write("main", Tag(tag="add")), Write("main"), Close("other", why="yours"))
        episode = await play(seats, decisions)
    (answer,) = episode.trajectory.reply
    assert (answer.author, answer.why) == ("other", "yours")
    assert "add" in here.prompts[1]
    assert "add" not in here.prompts[2]
