"""What holds of every episode, whatever its policy does: arbitrary ones, and all that we ship."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import ClassVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

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
from collab.core.policy import Policy, View, seats_of
from collab.core.sampling import Generation, OnCut, OnText, Request, Sampling
from collab.core.trajectory import (
    Asked,
    Chose,
    Edited,
    Event,
    Forked,
    Message,
    Question,
    Rewound,
    Scored,
    Trajectory,
    Unit,
    UnitKind,
    Wrote,
)
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.profile import Profile
from collab.endpoints.scripted import TEMPLATE, ScriptedServer
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.errors import Unreachable
from collab.reasoners.model import Model
from collab.store.draw_keys import digest_of, key_of
from collab.store.store import Store
from collab.templates.template import Template
from tests.conftest import Spoken
from tests.policies.test_contract import FORMS

QUESTION = Question("q", (Message("user", "1 + 2?"),))
BUDGET = 120
HEAD = "<|user|>\n1 + 2?</s>\n<|assistant|>\n<think>\n"
LOG = TypeAdapter(tuple[Event, ...])
SEATS = ("main", "other")
SAID = (
    *("We add 3 and 4. ", "So it is 7.\n\n", "Wait. ", "Hmm, let me check.\n", " é — 7! ", "\n\n"),
    *("<t>", "<code>3 + 4</code>", "<bigmodel>", "<call>3</call>", "\\boxed{7}", "3 plus 4 is"),
)
"""What models write, in any order."""
REPLIES = {"accept:": "accept correct rewind stop", "from 0": "0 7 9", "candidates": "A B"}
"""What they answer to a side question that holds a key."""


def mind(prompt: str) -> list[str]:
    """Answer a prompt: always the same, and mostly with a thought that is closed some time."""
    rng = Random(prompt)
    for asked, replies in REPLIES.items():
        if asked in prompt:
            return [f" {one}" for one in replies.split()]
    texts = ["".join(rng.choices(SAID, k=rng.randint(1, 6))) for _ in range(8)]
    return [
        f"{one}</think>It is {rng.randint(0, 9)}." if rng.random() < 0.6 else one for one in texts
    ]


@dataclass
class Line:
    """The network between two endpoints and us."""

    asked: int = 0
    """Requests so far."""
    most: int | None = None
    """Requests after which whoever asks waits for ever; None: there is no end."""
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    down: bool = False

    async def carry(self) -> None:
        """Carry a request, or do not.

        Raises:
            Unreachable: It is down.
        """
        if self.down:
            raise Unreachable("there is no network")
        if self.asked == self.most:
            self.halted.set()
            await asyncio.Event().wait()
        self.asked += 1


@dataclass
class Noting:
    """An endpoint that keeps what was asked and drawn, by the draw's name in the store."""

    inner: Endpoint
    line: Line
    heard: dict[str, tuple[Request, Generation]] = field(default_factory=dict)
    oddities: Mapping[str, int] = field(default_factory=dict)

    @property
    def profile(self) -> Profile:
        return self.inner.profile

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        await self.line.carry()
        drawn = await self.inner.complete(request, draws, seed=seed, on_text=on_text, on_cut=on_cut)
        for draw, one in zip(draws, drawn, strict=False):
            self.heard[key_of(digest_of(request), draw)] = (request, one)
        return drawn

    async def ends(self, text: str) -> tuple[int, ...] | None:
        return await self.inner.ends(text)


