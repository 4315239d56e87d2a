"""A team: the reasoners by seat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collab.episode.reasoner import Reasoner
from collab.errors import PolicyError


@dataclass(frozen=True)
class Team:
    """The reasoners by seat."""

    seats: Mapping[str, Reasoner]

    def __getitem__(self, seat: str) -> Reasoner:
        try:
            return self.seats[seat]
        except KeyError:
            raise PolicyError(
                f"seat {seat!r} is not in the team (seats: {', '.join(sorted(self.seats))})"
            ) from None

    @property
    def closes(self) -> frozenset[str]:
        """The close tags of all its models."""
        return frozenset(one.think_close for one in self.seats.values() if one.think_close)

    def count(self, text: str, seat: str | None) -> int:
        """Count a text's tokens with the seat's tokenizer, else with any in the team, else as 0."""
        first = () if seat is None else (self[seat],)
        counts = (one.count(text) for one in (*first, *self.seats.values()))
        return next((count for count in counts if count is not None), 0)
