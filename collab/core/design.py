"""The design of a case: its arm, and the factors that the built-in scenarios set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import get_args, get_type_hints

Label = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The factors of one case; a factor that its scenario does not set is None.

    Examples:
        >>> from collab import Design
        >>> design = Design(arm="steer", solved=8, at=0.2)
        >>> design.factors
        {'arm': 'steer', 'solved': 8, 'at': 0.2}
    """

    arm: str | None = None
    """Steered or which control: `steer`, `none`, `phrase`, `placebo`, `forced`; for other
    scenarios `solo`, `together`, `fork` or the name of a baseline."""
    solved: int | None = None
    """Correct solo draws of the main seat on the question."""
    pair: str | None = None
    """The name that a steered case shares with its controls."""

    at: float | None = None
    """The insertion point that was asked for: a share of the original."""
    realised: float | None = None
    """The share at which the text was cut: of the original, or of the guide's trajectory."""
    original: int | None = None
    """The solo draw of the main seat that is the original."""
    steer: str | None = None
    """The kind of the distracting steer (`SteerKind`)."""
    steer_question: str | None = None
    """The question of the distracting trajectory, where it is another one."""
    steer_tokens: int | None = None
    """The length of the steer (tokens)."""
    steer_realised: float | None = None
    """The share of the distractor's text that is the steer."""
    own_holds_answer: bool | None = None
    """Whether the part of the original before the steer mentions the gold answer."""
    own_states_answer: bool | None = None
    """Whether that part states it as a result."""
    steer_holds_answer: bool | None = None
    """Whether the steer mentions the gold answer."""
    steer_states_answer: bool | None = None
    """Whether the steer states it as a result."""

    length: float | None = None
    """The share of the guide's trajectory that was asked for."""
    guide: str | None = None
    """The seat that guides."""
    trace: int | None = None
    """The solo draw of the guide that opens the thinking."""
    steer_kind: str | None = None
    """How the guide's text came about (`Recording.kind`)."""
    teacher: str | None = None
    """`own` if the main model was trained on this guide's samples, else `other`."""
    by_all_guides: bool | None = None
    """Whether every guide has a trajectory on the question."""

    policy: str | None = None
    """The class of the policy, where arms differ in it."""
    helper: str | None = None
    """The seat that baselines take for the partner."""
    of: str | None = None
    """The case that was forked."""
    unit: int | None = None
    """How many of its units the fork keeps."""

    @property
    def factors(self) -> dict[str, Label]:
        """Return the factors that are set, by name."""
        values = ((name, getattr(self, name)) for name in FACTORS)
        return {name: value for name, value in values if value is not None}

    def factor(self, name: str, labels: Mapping[str, Label]) -> Label:
        """Return a factor by name, or where the design does not set it the label of that name."""
        value: Label = getattr(self, name) if name in _TYPES else None
        return labels.get(name) if value is None else value

    @classmethod
    def split(cls, row: Mapping[str, Label]) -> tuple[Design, dict[str, Label]]:
        """Split the labels of a stored row into the design and all others.

        A label with the name of a factor and a value of another type stays a label.
        """
        found = {name: value for name, value in row.items() if _fits(name, value)}
        others = {name: value for name, value in row.items() if name not in found}
        return cls(**found), others  # type: ignore[arg-type]  # each value has its field's type


FACTORS = tuple(field.name for field in fields(Design))
"""The names of all factors."""
_TYPES = {name: {*get_args(hint)} - {NoneType} for name, hint in get_type_hints(Design).items()}


def _fits(name: str, value: object) -> bool:
    types = _TYPES.get(name, set())
    return type(value) in types or (float in types and type(value) is int)
