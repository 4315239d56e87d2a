"""One episode: ask the policy, let the seat write, append.

No files, no Hydra, no printing. Whoever wants to read along gives `watch`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from collab.core.boundary import Answer, Boundary
from collab.core.cost import Cost
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
from collab.core.inserted_text import splits_next_word
from collab.core.policy import Inquiry, Policy, View
from collab.core.sampling import OnText
from collab.core.trajectory import (
    Brought,
    Chose,
    Closed,
    Edited,
    Ended,
    Event,
    Finish,
    Forked,
    Json,
    Question,
    Recording,
    Rewound,
    Stopped,
    Trajectory,
    Unit,
    UnitKind,
    Wrote,
)
from collab.episode.prefetch import PrefetchedWrite
from collab.episode.reasoner import Likelihoods, Reply, WrittenTurn
from collab.episode.side_questions import SideQuestions
from collab.episode.team import Team
from collab.episode.turns import TurnTaker
from collab.errors import CollabError, ContextFull, Denied, PolicyError, PromptChanged, Rejected
from collab.store.draw_numbers import DrawCounter

Label = str | int | float | bool | None
STEPS = 10_000
"""Decisions after which a policy is taken to be going round in circles."""
DEPTH = 8
"""Forks within forks."""
BRANCHES = 256
"""Branches of one fork."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question, one opening, one policy value, one set of factors."""

    id: str
    """Made of content, never of a position: it names the case across runs."""
    question: Question
    policy: Policy
    opening: Mapping[str, Recording] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    """The factors that tables group by."""
    rival: str | None = None
    """The answer that the steer leads to: was it given instead?"""
    draw: int | None = None
    """The bank's draw that this case reports; None where its draws are evidence and so fresh."""
    begin: Trajectory = Trajectory()  # noqa: RUF009 - a frozen value
    """What stands already: a fork goes on from a part of another episode."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One case played to its end."""

    case: str
    trajectory: Trajectory
    finish: Finish
    sampled: int = 0
    """Generations that were drawn for it now."""
    stored: int = 0
    """Generations that the store had."""
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """What its draws cost when they were sampled, by seat and by the name that units and side
    questions give them."""


Watch = Callable[[Trajectory, str], None]
"""Called with the trajectory whenever it has grown and, where units are read piece by piece, with
the text so far of the one that is being written."""


async def play_case(
    case: Case,
    team: Team,
    *,
    until: Boundary,
    budget: int,
    replicate: int = 0,
    watch: Watch | None = None,
    whole: bool = False,
) -> Episode:
    """Play one case to an answer, a stop or the end of its budget.

    Args:
        case: What is played.
        team: Who plays it.
        until: Where a unit ends if the policy does not say.
        budget: The most tokens of opening and completion together.
        replicate: Which repetition of the whole run this is.
        watch: Reads along.
        whole: Whether it is given whole units alone, which are then asked for as if nobody watched.

    Raises:
        PolicyError: The policy broke its contract.
        EndpointError: A server failed for good.
    """
    numbers = DrawCounter(case.id, case.draw)
    pen = TurnTaker(team, case.question, case.opening, until, budget, numbers)
    table = _EpisodeRunner(case, pen, replicate, watch, whole)
    finish = await table.play()
    return Episode(case.id, table.trajectory, finish, pen.sampled, pen.stored, pen.costs)


