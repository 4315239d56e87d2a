from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import httpx2
import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as RawTokenizer

from collab.core.boundary import (
    Answer,
    Boundary,
    End,
    Paragraph,
    Regex,
    Sentence,
    Tag,
    Tokens,
    Words,
    cut_at_share,
)
from collab.core.decision import Decision, Stop, Write
from collab.core.policy import Inquiry, View
from collab.core.sampling import Generation, OnCut, OnText, Request, Sampling
from collab.core.trajectory import Message, Question, Recording, Trajectory, Unit, Wrote
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.profile import Profile
from collab.endpoints.scripted import Script, ScriptedServer, recite
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, Episode, play_case
from collab.episode.reasoner import Recorded, Turn, WrittenTurn
from collab.episode.team import Team
from collab.errors import ContextFull, PolicyError
from collab.pocket.family import problems
from collab.pocket.styles import STYLES
from collab.policies.alternate import Alternate
from collab.policies.distractor import Distractor
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.store.store import Store
from collab.templates.template import Template

if TYPE_CHECKING:
    from collab.endpoints.scripted import WordTokenizer as ScriptedWords
    from tests.conftest import Seat, Served

    Spoken = Callable[[Tokenizer], ScriptedWords]

    class Sit(Protocol):
        async def __call__(
            self, name: str = ..., *, temperature: float = ..., text: bool = ...
        ) -> Model: ...


GREEDY = Sampling(temperature=0)


@pytest.fixture
def sit(seat: Seat, pocket: Served) -> Sit:
    """Return how to put a pocket model in a seat."""

    async def put(name: str = "plain", *, temperature: float = 0.6, text: bool = False) -> Model:
        return await seat(
            pocket.url,
            name,
            tokenizer=pocket.tokenizer,
            template=pocket.template,
            text=text,
            sampling=Sampling(temperature=temperature),
        )

    return put


def asked(level: str, count: int, seed: int = 0) -> list[Question]:
    made = problems(level, count, seed)
    return [Question(one.id, (Message("user", one.text),), str(one.answer)) for one in made]


def turn(
    until: Boundary, *written: Unit, budget: int = 99, question: Question | None = None
) -> Turn:
    return Turn(
        seat="main",
        question=question or Question("q", (Message("user", "1 + 2?"),)),
        trajectory=Trajectory.replay([Wrote(unit) for unit in written]),
        phase="thinking",
        until=until,
        budget=budget,
        number=lambda request: 0,
    )


@asynccontextmanager
async def scripted(
    seat: Seat, tokenizer: Tokenizer, words: Spoken, script: Script
) -> AsyncIterator[tuple[Model, ScriptedServer]]:
    async with ScriptedServer(script, tokenizer=words(tokenizer)) as server:
        yield await seat(server.url, tokenizer=tokenizer), server


@pytest.mark.parametrize(
    "until",
    [Sentence(), Paragraph(), Tokens(count=7), Words(count=5), Regex(pattern="is [0-9]")],
    ids=repr,
)
async def test_greedy_solo_unit_by_unit_is_one_shot_solo_token_for_token(
    sit: Sit, until: Boundary
) -> None:
    model = await sit("plain", temperature=0)
    team = Team({"main": model})

    async def both(question: Question) -> None:
        cases = [Case(f"{question.id}/{name}", question, Solo()) for name in ("whole", "parts")]
        whole = await play_case(cases[0], team, until=Answer(), budget=90)
        parts = await play_case(cases[1], team, until=until, budget=90)
        assert ids(parts, "thinking") == ids(whole, "thinking")
        assert ids(parts, "answer") == ids(whole, "answer")
        assert parts.finish == whole.finish
        assert parts.trajectory.thinking == whole.trajectory.thinking
        if not isinstance(until, Paragraph):
            assert len(parts.trajectory.units) > len(whole.trajectory.units)

    async with asyncio.TaskGroup() as group:
        for question in (*asked("easy", 2), *asked("middle", 1)):
            group.create_task(both(question))


def ids(episode: Episode, phase: str) -> list[int]:
    trajectory = episode.trajectory
    units = trajectory.units if phase == "thinking" else trajectory.reply
    return [index for unit in units for index in unit.ids or ()]


@dataclass(frozen=True)
class Opening:
    """The distractor policy for as long as it plays the opening; then one token by `main`."""

    inner: Distractor
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        if any(unit.kind == "generated" for unit in view.units):
            return Stop("seen")
        decision = await self.inner.decide(view)
        own = isinstance(decision, Write) and decision.until is None
        return Write("main", Tokens(count=1)) if own else decision