class Bench:
    """Two endpoints whose models have different tokenizers, and a loop to ask them in."""

    def __init__(
        self,
        runner: asyncio.Runner,
        endpoints: Mapping[str, Noting],
        tokenizers: Mapping[str, Tokenizer],
        stores: tuple[Store, Store],
        line: Line,
    ) -> None:
        self.runner, self.endpoints, self.tokenizers = runner, endpoints, tokenizers
        self.line = line
        self.store, self.other = stores

    def model(self, seat: str, store: Store) -> Model:
        who = "other" if seat == "other" else "main"
        known = self.tokenizers[who]
        return Model(
            identity=who,
            endpoint=self.endpoints[who],
            dialect=IdsDialect(Frame(Template(TEMPLATE)), known),
            tokenizer=known,
            store=store,
            sampling=Sampling(),
            logprobs=20,
        )

    async def play(
        self, name: str, policy: Policy, store: Store, seats: Sequence[str] = SEATS
    ) -> Episode:
        team = Team({seat: self.model(seat, store) for seat in seats})
        case = Case(name, QUESTION, policy)
        return await play_case(case, team, until=Sentence(), budget=BUDGET)

    async def interrupted(
        self, name: str, policy: Policy, seats: Sequence[str], after: int
    ) -> None:
        """Begin an episode in the other store, and end it after so many requests."""
        self.line.most, self.line.halted = self.line.asked + after, asyncio.Event()
        playing = asyncio.create_task(self.play(name, policy, self.other, seats))
        halted = asyncio.create_task(self.line.halted.wait())
        await asyncio.wait([playing, halted], return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, halted):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.line.most = None


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory,
    wordy: Tokenizer,
    letters: Tokenizer,
    spoken: Callable[[Tokenizer], Spoken],
) -> Iterator[Bench]:
    tokenizers = {"main": wordy, "other": letters}
    with asyncio.Runner() as runner:
        servers = {
            name: ScriptedServer(mind, tokenizer=spoken(known), keep=1)
            for name, known in tokenizers.items()
        }
        for server in servers.values():
            runner.run(server.__aenter__())
        endpoints = {
            name: Endpoint(servers[name].url, "scripted", known)
            for name, known in tokenizers.items()
        }
        folder = tmp_path_factory.mktemp("stores")
        opened = [Store.open(folder / f"{name}.sqlite") for name in ("one", "other")]
        one, other = (runner.run(store.__aenter__()) for store in opened)
        line = Line()
        noting = {name: Noting(endpoint, line) for name, endpoint in endpoints.items()}
        yield Bench(runner, noting, tokenizers, (one, other), line)
        for store in opened:
            runner.run(store.__aexit__(None, None, None))
        for endpoint in endpoints.values():
            runner.run(endpoint.__aexit__(None, None, None))
        for server in servers.values():
            runner.run(server.__aexit__(None, None, None))


BOUNDARIES: st.SearchStrategy[Boundary] = st.one_of(
    *map(st.just, (Sentence(), Paragraph(), End(), Answer(), Tag(tag="<t>"), Regex(pattern="7"))),
    st.builds(Tokens, count=st.integers(1, 9)),
    st.builds(Words, count=st.integers(1, 4)),
    st.just(Tag(tag="</call>", opens="<call>")),
)
TEXTS = (st.sampled_from(SAID) | st.text(max_size=9)).filter(
    lambda one: one[-1:] not in (" ", "\t")
)
SEAT = st.sampled_from(SEATS)
PLACES = st.integers(0, 99)
"""A place in something whose length is not known yet."""


@dataclass(frozen=True)
class Act:
    """One thing to do: first on the side, then a decision, its places made to fit."""

    decision: Decision
    ask: str | None = None
    score: str | None = None
    ahead: tuple[Decision, ...] = ()
    follows: bool = False
    """Whether what is begun ahead is what is decided."""


@dataclass(frozen=True)
class Forking:
    """Several programs to be played side by side."""

    programs: tuple[tuple[Act, ...], ...]
    empty: bool
    opening: tuple[str, ...]


