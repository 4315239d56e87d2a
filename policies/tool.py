"""Use a tool: run what the thinking asks for, and insert the result after it.

Sources: reasoning with an interpreter (ToRA, ReTool: a program in tags, followed by its output),
and the calculator of GSM8K's authors (Cobbe et al. 2021: it computes the sum before an equals sign;
see `experiment=calculator`). Only the author of a tag reads the text between its tags.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from collab import (
    Adviser,
    Boundary,
    Close,
    Decision,
    Insert,
    InsertedText,
    PatternText,
    Settings,
    Tag,
    View,
    Write,
    Writer,
)


def _has_placeholder(text: str) -> str:
    if "{}" not in text:
        raise ValueError(f"{text!r} has no {{}} to be replaced")
    return text


Placeholder = Annotated[InsertedText, AfterValidator(_has_placeholder)]
"""A text with `{}` in it."""


class UseTool(Settings):
    """Let `main` think, and insert the tool's reply where its last unit asks for one."""

    main: Writer = "main"
    """Seat that thinks and answers."""
    tool: Adviser = "tool"
    """Seat that computes, such as model@team.tool=python; its reply is inserted in its name."""
    until: Boundary = Tag(tag="</code>", opens="<code>")
    """Where a unit of `main` ends, so that its request is found. The tags must be those that `main`
    was trained to use, or is asked to use."""
    asks: PatternText = r"<code>(.*)</code>"
    """Pattern at the end of a unit; its first group is the request. A `.` matches any character,
    line breaks included."""
    program: Placeholder = "{}"
    """Program sent to the tool; `{}` is replaced by the request."""
    shows: Placeholder = "\n<output>\n{}\n</output>\n"
    """Text that is inserted; `{}` is replaced by the tool's reply."""
    calls: int | None = Field(default=None, ge=0)
    """Calls that are answered, at most; None: all."""

    @field_validator("asks")
    @classmethod
    def _has_a_group(cls, asks: str) -> str:
        if not re.compile(asks).groups:
            raise ValueError(f"asks {asks!r} has no group (…) for the request")
        return asks

    async def decide(self, view: View) -> Decision:
        """Answer a request in the last unit, else let `main` write."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        answered = sum(unit.author == self.tool for unit in view.units)
        request = self._request(view) if answered != self.calls else None
        if request is None:
            return Write(self.main, self.until, why=f"{self.main} thinks")
        reply = await view.ask(self.tool, self.program.replace("{}", request))
        text = self.shows.replace("{}", reply.strip())
        return Insert(self.tool, text, why=f"call {answered + 1}: {request.strip()[:60]!r}")

    def _request(self, view: View) -> str | None:
        """Return the request at the end of main's last unit; None without one."""
        last = view.units[-1] if view.units else None
        if last is None or last.author != self.main:
            return None
        found = re.search(rf"(?:{self.asks})\s*\Z", last.text, re.DOTALL)
        return found[1] if found else None