async def recordings_of(model: Model, question: Question) -> list[Recording]:
    """What the model itself drew (with ids), and lessons with blank lines in them (without)."""
    drawn = [recording for recording, _ in await model.solo(question, range(8), 60)]
    rng = random.Random(0)
    (problem,) = (one for one in problems("easy", 2) if one.id == question.id)
    lessons = []
    for style in STYLES.values():
        lines = [sentence.text for sentence in style(problem, rng)]
        text = "".join(line + "\n" * rng.randint(0, 2) for line in lines)
        lessons.append(Recording(question.id, text, 0))
    return [recording for recording in (*drawn, *lessons) if recording.text]


@pytest.mark.parametrize(("text", "count"), [(False, 200), (True, 20)], ids=["ids", "text"])
async def test_the_prompt_that_reaches_the_server_is_the_trajectory_token_for_token(
    sit: Sit, pocket: Served, text: bool, count: int
) -> None:
    model = await sit("plain", text=text)
    recordings = [
        recording
        for question in asked("easy", 2)
        for recording in await recordings_of(await sit("plain"), question)
    ]
    rng = random.Random(1)
    policies = [
        Distractor(at=rng.choice((0, 0.2, 0.4, 0.6, 0.8)), length=rng.choice((0.2, 0.4, 0.6)))
        for _ in range(count)
    ]
    question = asked("easy", 1)[0]
    cases = [
        Case(
            f"{number}",
            question,
            Opening(policy),
            {"main": rng.choice(recordings), "distractor": rng.choice(recordings)},
        )
        for number, policy in enumerate(policies)
    ]
    team = Team({"main": model, "distractor": Recorded()})
    head = f"<|user|>\n{question.messages[0].content}<|end|>\n<|assistant|>\n<think>\n"
    pocket.heard.clear()
    played = (play_case(case, team, until=Sentence(), budget=4000) for case in cases)
    episodes = await asyncio.gather(*played)
    expected = set()
    for case, episode in zip(cases, episodes, strict=True):
        *before, own = episode.trajectory.units
        assert own.kind == "generated"
        expected.add(laid(pocket.tokenizer, head, before, text))
        assert_opening(case, "".join(unit.text for unit in before))
    assert set(pocket.heard) == expected
    texts = {head + opened(episode) for episode in episodes}
    assert {pocket.tokenizer.decode(heard) for heard in pocket.heard} == texts
    assert {read.count("<think>") for read in texts} == {1}
    assert {read.count("</think>") for read in texts} == {0}
    assert any("\n\n" in read for read in texts)
    assert {heard[0] for heard in pocket.heard} == {pocket.tokenizer.encode("<|user|>")[0]}
    await assert_same_tokens(pocket, max(texts, key=len))


def opened(episode: Episode) -> str:
    """The thinking before the token that `main` wrote."""
    return "".join(unit.text for unit in episode.trajectory.units[:-1])


def assert_opening(case: Case, thinking: str) -> None:
    """An own part, the phrase on a new line, the steer: not a character more or less."""
    assert isinstance(case.policy, Opening)
    policy, main, other = case.policy.inner, case.opening["main"], case.opening["distractor"]
    own = main.text[: cut_at_share(main, policy.at).chars]
    steer = other.text[: cut_at_share(other, policy.length).chars]
    line = "" if not own or own.endswith("\n") else "\n"
    assert thinking == own + line + policy.phrase + steer


def laid(tokenizer: Tokenizer, head: str, units: list[Unit], text: bool) -> tuple[int, ...]:
    """What the server must read: known ids as they are, all else encoded run by run."""
    if text:
        return tokenizer.encode(head + "".join(unit.text for unit in units))
    expected, run = tokenizer.encode(head), ""
    for unit in units:
        if unit.ids is None:
            run += unit.text
        else:
            expected += tokenizer.encode(run) + unit.ids
            run = ""
    return expected + tokenizer.encode(run)


async def assert_same_tokens(pocket: Served, text: str) -> None:
    """The server's own tokenizer agrees with the one on this side."""
    async with httpx2.AsyncClient(base_url=pocket.url, trust_env=False, verify=False) as client:
        body = {"model": "plain", "prompt": text, "add_special_tokens": False}
        tokens = (await client.post("/tokenize", json=body)).json()["tokens"]
        back = {"model": "plain", "tokens": tokens}
        again = (await client.post("/detokenize", json=back)).json()["prompt"]
    assert tuple(tokens) == pocket.tokenizer.encode(text)
    assert again == text