WRITES = st.builds(Write, SEAT, st.none() | BOUNDARIES)
DECISIONS: st.SearchStrategy[Decision] = st.one_of(
    WRITES,
    WRITES,
    st.builds(Insert, SEAT, TEXTS, signal=st.booleans()),
    st.builds(Edit, PLACES, st.none() | TEXTS, seat=st.none() | SEAT),
    st.builds(Rewind, PLACES),
    st.builds(Choose, PLACES),
    st.builds(Close, SEAT),
    st.builds(Stop, st.just("")),
)
ACTS = st.builds(
    Act,
    DECISIONS,
    ask=st.none() | SEAT,
    score=st.none() | SEAT,
    ahead=st.just(()) | st.tuples(WRITES) | st.tuples(st.builds(Rewind, PLACES), WRITES),
    follows=st.booleans(),
)
SHORT = st.lists(ACTS, max_size=4).map(tuple)
FORKS = st.builds(
    Forking,
    st.lists(SHORT, min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.lists(TEXTS, max_size=2).map(tuple),
)
PROGRAMS = st.lists(ACTS | FORKS, max_size=12).map(tuple)


@dataclass(frozen=True)
class Arbitrary:
    """Does what its program says, as far as it is legal then; at the end it stops."""

    program: tuple[Act | Forking, ...]
    decided: dict[str, Decision]
    """What was decided, by the reason that stands in the log."""
    name: str = ""
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        why = f"{self.name}{view.step}"
        if view.step >= len(self.program):
            decision: Decision = Stop(why)
        elif isinstance(act := self.program[view.step], Forking):
            decision = self._fork(act, why)
        else:
            decision = replace(_fitting(act.decision, view), why=why)
            await self._aside(act, decision, view)
        self.decided[why] = decision
        return decision

    def _fork(self, act: Forking, why: str) -> Decision:
        branches = []
        for n, program in enumerate(act.programs):
            name = f"{why}.{n}/"
            opening = [Insert("main", one, f"{name}o{o}") for o, one in enumerate(act.opening)]
            self.decided.update({one.why: one for one in opening})
            policy = Arbitrary(program, self.decided, name)
            branches.append(Branch(policy, tuple(opening), empty=act.empty))
        return Fork(tuple(branches), why=why)

    async def _aside(self, act: Act, decision: Decision, view: View) -> None:
        path = tuple(_fitting(one, view) for one in act.ahead)
        if act.follows and isinstance(decision, Write | Close):
            path = (decision,)
        if path:
            view.prefetch(*path)
        if act.ask:
            await view.ask(act.ask, "Well?")
        if act.score:
            await view.score("So", act.score)


def _fitting(decision: Decision, view: View) -> Decision:
    """Move a decision's place to one that is there; write where there is none."""
    units, branches = len(view.units), len(view.branches)
    match decision:
        case Edit(unit) if units:
            return replace(decision, unit=unit % units)
        case Choose(branch) if branches:
            return replace(decision, branch=branch % branches)
        case Rewind(to):
            return replace(decision, to=to % (units + 1))
        case Edit() | Choose():
            return Write("main")
    return decision


@dataclass
class Checking:
    """Goes through a log with a plain list for the living units, and looks at every step."""

    bench: Bench
    decided: Mapping[str, Decision]
    keys: set[str] = field(default_factory=set)
    """The draws of the turns that were gone through."""

    def through(self, log: Sequence[Event], living: list[Unit]) -> list[Unit]:
        """Return the units that live in the end."""
        turn: tuple[str, ...] = ()
        branches: list[list[Unit]] = []
        for event in log:
            match event:
                case Wrote(unit):
                    if unit.generations != turn:
                        turn = unit.generations
                        self._drawn(turn, unit, living)
                    self._authored(unit)
                    if unit.phase == "thinking":
                        living = [*living, unit]
                case Edited(_, text):
                    decision = self.decided[event.why]
                    assert isinstance(decision, Edit)
                    assert (decision.text, decision.seat) == (text, event.seat)
                    living = self._edited(living, event)
                case Rewound(to):
                    living = living[:to]
                case Forked():
                    branches = [
                        self.through(one.log, [] if one.empty else living) for one in event.branches
                    ]
                case Chose(branch):
                    living = branches[branch]
                case Asked() | Scored():
                    self._heard(event.generations, event.seat, living)
        return living

    def _edited(self, living: list[Unit], event: Edited) -> list[Unit]:
        before, old, after = living[: event.unit], living[event.unit], living[event.unit + 1 :]
        if event.text is None:
            return [*before, *after]
        kind: UnitKind = "signal" if old.kind == "signal" else "inserted"
        return [*before, Unit(event.seat or old.author, event.text, kind), *after]

    def _authored(self, unit: Unit) -> None:
        """The author is who was decided on, and the text is that author's own."""
        decision = self.decided.get(unit.why)
        if isinstance(decision, Insert):
            assert (unit.author, unit.text) == (decision.seat, decision.text)
            assert unit.kind == ("signal" if decision.signal else "inserted")
            return
        assert isinstance(decision, Write | Close)
        assert unit.author == decision.seat
        assert unit.kind in ("generated", "signal")
        heard = self.bench.endpoints[unit.author].heard
        assert unit.text in "".join(heard[key][1].text for key in unit.generations)
        if unit.ids is not None:
            assert self.bench.tokenizers[unit.author].decode(unit.ids) == unit.text

    def _drawn(self, keys: tuple[str, ...], unit: Unit, living: list[Unit]) -> None:
        """No draw comes back, and what was read is the living text, as far as it may be read."""
        assert not self.keys & set(keys)
        self.keys |= set(keys)
        if not keys:
            return
        read = self._read(keys[0], unit.author)
        text = HEAD + _visible(living, unit.author)
        assert read == text if unit.phase == "thinking" else read.startswith(text)

    def _heard(self, keys: tuple[str, ...], seat: str, living: list[Unit]) -> None:
        assert not self.keys & set(keys)
        self.keys |= set(keys)
        visible = _visible(living, seat)
        for key in keys:
            assert visible in self._read(key, seat)

    def _read(self, key: str, seat: str) -> str:
        prompt = self.bench.endpoints[seat].heard[key][0].prompt
        assert isinstance(prompt, tuple)
        return self.bench.tokenizers[seat].decode(prompt)


def _visible(living: Sequence[Unit], seat: str) -> str:
    return "".join(unit.text for unit in living if unit.kind != "signal" or unit.author == seat)


def check_arbitrary(bench: Bench, program: tuple[Act | Forking, ...]) -> None:
    """Play an arbitrary policy, and look whether its trajectory is whole."""
    policy = Arbitrary(program, {})
    episode = bench.runner.run(bench.play(repr(program), policy, bench.store))
    trajectory = episode.trajectory
    living = Checking(bench, policy.decided).through(trajectory.log, [])
    plain = [(unit.author, unit.text, unit.kind) for unit in trajectory.units]
    assert plain == [(unit.author, unit.text, unit.kind) for unit in living]
    _check_spans(trajectory)
    assert Trajectory.replay(LOG.validate_json(LOG.dump_json(trajectory.log))) == trajectory


def _check_spans(trajectory: Trajectory) -> None:
    """The spans lie end to end over the living text, and each is its author's."""
    authors = [unit.author for unit in trajectory.units for _ in unit.text]
    end = 0
    for span in trajectory.spans:
        assert span.start == end
        assert set(authors[span.start : span.end]) <= {span.author}
        end = span.end
    assert end == len(trajectory.thinking) == len(authors)


@settings(max_examples=5, phases=[Phase.generate])
@given(program=PROGRAMS)
def test_no_policy_corrupts_a_trajectory(bench: Bench, program: tuple[Act | Forking, ...]) -> None:
    check_arbitrary(bench, program)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=1000)
