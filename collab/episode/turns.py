"""The pen of one episode: handed to a seat, it comes back with what the seat wrote.

A seat writes by its model, or plays the next part of its recording. What it draws is numbered and
counted here, and so is what is asked on the side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace

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


class TurnTaker:
    """Hands the pen round.

    Args:
        team: Who writes.
        question: What is thought about.
        opening: The recordings that seats play.
        until: Where a unit ends if the policy does not say.
        budget: The most tokens of opening and completion together.
        numbers: Those of the draws.
    """

    def __init__(
        self,
        team: Team,
        question: Question,
        opening: Mapping[str, Recording],
        until: Boundary,
        budget: int,
        numbers: DrawCounter,
    ) -> None:
        self.team, self.opening, self.until, self.budget = team, opening, until, budget
        self.sampled = self.stored = 0
        self.costs: dict[str, dict[str, Cost]] = {}
        """What draws cost, by seat and by the draw's name in the store."""
        self.spent = Cost()
        self._question, self._numbers = question, numbers
        self._prefetch = Prefetch()
        self._played: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    def branch(self, name: str) -> TurnTaker:
        """Return the pen of a branch: recordings stand where they stand, draws are its own."""
        numbers = DrawCounter(name)
        pen = TurnTaker(self.team, self._question, self.opening, self.until, self.budget, numbers)
        pen._played = self._played.copy()
        return pen

    async def write(
        self,
        decision: Write,
        trajectory: Trajectory,
        on_text: OnText | None,
        ahead: PrefetchedWrite | None,
    ) -> WrittenTurn:
        """Let a seat continue the thinking."""
        seat, until = decision.seat, decision.until or self.until
        if not isinstance(until, Boundary):
            raise PolicyError(f"{until!r} is no boundary: a unit cannot end there")
        recording = self._recording(seat, until)
        if recording is not None:
            return self._play(recording, seat, until, decision.why)
        if isinstance(until, Share | Length):
            raise PolicyError(f"seat {seat!r} has no recording left to play {until!r} of")
        return await self._take(self._turn(decision, trajectory, self._numbers, on_text), ahead)

    async def answer(
        self,
        decision: Close,
        trajectory: Trajectory,
        on_text: OnText | None,
        ahead: PrefetchedWrite | None,
    ) -> WrittenTurn:
        """Let a seat answer."""
        return await self._take(self._turn(decision, trajectory, self._numbers, on_text), ahead)

    def aside(self, seat: str, trajectory: Trajectory) -> Turn:
        """Return the turn in which a seat is asked on the side.

        Its draws have numbers of their own: seats that are asked at once draw the same, whichever
        of them comes first.
        """
        numbers = self._numbers.aside(f"{seat}/aside {self._asked[seat]}")
        self._asked[seat] += 1
        return self._turn(Write(seat), trajectory, numbers, None)

    def bill(self, seat: str, drawn: Sequence[Drawn]) -> None:
        """Count a seat's draws, wherever they came from."""
        fresh = sum(one.fresh for one in drawn)
        self.sampled += fresh
        self.stored += len(drawn) - fresh
        rates = self.team[seat].rates
        costs = {one.generation.key: rates.cost(one.generation) for one in drawn}
        self.costs.setdefault(seat, {}).update(costs)
        self.spent += Cost.of(costs.values())

    def add(self, branch: TurnTaker) -> None:
        """Count what a branch cost."""
        self.sampled += branch.sampled
        self.stored += branch.stored
        self.spent += branch.spent
        for seat, costs in branch.costs.items():
            self.costs.setdefault(seat, {}).update(costs)

    def begin(self, path: tuple[Decision, ...], last: Write | Close, where: Trajectory) -> None:
        """Begin the write that ends a path; a recording's part takes no time anyway."""
        if isinstance(last, Write) and self._recording(last.seat, last.until or self.until):
            return
        numbers = self._numbers.ahead()

        def write(on_text: OnText) -> Coroutine[None, None, WrittenTurn]:
            turn = self._turn(last, where, numbers, on_text)
            return self.team[last.seat].write(turn)

        self._prefetch.begin(path, numbers, write)

    def used(self, decision: Decision) -> PrefetchedWrite | None:
        """Return the write that a decision uses, if one was begun; others are stopped."""
        return self._prefetch.decide(decision)

    async def close(self) -> None:
        """Stop what was begun ahead."""
        await self._prefetch.close()

    async def _take(self, turn: Turn, ahead: PrefetchedWrite | None) -> WrittenTurn:
        """Let a turn be written, or wait for what was begun ahead of it."""
        if ahead is None:
            written = await self.team[turn.seat].write(turn)
        else:
            written = await ahead.use(turn.on_text)
            self._numbers.catch_up(ahead.numbers)
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
        writing = isinstance(decision, Write)
        return Turn(
            seat=decision.seat,
            question=self._question,
            trajectory=trajectory,
            phase="thinking" if writing else "answer",
            until=(decision.until or self.until) if isinstance(decision, Write) else Answer(),
            budget=self.budget,
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

    @property
    def exhausted(self) -> frozenset[str]:
        """The seats whose recording is played to its end."""
        return frozenset(s for s, one in self.opening.items() if self._played[s] >= len(one.text))

    def _recording(self, seat: str, until: Boundary) -> Recording | None:
        """Return the seat's recording if this is a turn to play it."""
        reasoner, recording = self.team[seat], self.opening.get(seat)
        if recording is None or seat in self.exhausted:
            return None
        playing = isinstance(reasoner, Recorded) or isinstance(until, Share | Length)
        return recording if playing else None
