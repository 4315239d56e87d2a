"""Play one episode: ask the policy, let the seat write, append to the trajectory.

The engine touches no files, prints nothing and does not know Hydra. A caller that wants to follow
an episode passes `watch`.
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
from collab.core.design import Design, Label
from collab.core.inserted_text import splits_next_word
from collab.core.policy import Inquiry, Policy, View
from collab.core.sampling import OnText
from collab.core.trajectory import (
    Chose,
    Closed,
    Edited,
    Ended,
    Event,
    Finish,
    Forked,
    Json,
    PlayedBranch,
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
from collab.episode.turns import EpisodeSetup, TurnTaker
from collab.errors import (
    CollabError,
    ConfigError,
    ContextFull,
    Denied,
    PolicyError,
    PromptChanged,
    Rejected,
)
from collab.store.draw_numbers import DrawCounter

STEPS = 10_000
"""Decisions after which a policy is taken to loop."""
DEPTH = 8
"""The most forks within forks."""
BRANCHES = 256
"""The most branches of one fork."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to play: a question, an opening, a policy and its factors."""

    id: str
    """Derived from content, never from a position, so that it names the case across runs."""
    question: Question
    policy: Policy
    opening: Mapping[str, Recording] = field(default_factory=dict)
    design: Design = Design()  # noqa: RUF009 - a frozen value
    """Its arm and the other factors of the built-in scenarios."""
    labels: Mapping[str, Label] = field(default_factory=dict)
    """The question's labels, and labels that a scenario adds of its own."""
    rival: str | None = None
    """The answer that the steer leads to, to be compared with the one given."""
    draw: int | None = None
    """The bank's draw that this case reports; None: its draws are evidence, so they are new."""
    begin: Trajectory = Trajectory()  # noqa: RUF009 - a frozen value
    """The trajectory at the start: a fork continues a part of another episode."""

    def __post_init__(self) -> None:
        """Check that no label hides a factor.

        Raises:
            ConfigError: A label has the name of a factor of the design.
        """
        if taken := Design.split(self.labels)[0].factors:
            raise ConfigError(
                f"case {self.id!r} has a label {min(taken)!r}, the name of a factor of the design; "
                "set the factor in design, or give the label another name"
            )

    @property
    def factors(self) -> dict[str, Label]:
        """Return all that tables may group by: the labels, and the factors of the design."""
        return {**self.labels, **self.design.factors}


@dataclass(frozen=True, slots=True)
class Episode:
    """One case played to its end."""

    case: str
    trajectory: Trajectory
    finish: Finish
    sampled: int = 0
    """Generations sampled for it now."""
    stored: int = 0
    """Generations taken from the store."""
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    """The costs of its draws when they were sampled, by seat and by the key that units and side
    questions have."""