@given(program=PROGRAMS)
def test_none_of_a_thousand_policies_corrupts_a_trajectory(
    bench: Bench, program: tuple[Act | Forking, ...]
) -> None:
    check_arbitrary(bench, program)


@pytest.mark.parametrize("policy", FORMS, ids=lambda one: type(one).__name__)
def test_an_interrupted_episode_goes_on_to_the_same_end_and_plays_again_offline(
    bench: Bench, policy: Policy
) -> None:
    name, seats = repr(policy), sorted(seats_of(policy))

    async def play() -> None:
        begun = bench.line.asked
        whole = await bench.play(name, policy, bench.store, seats)
        await bench.interrupted(name, policy, seats, after=(bench.line.asked - begun) // 2)
        resumed = await bench.play(name, policy, bench.other, seats)
        assert (resumed.trajectory, resumed.finish) == (whole.trajectory, whole.finish)
        bench.line.down = True
        try:
            again = await bench.play(name, policy, bench.other, seats)
        finally:
            bench.line.down = False
        assert (again.trajectory, again.finish) == (whole.trajectory, whole.finish)
        assert again.sampled == 0
        log = LOG.validate_json(LOG.dump_json(whole.trajectory.log))
        assert Trajectory.replay(log) == whole.trajectory

    bench.runner.run(play())