async def test_two_models_with_different_tokenizers_each_read_their_own_ids(
    sit: Sit, seat: Seat, wordy: Tokenizer, spoken: Spoken, pocket: Served
) -> None:
    pocket_model = await sit("restating")
    (question,) = asked("easy", 1)
    async with scripted(seat, wordy, spoken, lambda _: " So we add. Then") as (other, server):
        team = Team({"main": pocket_model, "partner": other})
        pocket.heard.clear()
        policy = Alternate(seats=("partner", "main"), units=2)
        case = Case("pair", question, policy)
        episode = await play_case(case, team, until=Tokens(count=4), budget=60)
    units = episode.trajectory.units
    assert {unit.author for unit in units} == {"main", "partner"}
    for author, tokenizer in (("main", pocket.tokenizer), ("partner", wordy)):
        mine = [unit for unit in units if unit.author == author]
        assert {unit.tokenizer for unit in mine} == {tokenizer.fingerprint}
        assert all(tokenizer.decode(unit.ids or ()) == unit.text for unit in mine)
    sent = [tuple(request.body["prompt"]) for request in server.generating]
    assert len(sent) == sum(unit.author == "partner" for unit in units)
    place = [index for index, unit in enumerate(units) if unit.author == "partner"][2]
    head = other.dialect.prompt(question.messages, Trajectory(), "thinking", "partner").prompt
    assert isinstance(head, tuple)
    foreign = "".join(unit.text for unit in units[2:4])
    known = [index for unit in units[:2] for index in unit.ids or ()]
    assert place == 4
    assert sent[2] == (*head, *known, *wordy.encode(foreign))
    heard = pocket.heard[1]
    begin = "".join(unit.text for unit in units[:2])
    head_text = f"<|user|>\n{question.messages[0].content}<|end|>\n<|assistant|>\n<think>\n"
    expected = pocket.tokenizer.encode(head_text) + pocket.tokenizer.encode(begin)
    assert heard == expected + (units[2].ids or ())


async def write(model: Model, until: Boundary, *written: Unit, budget: int = 99) -> WrittenTurn:
    return await model.write(turn(until, *written, budget=budget))


@pytest.mark.parametrize(
    ("until", "said", "unit", "reached"),
    [
        (Sentence(), "It is 4. So", "It is 4.", "boundary"),
        (Sentence(), "Pi is 3.5 or so. Yes", "Pi is 3.5 or so.", "boundary"),
        (Sentence(), "1. First we add. Then", "1. First we add.", "boundary"),
        (Sentence(), 'He said "stop." Then', 'He said "stop."', "boundary"),
        (Sentence(), "so</think>3", "so", "end"),
        (Sentence(), "</think>3", "", "end"),
        (Sentence(), "so it ends", "so it ends", "turn over"),
        (Paragraph(), "One. Two.\n\nThree", "One. Two.\n\n", "boundary"),
        (Tokens(count=3), "a b c d e", None, "boundary"),
        (Words(count=2), "so it is", "so it", "boundary"),
        (Words(count=2), "so it</think>3", "so it", "end"),
        (Words(count=1), "?\n\n?\n", "?", "boundary"),
        (Regex(pattern="= [0-9]"), "so = 4 = 5", "so = 4", "boundary"),
        (End(), "One.\n\nTwo.</think>3", "One.\n\nTwo.", "end"),
        (Tag(tag="<done>"), "<done>", "<done>", "boundary"),
    ],
)
async def test_a_unit_ends_where_its_boundary_says(
    seat: Seat,
    wordy: Tokenizer,
    spoken: Spoken,
    until: Boundary,
    said: str,
    unit: str | None,
    reached: str,
) -> None:
    async with scripted(seat, wordy, spoken, recite(said)) as (model, _):
        written = await write(model, until)
    (one,) = written.units
    assert one.ids is not None
    assert (one.text, one.tokens) == (wordy.decode(one.ids), len(one.ids))
    assert written.reached == reached
    if unit is None:
        assert one.tokens == 3
    else:
        assert one.text == unit


@pytest.mark.parametrize(("until", "stops"), [(End(), ["</think>"]), (Answer(), [])], ids=repr)
async def test_a_server_stops_at_the_close_unless_it_writes_through_to_the_answer(
    seat: Seat, wordy: Tokenizer, spoken: Spoken, until: Boundary, stops: list[str]
) -> None:
    async with scripted(seat, wordy, spoken, recite("so</think>3")) as (model, server):
        await write(model, until)
    assert [request.body["stop"] for request in server.generating] == [stops]


