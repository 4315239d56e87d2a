"""The pages of the docs as steps: what a reader runs, in its order."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Kind = Literal["python", "session", "script", "command"]
"""A Python block, lines of Python's prompt, a bash block, or one line behind a `$`."""


@dataclass(frozen=True)
class Block:
    language: str
    code: str


@dataclass(frozen=True)
class Step:
    """What a reader runs at once."""

    kind: Kind
    text: str
    refused: bool = False
    """Whether an error stands below it."""


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def steps(page: Path) -> Iterator[Step]:
    """Yield all that a page has its reader run."""
    for block in blocks(page):
        if block.language == "python":
            yield Step("python", block.code)
        elif block.language == "bash":
            yield Step("script", block.code)
        elif block.code.startswith(">>> "):
            lines = block.code.splitlines()
            yield Step("session", "".join(f"{line.removeprefix('>>> ')}\n" for line in lines))
        else:
            for shown in re.split(r"^\$ ", block.code.replace("\\\n", " "), flags=re.M)[1:]:
                command, _, said = shown.partition("\n")
                yield Step("command", command, said.startswith("error: "))


def commands() -> list[str]:
    """Return every command that is shown by itself, once."""
    return sorted({step.text for page in PAGES for step in steps(page) if step.kind == "command"})


def scripts() -> list[str]:
    """Return every line of a bash block that runs collab, once."""
    shown = (step.text for page in PAGES for step in steps(page) if step.kind == "script")
    lines = (line for text in shown for line in text.replace("\\\n", " ").splitlines())
    return sorted({line for line in lines if line.startswith("collab ")})
