"""One trajectory for the eye: coloured by author, with the reason of each hand-off.

What a model wrote is untrusted text: control characters are shown, never sent to the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from collab.trajectory import (
    Asked,
    Closed,
    Edited,
    Ended,
    Event,
    Message,
    Rewound,
    Seams,
    Stopped,
    Trajectory,
    Unit,
    Wrote,
)

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


def colours(trajectory: Trajectory) -> dict[str, str]:
    """Give every author a colour, in the order of their first unit."""
    authors = dict.fromkeys(
        event.unit.author for event in trajectory.log if isinstance(event, Wrote)
    )
    return {author: COLOURS[i % len(COLOURS)] for i, author in enumerate(authors)}


def safe(text: str) -> str:
    """Return text that no terminal acts on: control and format characters written out."""
    return "".join(
        char
        if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else f"\\u{ord(char):04x}"
        for char in text
    )


def shown(trajectory: Trajectory) -> RenderableType:
    """Return the log of a trajectory, one block a hand-off."""
    colour = colours(trajectory)
    blocks: list[RenderableType] = []
    before: tuple[str, str, str] | None = None
    for event in trajectory.log:
        if isinstance(event, Wrote):
            unit = event.unit
            turn = (unit.author, unit.phase, unit.kind)
            if turn != before:
                blocks.append(_heading(unit, colour[unit.author]))
            before = turn
            blocks.append(Text(safe(unit.text.rstrip("\n")), style=colour[unit.author]))
        else:
            blocks += _remark(event)
    return Group(*blocks)


def _heading(unit: Unit, colour: str) -> RenderableType:
    said = [unit.author, unit.phase, unit.kind, f"{unit.tokens} tokens", *_read(unit.seams)]
    about = " · ".join([*said, unit.why] if unit.why else said)
    return Rule(Text(safe(about), style=f"bold {colour}"), align="left", style="dim")


def _read(seams: Seams | None) -> Iterator[str]:
    """Say how much of others' text its author read, where it was encoded anew."""
    if seams and seams.runs:
        changed = f", {seams.changed} seam tokens differ" if seams.changed else ""
        yield f"read {seams.tokens} ({seams.foreign} encoded anew{changed})"


def _remark(event: Event) -> Iterator[RenderableType]:
    match event:
        case Ended(seat):
            said = f"{seat} ended its thinking"
        case Edited(unit, text, why):
            said = f"unit {unit} {'struck' if text is None else 'changed'}: {why}"
        case Rewound(to, why):
            said = f"rewound to unit {to}: {why}"
        case Asked(seat, question, reply):
            said = f"{seat} was asked: {question!r} and said: {reply!r}"
        case Closed(seat, why):
            said = f"thinking closed, {seat} answers: {why}"
        case Stopped(why):
            said = f"stopped: {why}"
        case _:
            return
    yield Text(safe(said), style="dim italic")


def asked(messages: Sequence[Message]) -> RenderableType:
    """Return the conversation that asks a question."""
    return Group(*(Text(f"{message.role}: {safe(message.content)}") for message in messages))
