"""Turns: a seat gets the turn, and returns the units it wrote.

A seat writes by its model, or plays the next part of its recording. Draws are numbered and billed
here, those of side questions included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace

from collab.core.boundary import Answer, Boundary, Length, Share
from collab.core.cost import Cost
from collab.core.decision import Close, Decision, Write
from collab.core.sampling import Drawn, OnText
from collab.core.trajectory import Question, Recording, Trajectory
from collab.episode.playback import play
from collab.episode.prefetch import Prefetch, PrefetchedWrite
from collab.episode.reasoner import Recorded, Turn, WrittenTurn
from collab.episode.team import Team
from collab.errors import PolicyError
from collab.store.draw_numbers import DrawCounter


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSetup:
    """What an episode and its branches have in common."""

    team: Team
    question: Question
    opening: Mapping[str, Recording]
    """The recordings that seats play."""
    until: Boundary
    """Where a unit ends if the policy does not say."""
    budget: int
    """The most tokens of opening and completion together."""


class TurnTaker:
    """Gives seats the turn, in one episode or one branch of it.

    Args:
        setup: The team, the question and the limits.
        numbers: The numbers of the draws.
    """

    def __init__(self, setup: EpisodeSetup, numbers: DrawCounter) -> None:
        self.setup = setup
        self.sampled = self.stored = 0
        self.costs: dict[str, dict[str, Cost]] = {}
        """The costs of draws, by seat and by the draw's key in the store."""
        self.spent = Cost()
        self._numbers = numbers
        self._prefetch = Prefetch()
        self._played: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    @property
    def team(self) -> Team:
        """The seats."""
        return self.setup.team

    def branch(self, name: str) -> TurnTaker:
        """Return the turn taker of a branch: recordings continue, draws are separate."""
        branch = TurnTaker(self.setup, DrawCounter(name))
        branch._played = self._played.copy()
        return branch

    async def write(
        self,
        decision: Write,
        trajectory: Trajectory,
        on_text: OnText | None,
        prefetched: PrefetchedWrite | None,
    ) -> WrittenTurn:
        """Let a seat continue the thinking.

        Raises:
            PolicyError: The boundary is none, or the seat has no recording left for it.
        """
        seat, until = decision.seat, decision.until or self.setup.until
        if not isinstance(until, Boundary):
            raise PolicyError(f"until={until!r} is not a boundary; use one such as Sentence()")
        recording = self._recording(seat, until)
        if recording is not None:
            return self._play(recording, seat, until, decision.why)
        if isinstance(until, Share | Length):
            raise PolicyError(f"seat {seat!r} has no recording left to play {until!r} of")
        turn = self._turn(decision, trajectory, self._numbers, on_text)
        return await self._finish(turn, prefetched)

    async def answer(
        self,
        decision: Close,
        trajectory: Trajectory,
        on_text: OnText | None,
        prefetched: PrefetchedWrite | None,
    ) -> WrittenTurn:
        """Let a seat answer."""
        turn = self._turn(decision, trajectory, self._numbers, on_text)
        return await self._finish(turn, prefetched)

    def side_turn(self, seat: str, trajectory: Trajectory) -> Turn:
        """Return the turn in which a seat answers a side question.

        Its draws are numbered by seat, so that seats asked at the same time get the same draws
        whichever of them is first.
        """
        numbers = self._numbers.for_side_question(f"{seat}/aside {self._asked[seat]}")
        self._asked[seat] += 1
        return self._turn(Write(seat), trajectory, numbers, None)

    def bill(self, seat: str, drawn: Sequence[Drawn]) -> None:
        """Add a seat's draws, stored or new, to the costs."""
        fresh = sum(one.fresh for one in drawn)
        self.sampled += fresh
        self.stored += len(drawn) - fresh
        rates = self.team[seat].rates
        costs = {one.generation.key: rates.cost(one.generation) for one in drawn}
        self.costs.setdefault(seat, {}).update(costs)
        self.spent += Cost.of(costs.values())

    def add(self, branch: TurnTaker) -> None:
        """Add the costs of a branch."""
        self.sampled += branch.sampled
        self.stored += branch.stored
        self.spent += branch.spent
        for seat, costs in branch.costs.items():
            self.costs.setdefault(seat, {}).update(costs)

    def prefetch(
        self, path: tuple[Decision, ...], last: Write | Close, trajectory: Trajectory
    ) -> None:
        """Start the write at the end of a path; playing a recording needs no time."""
        if isinstance(last, Write) and self._recording(last.seat, last.until or self.setup.until):
            return
        numbers = self._numbers.ahead()

        def write(on_text: OnText) -> Coroutine[None, None, WrittenTurn]:
            turn = self._turn(last, trajectory, numbers, on_text)
            return self.team[last.seat].write(turn)

        self._prefetch.begin(path, numbers, write)

    def take_prefetched(self, decision: Decision) -> PrefetchedWrite | None:
        """Return the write that was started for a decision, if any; stop those it rules out."""
        return self._prefetch.decide(decision)

    async def close(self) -> None:
        """Stop all writes that were started ahead."""
        await self._prefetch.close()

    @property
    def exhausted(self) -> frozenset[str]:
        """The seats whose recording has been played to its end."""
        opening = self.setup.opening.items()
        return frozenset(seat for seat, one in opening if self._played[seat] >= len(one.text))

    async def _finish(self, turn: Turn, prefetched: PrefetchedWrite | None) -> WrittenTurn:
        """Let a turn be written, or wait for the write that was started ahead."""
        if prefetched is None:
            written = await self.team[turn.seat].write(turn)
        else:
            written = await prefetched.use(turn.on_text)
            self._numbers.catch_up(prefetched.numbers)
            units = tuple(replace(unit, why=turn.why) for unit in written.units)
            written = replace(written, units=units)
        self.bill(turn.seat, written.drawn)
        return written

    def _turn(
        self,
        decision: Write | Close,
        trajectory: Trajectory,
        numbers: DrawCounter,
        on_text: OnText | None,
    ) -> Turn:
        thinking = isinstance(decision, Write)
        until = decision.until or self.setup.until if isinstance(decision, Write) else Answer()
        return Turn(
            seat=decision.seat,
            question=self.setup.question,
            trajectory=trajectory,
            phase="thinking" if thinking else "answer",
            until=until,
            budget=self.setup.budget,
            number=numbers,
            why=decision.why,
            on_text=on_text,
        )

    def _play(self, recording: Recording, seat: str, until: Boundary, why: str) -> WrittenTurn:
        unit = play(recording, self._played[seat], until, seat, why)
        self._played[seat] += len(unit.text)
        if not unit.tokens:
            unit = replace(unit, tokens=self.team.count(unit.text, seat))
        return WrittenTurn((unit,), "boundary")

    def _recording(self, seat: str, until: Boundary) -> Recording | None:
        """Return the seat's recording if this turn plays it."""
        reasoner, recording = self.team[seat], self.setup.opening.get(seat)
        if recording is None or seat in self.exhausted:
            return None
        plays = isinstance(reasoner, Recorded) or isinstance(until, Share | Length)
        return recording if plays else None
