"""Use a tool: what the thinking asks for is computed, and the result stands behind it.

Sources: reasoning with an interpreter (ToRA, ReTool: a program in tags, behind it what it prints),
and the calculator of GSM8K's authors (Cobbe et al. 2021: it computes what stands before an equals
sign; `experiment=calculator` has it). What is between tags only its author reads.
"""

import re

from pydantic import Field, field_validator

from collab import (
    Adviser,
    Boundary,
    Close,
    Decision,
    Insert,
    Settings,
    Tag,
    View,
    Write,
    Writer,
)


class UseTool(Settings):
    """Let `main` think; where its last unit asks for it, insert what `tool` replies."""

    main: Writer = "main"
    tool: Adviser = "tool"
    until: Boundary = Tag(tag="</code>", opens="<code>")
    """Where a unit of `main` ends, so that what it asks for is seen."""
    asks: str = r"<code>(.*)</code>"
    """Pattern at the end of a unit whose first group is what is to be computed; a `.` is any
    character, line breaks too."""
    program: str = "{}"
    """What the tool is asked; `{}` stands for that group."""
    shows: str = "\n<output>\n{}\n</output>\n"
    """What is inserted; `{}` stands for the tool's reply."""
    calls: int | None = Field(default=None, ge=0)
    """Calls that are answered, at most; None: all."""

    @field_validator("asks")
    @classmethod
    def _has_a_group(cls, asks: str) -> str:
        try:
            groups = re.compile(asks).groups
        except re.error as error:
            raise ValueError(f"asks {asks!r} is no regular expression: {error}") from None
        if not groups:
            raise ValueError(f"asks {asks!r} has no group (…) for what is to be computed")
        return asks

    @field_validator("program", "shows")
    @classmethod
    def _has_a_place(cls, form: str) -> str:
        if "{}" not in form or form.endswith(" "):
            raise ValueError(
                f"{form!r} must hold {{}} for what stands in its place, and not end in a space, "
                "which would split the next word's token"
            )
        return form

    async def decide(self, view: View) -> Decision:
        """Have computed what is asked for, else leave the pen with `main`."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        answered = sum(unit.author == self.tool for unit in view.units)
        asked = self._asked(view) if answered != self.calls else None
        if asked is None:
            return Write(self.main, self.until, why=f"{self.main} thinks")
        said = await view.ask(self.tool, self.program.replace("{}", asked))
        text = self.shows.replace("{}", said.strip())
        return Insert(self.tool, text, why=f"call {answered + 1}: {asked.strip()[:60]!r}")

    def _asked(self, view: View) -> str | None:
        """Return what main's last unit asks for at its end."""
        last = view.units[-1] if view.units else None
        if last is None or last.author != self.main:
            return None
        found = re.search(rf"(?:{self.asks})\s*\Z", last.text, re.DOTALL)
        return found[1] if found else None