Watch = Callable[[Trajectory, str], None]
"""Called with the trajectory whenever it has grown, and with the text so far of the unit that is
being written, if units are streamed."""


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
        case: The case to play.
        team: The reasoners by seat.
        until: Where a unit ends if the policy does not say.
        budget: The most tokens of opening and completion together.
        replicate: The number of the repetition of the whole run.
        watch: Called while the episode grows.
        whole: Whether `watch` gets whole units only, so that no request is streamed.

    Raises:
        PolicyError: The policy broke its contract.
        EndpointError: A server failed for good.
    """
    numbers = DrawCounter(case.id, case.draw)
    setup = EpisodeSetup(
        team=team, question=case.question, opening=case.opening, until=until, budget=budget
    )
    turns = TurnTaker(setup, numbers)
    runner = _EpisodeRunner(case, turns, replicate, watch, whole)
    finish = await runner.play()
    return Episode(case.id, runner.trajectory, finish, turns.sampled, turns.stored, turns.costs)


class _EpisodeRunner:
    """An episode, or a branch of one, while it is played."""

    def __init__(
        self,
        case: Case,
        turns: TurnTaker,
        replicate: int,
        watch: Watch | None = None,
        whole: bool = False,
    ) -> None:
        self.trajectory = case.begin
        self._case, self._turns = case, turns
        self._replicate, self._watch, self._whole = replicate, watch, whole
        self._finish: Finish | None = None
        self._steps = self._forks = self._depth = 0
        self._memo_json = "null"

    async def play(self) -> Finish:
        """Carry out decisions until one ends the episode."""
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
            await self._turns.close()
        return self._finish

    async def ask(self, seat: str, inquiry: Inquiry) -> Reply:
        """Ask a seat a side question."""
        turn = self._turns.side_turn(seat, self.trajectory)
        reply = await self._turns.team[seat].advise(turn, inquiry)
        self._turns.bill(seat, reply.drawn)
        return reply

    async def score(self, seat: str, text: str) -> Likelihoods:
        """Score a text under a seat's model."""
        turn = self._turns.side_turn(seat, self.trajectory)
        scored = await self._turns.team[seat].score(turn, text)
        self._turns.bill(seat, scored.drawn)
        return scored

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Start the write at the end of a path of decisions.

        Raises:
            PolicyError: The path does not end in a `Write` or a `Close`.
        """
        *before, last = path or (None,)
        if not isinstance(last, Write | Close):
            raise PolicyError(f"a prefetched path must end in Write or Close, not in {last!r}")
        trajectory = self.trajectory
        for decision in before:
            trajectory = trajectory.add(self._event(decision))
        self._turns.prefetch(path, last, trajectory)

    async def _step(self) -> None:
        """Take and carry out one decision."""
        if self._steps == STEPS:
            raise PolicyError(f"{self._name} took {STEPS} decisions without an end")
        decision = await self._decide()
        self._memo_json = self._encode_memo(decision)
        self._steps += 1
        await self._carry_out(decision, self._turns.take_prefetched(decision))

    @property
    def _name(self) -> str:
        return type(self._case.policy).__name__

    def _add(self, event: Event) -> None:
        self.trajectory = self.trajectory.add(event)
        if self._watch:
            self._watch(self.trajectory, "")

    async def _decide(self) -> Decision:
        side_questions = SideQuestions(self)
        view = self._view(side_questions)
        try:
            return await side_questions.decide(lambda: self._case.policy.decide(view))
        except PolicyError as error:
            raise PolicyError(f"{self._name} failed at step {self._steps}: {error}") from error
        except CollabError:
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # of a stranger's policy
            if _is_cancelled(error):
                raise
            reason = f"{type(error).__name__}: {error}"
            raise PolicyError(f"{self._name} failed at step {self._steps}: {reason}") from error
        finally:
            for event in side_questions.events:
                self._add(event)

    def _encode_memo(self, decision: Decision) -> str:
        """Return a decision's memo as JSON, so that later changes to the object have no effect."""
        if not isinstance(decision, Decision):
            raise PolicyError(
                f"{self._name} returned {decision!r}, which is not a decision; return one such as "
                "Write or Close"
            )
        try:
            return json.dumps(decision.memo, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PolicyError(f"{self._name} left a memo that is not JSON: {error}") from None

    async def _carry_out(self, decision: Decision, prefetched: PrefetchedWrite | None) -> None:
        match decision:
            case Write():
                written = await self._turns.write(
                    decision, self.trajectory, self._on_text(), prefetched
                )
                self._append(written, decision)
            case Insert() | Edit() | Rewind():
                self._add(self._event(decision))
            case Fork(branches, why):
                self._add(Forked(await self._fork(branches), why, self._memo))
            case Choose(branch, why):
                self._add(Chose(branch, why, self._memo))
                finish = self.trajectory.branches[branch].finish
                self._finish = None if finish == "stopped" else finish
            case Close(seat, why):
                self._add(Closed(seat, why, self._memo))
                answer = await self._turns.answer(
                    decision, self.trajectory, self._on_text(), prefetched
                )
                self._append_answer(answer)
            case Stop(why):
                self._add(Stopped(why, self._memo))
                self._finish = "stopped"

    @property
    def _memo(self) -> Json:
        """The memo of the last decision."""
        memo: Json = json.loads(self._memo_json)
        return memo

    def _event(self, decision: Decision) -> Event:
        """Return the event of a decision that needs no writer."""
        match decision:
            case Insert(seat, text, why):
                kind: UnitKind = "signal" if decision.signal else "inserted"
                unit = Unit(seat, text, kind, why, tokens=self._count_inserted(text, seat))
                return Wrote(unit, self._memo)
            case Edit(index, text, why, _, seat):
                by = seat or next((unit.author for unit in self.trajectory.units[index:]), None)
                tokens = 0 if text is None else self._count_inserted(text, by)
                return Edited(index, text, why, self._memo, tokens, seat)
            case Rewind(to, why):
                return Rewound(to, why, self._memo)
        raise PolicyError(f"{type(decision).__name__} cannot be part of a prefetched path")

    def _count_inserted(self, text: str, seat: str | None) -> int:
        """Count the tokens of a text that no model wrote.

        Raises:
            PolicyError: The text ends in a space, which belongs to the next word's token.
        """
        if splits_next_word(text):
            raise PolicyError(
                f"{self._name} puts {text[-40:]!r} on the trajectory, which ends in a space: it "
                "would split the next word's token; end the text before the space, or in a newline"
            )
        return self._turns.team.count(text, seat)

    async def _fork(self, branches: Sequence[Branch]) -> tuple[PlayedBranch, ...]:
        """Play branches in parallel; if one fails, all are stopped."""
        if not 0 < len(branches) <= BRANCHES or self._depth == DEPTH:
            raise PolicyError(
                f"{self._name} forks into {len(branches)} branches at depth {self._depth}; allowed "
                f"are 1 to {BRANCHES}, {DEPTH} deep"
            )
        self._forks += 1
        runners = [self._branch(number, branch) for number, branch in enumerate(branches)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(runner.play()) for runner in runners]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        for runner in runners:
            self._turns.add(runner._turns)
        return tuple(
            PlayedBranch(runner.trajectory.log, task.result(), branch.empty)
            for runner, task, branch in zip(runners, tasks, branches, strict=True)
        )

    def _branch(self, number: int, branch: Branch) -> _EpisodeRunner:
        name = f"{self._case.id}/fork {self._forks}.{number}"
        begin = self.trajectory.start(branch.empty)
        case = replace(self._case, id=name, policy=branch.policy, draw=None, begin=begin)
        runner = _EpisodeRunner(case, self._turns.branch(name), self._replicate)
        runner._depth = self._depth + 1
        for insert in branch.opening:
            runner._add(runner._event(insert))
        return runner

    def _append(self, written: WrittenTurn, decision: Write) -> None:
        thinking = [unit for unit in written.units if unit.phase == "thinking"]
        answer = written.units[len(thinking) :]
        for unit in thinking:
            self._add(Wrote(unit, self._memo))
        through = isinstance(decision.until or self._turns.setup.until, Answer)
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

    def _append_answer(self, written: WrittenTurn) -> None:
        for unit in written.units:
            self._add(Wrote(unit))
        full = written.reached == "context" and not self.trajectory.answer
        self._finish = "context full" if full else "answer cut" if written.cut else "answered"

    def _on_text(self) -> OnText | None:
        """Return the function that streams a unit's text to `watch`."""
        watch = self._watch
        if watch is None or self._whole:
            return None
        pieces: list[str] = []

        def on_text(piece: str) -> None:
            pieces.append(piece)
            watch(self.trajectory, "".join(pieces))

        return on_text

    def _view(self, side_questions: SideQuestions) -> View:
        seed = f"{self._case.id}\0{self._replicate}\0{self._steps}".encode()
        return View(
            question=self._case.question.messages,
            trajectory=self.trajectory,
            seats=tuple(sorted(self._turns.team.seats)),
            recordings={seat: one.tokens for seat, one in self._turns.setup.opening.items()},
            exhausted=self._turns.exhausted,
            tokens_left=max(self._turns.setup.budget - self.trajectory.tokens, 0),
            step=self._steps,
            memo=self._memo,
            rng=random.Random(blake2b(seed, digest_size=8).digest()),
            side_channel=side_questions,
            spent=self._turns.spent,
        )


def _is_cancelled(error: BaseException) -> bool:
    """Check whether the episode is cancelled, rather than a task that the policy awaits."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and bool(task and task.cancelling())
