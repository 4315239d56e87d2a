"""collab: several reasoning models think together on one shared trajectory.

A name is loaded when it is asked for: a command is stopped in order as soon as it has begun.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collab.cli.play import play
    from collab.core.boundary import (
        Answer,
        Boundary,
        End,
        Length,
        Paragraph,
        Regex,
        Sentence,
        Share,
        Tag,
        Tokens,
        Words,
    )
    from collab.core.condition import (
        AfterMoney,
        AfterSeconds,
        AfterTokens,
        AfterUnits,
        AllOf,
        AnyOf,
        Boxed,
        Called,
        Condition,
        Repeats,
        Says,
        Unsure,
    )
    from collab.core.decision import (
        Branch,
        Choose,
        Close,
        Decision,
        Edit,
        Fork,
        Insert,
        Rewind,
        Stop,
        Write,
    )
    from collab.core.inserted_text import InsertedText
    from collab.core.policy import Adviser, Policy, View, Writer
    from collab.core.settings import Settings
    from collab.core.trajectory import Message, Outcome, Question, Recording, Trajectory, Unit
    from collab.episode.engine import Case, Episode
    from collab.errors import CollabError
    from collab.report.notebook import Run

__all__ = [
    "Adviser",
    "AfterMoney",
    "AfterSeconds",
    "AfterTokens",
    "AfterUnits",
    "AllOf",
    "Answer",
    "AnyOf",
    "Boundary",
    "Boxed",
    "Branch",
    "Called",
    "Case",
    "Choose",
    "Close",
    "CollabError",
    "Condition",
    "Decision",
    "Edit",
    "End",
    "Episode",
    "Fork",
    "Insert",
    "InsertedText",
    "Length",
    "Message",
    "Outcome",
    "Paragraph",
    "Policy",
    "Question",
    "Recording",
    "Regex",
    "Repeats",
    "Rewind",
    "Run",
    "Says",
    "Sentence",
    "Settings",
    "Share",
    "Stop",
    "Tag",
    "Tokens",
    "Trajectory",
    "Unit",
    "Unsure",
    "View",
    "Words",
    "Write",
    "Writer",
    "play",
]

_HOMES = {
    "collab.core.boundary": "Answer Boundary End Length Paragraph Regex Sentence Share Tag Tokens "
    "Words",
    "collab.cli.play": "play",
    "collab.core.condition": "AfterMoney AfterSeconds AfterTokens AfterUnits AllOf AnyOf Boxed "
    "Called Condition Repeats Says Unsure",
    "collab.core.decision": "Branch Choose Close Decision Edit Fork Insert Rewind Stop Write",
    "collab.episode.engine": "Case Episode",
    "collab.errors": "CollabError",
    "collab.core.inserted_text": "InsertedText",
    "collab.core.policy": "Adviser Policy View Writer",
    "collab.report": "Trajectory",  # with its looks on a terminal and in a notebook
    "collab.report.notebook": "Run",
    "collab.core.settings": "Settings",
    "collab.core.trajectory": "Message Outcome Question Recording Unit",
}
"""The names of each module."""
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
