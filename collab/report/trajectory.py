"""Show a trajectory: coloured by author, with the reason of each hand-off.

Text of models is untrusted: control characters are written out, never sent to the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.text import Text

from collab.core.trajectory import (
    Chose,
    Edited,
    Event,
    Forked,
    Message,
    Rewound,
    Trajectory,
    Wrote,
)
from collab.report.episode_json import blocks
from collab.runs.jsonl import Plain

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


def colours(trajectory: Trajectory) -> dict[str, str]:
    """Give every author a colour, in the order of their first unit; those of branches come last."""
    return _coloured(_authors(trajectory.log))


def safe(text: str) -> str:
    """Return text without effect on a terminal: control and format characters are written out."""
    return "".join(
        char
        if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else f"\\u{ord(char):04x}"
        for char in text
    )


def render_trajectory(trajectory: Trajectory, after: Sequence[Event] = ()) -> RenderableType:
    """Return a trajectory as it grew, with a heading at each hand-off; struck units are struck out.

    Only events `after` the beginning of the log are shown.
    """
    return Group(*_shown(blocks(trajectory.log)[len(blocks(after)) :], colours(trajectory)))


@dataclass(frozen=True, slots=True)
class GrowingTrajectory:
    """The end of a growing trajectory, as much as the screen holds."""

    trajectory: Trajectory
    text: str = ""
    """The text so far of the unit that is being written."""
    above: str = ""
    """A line that stays on top."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the last lines."""
        most = max(console.height - 2, 1)
        last = [_cut(block, most * options.max_width) for block in blocks(self.trajectory.log)]
        grown = [*_shown(last[-most:], colours(self.trajectory))]
        if self.text:
            grown.append(Text(safe(self.text[-most * options.max_width :]), style="bold"))
        yield Text(safe(self.above), style="bold", no_wrap=True, overflow="ellipsis")
        free = options.update(height=None)
        for line in console.render_lines(Group(*grown), free, pad=False)[-most:]:
            yield from line
            yield Segment.line()


def asked(messages: Sequence[Message]) -> RenderableType:
    """Return the messages that ask a question."""
    return Group(*(Text(f"{message.role}: {safe(message.content)}") for message in messages))


def remark(block: Plain) -> str:
    """Describe a block that is not a unit."""
    why = f": {block['why']}" if block.get("why") else ""
    if block["is"] == "asked":
        return f"{block['author']} was asked {block['question']!r} and replied {block['reply']!r}"
    if block["is"] == "fork":
        return f"{len(block['branches'])} branches from here{why}"
    return f"{block['text']}{why}"


def line(event: Event) -> str:
    """Describe an event in a line."""
    match event:
        case Wrote(unit):
            about = " · ".join(filter(None, (unit.author, unit.phase, unit.kind, unit.why)))
            return f"{about}: {unit.text.strip()}"
        case Edited(unit, text, why):
            return f"unit {unit} {'struck' if text is None else f'changed to {text!r}'}: {why}"
        case Rewound(to, why):
            return f"back to unit {to}: {why}"
        case Chose(branch, why):
            return f"branch {branch + 1} continues: {why}"
        case _:
            return remark(blocks([event])[0])


def _authors(log: Sequence[Event]) -> Iterator[str]:
    inner: list[Event] = []
    for event in log:
        if isinstance(event, Wrote):
            yield event.unit.author
        elif isinstance(event, Forked):
            inner += [one for branch in event.branches for one in branch.log]
    if inner:
        yield from _authors(inner)


def _coloured(authors: Iterator[str]) -> dict[str, str]:
    return {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(dict.fromkeys(authors))}


def _shown(items: Sequence[Plain], colour: dict[str, str]) -> Iterator[RenderableType]:
    before: tuple[str, ...] = ()
    for block in items:
        if block["is"] == "asked" and "\n" in block["question"].strip() + block["reply"].strip():
            yield from _asked(block)
            continue
        if block["is"] != "unit":
            yield Text(safe(remark(block)), style="dim italic")
            yield from _branches(block, colour)
            continue
        style = colour.get(block["author"], "default")
        turn = (block["author"], block["phase"], block["kind"])
        if turn != before:
            yield _heading(block, style)
        before = turn
        yield _text(block, style)


def _asked(block: Plain) -> Iterator[RenderableType]:
    """Yield a side question of several lines, and its reply below."""
    for verb, text in (("was asked", block["question"]), ("said", block["reply"])):
        yield Text(f"{safe(block['author'])} {verb}:", style="dim italic")
        yield Padding(Text(safe(text.strip("\n")), style="dim"), (0, 0, 0, 4))


def _text(unit: Plain, style: str) -> Text:
    text = safe(unit["text"].rstrip("\n"))
    if "struck" not in unit:
        return Text(text, style=style)
    why = (f" [struck: {safe(unit['struck'])}]", "dim italic")
    return Text.assemble((text, f"{style} strike dim"), why)


def _branches(block: Plain, colour: dict[str, str]) -> Iterator[RenderableType]:
    for number, branch in enumerate(block.get("branches", ()), 1):
        yield Text(f"branch {number}: {safe(branch['finish'])}", style="dim italic")
        yield Padding(Group(*_shown(branch["blocks"], colour)), (0, 0, 0, 4))


def _heading(unit: Plain, colour: str) -> RenderableType:
    parts = [
        unit["author"],
        unit["phase"],
        unit["kind"],
        f"{unit['tokens']} tokens",
        *_reading(unit),
    ]
    about = " · ".join([*parts, unit["why"]] if unit["why"] else parts)
    return Rule(Text(safe(about), style=f"bold {colour}"), align="left", style="dim")


def _reading(unit: Plain) -> Iterator[str]:
    """Describe how much of other authors' text its author read, if it was encoded anew."""
    tokens, foreign, changed = unit.get("read", (0, 0, 0))
    if foreign:
        differ = f", {changed} seam tokens differ" if changed else ""
        yield f"read {tokens} ({foreign} encoded anew{differ})"


def _cut(block: Plain, most: int) -> Plain:
    """Remove the part of the text that no screen can show."""
    text = block.get("text", "")
    return {**block, "text": text[-most:]} if len(text) > most else block