async def test_a_boundary_inside_a_token_keeps_the_token_and_so_never_stands_still(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    async with scripted(seat, wordy, spoken, recite(" answer is")) as (model, _):
        written = await write(model, Regex(pattern="n"))
    (unit,) = written.units
    assert (unit.text, unit.tokens) == (" answer", 1)


@dataclass
class Going:
    """Goes on with the same tokens, however few it is asked for."""

    ids: tuple[int, ...]
    profile: Profile = Profile()  # noqa: RUF009 - a frozen value
    oddities: Mapping[str, int] = field(default_factory=dict)

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        said, self.ids = self.ids[: request.max_tokens], self.ids[request.max_tokens :]
        return [Generation("", said, "length", completion_tokens=len(said))]

    async def ends(self, text: str) -> tuple[int, ...] | None:
        return None


@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_a_number_of_tokens_ends_no_unit_inside_a_character(
    letters: Tokenizer, store: Store, count: int
) -> None:
    dialect = IdsDialect(Frame(Template("Q")), letters)
    endpoint = Going(letters.encode("a日b"))
    model = Model("bytes", endpoint, dialect, letters, store, Sampling())
    (unit,) = (await write(model, Tokens(count=count))).units
    assert (unit.text, unit.tokens) == (("a", 1) if count == 1 else ("a日", 4))
    assert unit.ids == letters.encode(unit.text)


async def test_a_run_of_others_text_is_encoded_as_one_piece(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    parts = [Unit("guide", "The ans", "inserted"), Unit("other", "wer", "recorded")]
    async with scripted(seat, wordy, spoken, " is") as (model, server):
        await write(model, End(), *parts)
    prompt = tuple(server.generating[0].body["prompt"])
    whole, apart = wordy.encode("The answer"), wordy.encode("The ans") + wordy.encode("wer")
    assert prompt[-len(whole) :] == whole
    assert len(whole) < len(apart)


async def test_a_unit_cut_out_of_a_longer_text_counts_only_its_own_tokens(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    async with scripted(seat, wordy, spoken, recite("It is 4. So we")) as (model, _):
        written = await write(model, Sentence())
    (unit,) = written.units
    assert unit.ids == wordy.encode("It is 4.")
    assert [drawn.fresh for drawn in written.drawn] == [True]


async def test_a_close_tag_that_is_a_special_token_still_closes_the_thinking(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    raw = RawTokenizer.from_str(wordy.raw.to_str())
    raw.add_special_tokens([AddedToken("</think>", special=True, normalized=False)])
    special = raw.token_to_id("</think>")
    assert special is not None
    tokenizer = replace(wordy, raw=raw, end_ids=wordy.end_ids | {special})
    async with scripted(seat, tokenizer, spoken, recite("so it is</think>3")) as (model, server):
        written = await write(model, End())
    assert (written.units[0].text, written.reached) == ("so it is", "end")
    assert len(server.generating) == 1


async def test_without_a_tokenizer_the_budget_counts_what_the_server_counted(seat: Seat) -> None:
    async with ScriptedServer(lambda _: " so" * 99, traits=["no_token_ids"]) as server:
        model = await seat(server.url)
        opening = Unit("main", " so" * 20, "generated", tokens=20)
        written = await write(model, End(), opening, budget=25)
    assert (written.reached, written.units[0].tokens) == ("length", 5)
    assert written.units[0].ids is None
    assert server.generating[0].body["max_tokens"] == 5
    assert server.generating[0].body["prompt"].endswith("<think>\n" + " so" * 20)


async def test_a_server_that_shortens_what_does_not_fit_is_noticed(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    question = Question("q", (Message("user", "1 + 2?"),))
    async with ScriptedServer(
        lambda _: " so" * 99, traits=["context_hidden"], context=64, tokenizer=spoken(wordy)
    ) as server:
        model = await seat(server.url, tokenizer=wordy)
        with pytest.raises(ContextFull, match="of 99 tokens, at 64 with the prompt; set"):
            await model.solo(question, range(2), 99)
        written = await write(model, End())
    assert written.reached == "context"
    assert written.units[0].tokens == written.drawn[0].generation.completion_tokens > 0
    assert written.drawn[0].generation.finish == "context"


async def test_what_a_seat_is_asked_goes_on_from_the_thinking_it_may_read(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    async with scripted(seat, wordy, spoken, "Yes.") as (model, server):
        mine = Unit("main", "<mine>", "signal")
        other = Unit("other", "<theirs>", "signal")
        written = [Unit("main", "We add.", "generated"), mine, other]
        reply = await model.advise(turn(Answer(), *written), Inquiry("Right?"))
    prompt = wordy.decode(server.generating[0].body["prompt"])
    assert reply.answer.text == "Yes."
    assert "We add.<mine>\n\nRight?" in prompt
    assert "<theirs>" not in prompt
    assert prompt.endswith("<think>\n</think>")


async def test_a_bare_recording_neither_goes_on_nor_gives_advice() -> None:
    seat = Recorded()
    with pytest.raises(PolicyError, match="no recording left to play"):
        await seat.write(turn(Sentence()))
    with pytest.raises(PolicyError, match="cannot be asked"):
        await seat.advise(turn(Sentence()), Inquiry("Right?"))
    with pytest.raises(PolicyError, match="cannot score"):
        await seat.score(turn(Sentence()), "Right")
    assert seat.count("text") is None


async def test_a_bank_draw_splits_into_thinking_and_answer(
    seat: Seat, wordy: Tokenizer, spoken: Spoken
) -> None:
    question = Question("q", (Message("user", "1 + 2?"),))
    script = ["One.\n\nTwo.</think>\n\nThree.", "One", "</think>"]
    async with scripted(seat, wordy, spoken, lambda _: script) as (model, _):
        drawn = [one for one, _ in await model.solo(question, range(3), 99)]
    drawn.sort(key=lambda one: script.index(f"{one.text}{'</think>' * one.closed}{one.answer}"))
    split, unclosed, empty = drawn
    assert (split.text, split.answer, split.closed) == ("One.\n\nTwo.", "\n\nThree.", True)
    assert split.ids == wordy.encode(split.text)
    assert split.ends is not None
    assert split.ends[-1] == len(split.text)
    assert cut_at_share(split, 0.5).counted == "tokens"
    assert (unclosed.text, unclosed.answer, unclosed.closed) == ("One", "", False)
    assert (empty.text, empty.answer, empty.closed, empty.ids) == ("", "", True, ())
    assert [one.draw for one in sorted(drawn, key=lambda one: one.draw or 0)] == [0, 1, 2]


async def test_a_share_of_a_models_own_draw_goes_back_as_the_tokens_it_wrote(
    sit: Sit, pocket: Served
) -> None:
    model = await sit("plain")
    (question,) = asked("easy", 1)
    ((recording, _),) = await model.solo(question, range(1), 60)
    pocket.heard.clear()
    case = Case("own", question, Opening(Distractor(at=0.5)), {"main": recording})
    await play_case(case, Team({"main": model}), until=Sentence(), budget=400)
    cut = cut_at_share(recording, 0.5)
    assert recording.ids is not None
    (heard,) = pocket.heard
    assert heard[-cut.tokens :] == recording.ids[: cut.tokens]


async def test_a_draw_that_is_cancelled_stops_the_server_and_stays_in_the_store_as_partial(
    seat: Seat, letters: Tokenizer, spoken: Spoken, tmp_path: Path
) -> None:
    reading = asyncio.Event()
    async with scripted(seat, letters, spoken, "on and on " * 500) as (model, server):
        along = replace(turn(Answer(), budget=4000), on_text=lambda _: reading.set())
        writing = asyncio.create_task(model.write(along))
        await reading.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await server.until(lambda seen: seen.aborted == 1)
        (again,) = await model.solo(along.question, range(1), 20)
    kept = sqlite3.connect(tmp_path / "store.sqlite")
    keys = [len(key) for (key,) in kept.execute("SELECT key FROM generations")]
    assert sorted(keys) == [20, 24]  # the whole draw, and the partial one under a key of its own
    kept.close()
    assert again[1].fresh


@dataclass(frozen=True)
class Layer:
    """A dialect that notes in which thread it lays a prompt out."""

    inner: IdsDialect
    threads: list[int]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def prompt(self, *given: Any) -> object:  # any: passed on
        self.threads.append(threading.get_ident())
        return self.inner.prompt(*given)


@pytest.mark.parametrize(("times", "apart"), [(1, False), (4_000, True)])
async def test_much_text_of_others_is_encoded_beside_the_loop(
    letters: Tokenizer, store: Store, times: int, apart: bool
) -> None:
    inner, threads = IdsDialect(Frame(Template("Q")), letters), list[int]()
    layer = cast("IdsDialect", Layer(inner, threads))  # it passes on all that it lacks
    model = Model("bytes", Going(letters.encode("abc")), layer, letters, store, Sampling())
    await write(model, Tokens(count=2), Unit("guide", "so " * times, "recorded"), budget=99_999)
    assert (threads[0] != threading.get_ident()) is apart