class _EpisodeRunner:
    """One episode, or a branch of one, while it is played."""

    def __init__(
        self,
        case: Case,
        pen: TurnTaker,
        replicate: int,
        watch: Watch | None = None,
        whole: bool = False,
    ) -> None:
        self.trajectory = case.begin
        self._case, self._pen = case, pen
        self._replicate, self._watch, self._whole = replicate, watch, whole
        self._finish: Finish | None = None
        self._steps = self._forks = self._depth = 0
        self._memo = "null"

    async def play(self) -> Finish:
        """Take decisions until one ends it."""
        try:
            while self._finish is None:
                await self._step()
        except ContextFull:
            self._finish = "context full"
        except Denied:
            raise
        except Rejected as refusal:
            self._add(Stopped(str(refusal)))
            self._finish = "refused"
        except PromptChanged as change:
            self._add(Stopped(str(change)))
            self._finish = "prompt changed"
        finally:
            await self._pen.close()
        return self._finish

    async def ask(self, seat: str, inquiry: Inquiry) -> Reply:
        """Ask a seat on the side."""
        turn = self._pen.aside(seat, self.trajectory)
        reply = await self._pen.team[seat].advise(turn, inquiry)
        self._pen.bill(seat, reply.drawn)
        return reply

    async def score(self, seat: str, text: str) -> Likelihoods:
        """Have a seat say how likely it finds a text."""
        turn = self._pen.aside(seat, self.trajectory)
        rated = await self._pen.team[seat].score(turn, text)
        self._pen.bill(seat, rated.drawn)
        return rated

    def begin(self, path: tuple[Decision, ...]) -> None:
        """Begin the write at the end of a path of decisions."""
        *before, last = path or (None,)
        if not isinstance(last, Write | Close):
            raise PolicyError(f"a path that is prefetched ends in Write or Close, not {last!r}")
        where = self.trajectory
        for decision in before:
            where = where.add(self._event(decision))
        self._pen.begin(path, last, where)

    async def _step(self) -> None:
        """Take and carry out one decision."""
        if self._steps == STEPS:
            raise PolicyError(f"{self._name} took {STEPS} decisions without an end")
        decision = await self._decide()
        self._memo = self._kept(decision)
        self._steps += 1
        await self._carry_out(decision, self._pen.used(decision))

    @property
    def _name(self) -> str:
        return type(self._case.policy).__name__

    def _add(self, event: Event) -> None:
        self.trajectory = self.trajectory.add(event)
        if self._watch:
            self._watch(self.trajectory, "")

    async def _decide(self) -> Decision:
        desk = SideQuestions(self)
        view = self._view(desk)
        try:
            return await desk.decide(lambda: self._case.policy.decide(view))
        except PolicyError as error:
            raise PolicyError(f"{self._name} failed at step {self._steps}: {error}") from error
        except CollabError:
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # of a stranger's policy
            if _is_cancelled(error):
                raise
            said = f"{type(error).__name__}: {error}"
            raise PolicyError(f"{self._name} failed at step {self._steps}: {said}") from error
        finally:
            for event in desk.events:
                self._add(event)

    def _kept(self, decision: Decision) -> str:
        """Return a decision's memo as JSON: what is done to it later changes nothing."""
        if not isinstance(decision, Decision):
            raise PolicyError(f"{self._name} decided {decision!r}, which is no decision")
        try:
            return json.dumps(decision.memo, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PolicyError(f"{self._name} left a memo that is no JSON: {error}") from None

    async def _carry_out(self, decision: Decision, ahead: PrefetchedWrite | None) -> None:
        match decision:
            case Write():
                written = await self._pen.write(decision, self.trajectory, self._reader(), ahead)
                self._append(written, decision)
            case Insert() | Edit() | Rewind():
                self._add(self._event(decision))
            case Fork(branches, why):
                self._add(Forked(await self._fork(branches), why, self._left))
            case Choose(branch, why):
                self._add(Chose(branch, why, self._left))
                finish = self.trajectory.branches[branch].finish
                self._finish = None if finish == "stopped" else finish
            case Close(seat, why):
                self._add(Closed(seat, why, self._left))
                self._answer(
                    await self._pen.answer(decision, self.trajectory, self._reader(), ahead)
                )
            case Stop(why):
                self._add(Stopped(why, self._left))
                self._finish = "stopped"

    @property
    def _left(self) -> Json:
        """What the last decision left for the next one."""
        memo: Json = json.loads(self._memo)
        return memo

    def _event(self, decision: Decision) -> Event:
        """Return what a decision does that needs nobody to write."""
        match decision:
            case Insert(seat, text, why):
                kind: UnitKind = "signal" if decision.signal else "inserted"
                unit = Unit(seat, text, kind, why, tokens=self._injected(text, seat))
                return Wrote(unit, self._left)
            case Edit(index, text, why, _, seat):
                by = seat or next((one.author for one in self.trajectory.units[index:]), None)
                tokens = 0 if text is None else self._injected(text, by)
                return Edited(index, text, why, self._left, tokens, seat)
            case Rewind(to, why):
                return Rewound(to, why, self._left)
        raise PolicyError(f"{type(decision).__name__} cannot stand on a path that is prefetched")

    def _injected(self, text: str, seat: str | None) -> int:
        """Count the tokens of a text that no model wrote.

        Raises:
            PolicyError: It ends in a space, which belongs to the token of the word behind it.
        """
        if splits_next_word(text):
            raise PolicyError(
                f"{self._name} puts {text[-40:]!r} on the trajectory, which ends in a space: it "
                "would split the next word's token; end the text before the space, or in a newline"
            )
        return self._pen.team.count(text, seat)

    async def _fork(self, branches: Sequence[Branch]) -> tuple[Brought, ...]:
        """Play branches side by side; one that fails stops them all."""
        if not 0 < len(branches) <= BRANCHES or self._depth == DEPTH:
            raise PolicyError(
                f"{self._name} forks into {len(branches)} branches at depth {self._depth}; allowed "
                f"are 1 to {BRANCHES}, {DEPTH} deep"
            )
        self._forks += 1
        tables = [self._branch(number, branch) for number, branch in enumerate(branches)]
        try:
            async with asyncio.TaskGroup() as group:
                playing = [group.create_task(table.play()) for table in tables]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        for table in tables:
            self._pen.add(table._pen)
        return tuple(
            Brought(table.trajectory.log, one.result(), branch.empty)
            for table, one, branch in zip(tables, playing, branches, strict=True)
        )

    def _branch(self, number: int, branch: Branch) -> _EpisodeRunner:
        name = f"{self._case.id}/fork {self._forks}.{number}"
        begin = self.trajectory.start(branch.empty)
        case = replace(self._case, id=name, policy=branch.policy, draw=None, begin=begin)
        table = _EpisodeRunner(case, self._pen.branch(name), self._replicate)
        table._depth = self._depth + 1
        for insert in branch.opening:
            table._add(table._event(insert))
        return table

    def _append(self, written: WrittenTurn, decision: Write) -> None:
        thinking = [unit for unit in written.units if unit.phase == "thinking"]
        answer = written.units[len(thinking) :]
        for unit in thinking:
            self._add(Wrote(unit, self._left))
        through = isinstance(decision.until or self._pen.until, Answer)
        if written.reached == "end":
            self._add(Ended(decision.seat))
        if answer or (through and written.reached == "end"):
            self._add(Closed(decision.seat, "wrote through to its answer"))
            for unit in answer:
                self._add(Wrote(unit))
            self._finish = "answer cut" if written.cut else "answered"
        elif written.reached in ("length", "turn over"):
            self._finish = "never closed"
        elif written.reached == "context":
            self._finish = "context full"

    def _answer(self, written: WrittenTurn) -> None:
        for unit in written.units:
            self._add(Wrote(unit))
        full = written.reached == "context" and not self.trajectory.answer
        self._finish = "context full" if full else "answer cut" if written.cut else "answered"

    def _reader(self) -> OnText | None:
        watch = self._watch
        if watch is None or self._whole:
            return None
        pieces: list[str] = []

        def read(piece: str) -> None:
            pieces.append(piece)
            watch(self.trajectory, "".join(pieces))

        return read

    def _view(self, desk: SideQuestions) -> View:
        seed = f"{self._case.id}\0{self._replicate}\0{self._steps}".encode()
        return View(
            question=self._case.question.messages,
            trajectory=self.trajectory,
            seats=tuple(sorted(self._pen.team.seats)),
            recordings={seat: one.tokens for seat, one in self._pen.opening.items()},
            exhausted=self._pen.exhausted,
            tokens_left=max(self._pen.budget - self.trajectory.tokens, 0),
            step=self._steps,
            memo=self._left,
            rng=random.Random(blake2b(seed, digest_size=8).digest()),
            aside=desk,
            spent=self._pen.spent,
        )


def _is_cancelled(error: BaseException) -> bool:
    """Say whether it is the episode that is cancelled, and not something that a policy awaits."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and bool(task and task.cancelling())
