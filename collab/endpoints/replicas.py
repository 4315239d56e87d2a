"""Use several servers of one model as one endpoint: a trajectory stays where its prefix is cached.

A prompt that extends one that was served before goes to the same server, unless that server is full
and another is not. Every other prompt goes to the server with the fewest requests. A server that
fails for good is left out, and the others take over its work.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence

from collab.core.sampling import Generation, OnCut, OnText, OpenTurn, Prompt, Request
from collab.endpoints.client import Endpoint
from collab.endpoints.profile import Profile
from collab.errors import ConfigError, Unreachable

logger = logging.getLogger(__name__)

BLOCK = 16
"""Tokens that are looked at together, as servers' caches do."""
LETTERS = 64
"""Characters of a text instead."""
REMEMBERED = 65_536
"""How many served prompts are remembered."""


class Replicas:
    """Servers of one model, each with limits of its own.

    Args:
        endpoints: At least one, all alike.

    Raises:
        ConfigError: Their abilities differ.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        first = endpoints[0]
        for other in endpoints[1:]:
            if other.profile != first.profile:
                raise ConfigError(
                    f"{other.url} is not a replica of {first.url}: "
                    f"{difference(other.profile, first.profile)}; start both servers with the "
                    "same settings, or remove it from replicas"
                )
        self._all, self._alive = tuple(endpoints), list(endpoints)
        self._homes: OrderedDict[int, Endpoint] = OrderedDict()

    @property
    def profile(self) -> Profile:
        """The profile that all servers share."""
        return self._alive[0].profile

    @property
    def load(self) -> int:
        """How many requests are under way here, or wait to be."""
        return sum(one.load for one in self._alive)

    @property
    def crowded(self) -> int:
        """The number of responses 429 (too many requests) of all servers."""
        return sum(one.crowded for one in self._alive)

    @property
    def oddities(self) -> Counter[str]:
        """The odd fields and values of the servers' replies, by name."""
        return sum((one.oddities for one in self._all), Counter())

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        """Draw as an endpoint does, at the server that knows the prompt best.

        Raises:
            EndpointError: As for one endpoint; Unreachable once no server is left, or where the
                draw was read along.
        """
        marks = prefixes(request.prompt)
        while True:
            here = self._home(marks)
            try:
                return await here.complete(
                    request, draws, seed=seed, on_text=on_text, on_cut=on_cut
                )
            except Unreachable as error:
                if on_text is not None or not self._leave_out(here, error):
                    raise

    async def ends(self, text: str) -> tuple[int, ...] | None:
        """Return the ends of the servers' tokens in a text (characters); None if unknown."""
        return await self._alive[0].ends(text)

    def _home(self, marks: Sequence[int]) -> Endpoint:
        """Choose the server, and remember that the prompt is there."""
        free = [one for one in self._alive if not one.full] or self._alive
        known = (self._homes.get(mark) for mark in reversed(marks))
        home = next((one for one in known if one in self._alive), None)
        if home is None or home not in free:
            home = min(free, key=lambda one: one.load)
        if marks:
            self._homes[marks[-1]] = home
            self._homes.move_to_end(marks[-1])
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
        return home

    def _leave_out(self, lost: Endpoint, error: Unreachable) -> bool:
        """Leave out a server, unless it is the last."""
        if self._alive == [lost]:
            return False
        if lost in self._alive:
            self._alive.remove(lost)
            logger.warning("%s; removed, %d replicas left", error, len(self._alive))
        return True


def prefixes(prompt: Prompt) -> list[int]:
    """Return a hash for each prefix of a prompt, block by block.

    A longer prompt is recognised by the last hash of a prompt that was served.
    """
    text = _flat(prompt) if isinstance(prompt, OpenTurn) else prompt
    size = LETTERS if isinstance(text, str) else BLOCK
    mark, marks = 0, []
    for end in range(size, len(text) + 1, size):
        mark = hash((mark, text[end - size : end]))
        marks.append(mark)
    return marks


def difference(one: Profile, other: Profile) -> str:
    """Describe how the first differs from the other; empty if they are alike."""
    theirs = dict(other)
    return "; ".join(
        f"{name} is {value!r}, not {theirs[name]!r}" for name, value in one if value != theirs[name]
    )


def _flat(turn: OpenTurn) -> str:
    spoken = "\0".join(f"{message.role}\0{message.content}" for message in turn.messages)
    return f"{spoken}\0{turn.thought}{turn.close + turn.said if turn.said else ''}"
