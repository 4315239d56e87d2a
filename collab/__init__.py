"""collab: several reasoning models think together on one shared trajectory."""

from typing import TYPE_CHECKING

from collab.boundary import (
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
from collab.condition import (
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
from collab.decision import (
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
from collab.engine import Case, Episode
from collab.errors import CollabError
from collab.policy import Adviser, Policy, View, Writer
from collab.settings import Settings
from collab.trajectory import Message, Outcome, Question, Recording, Trajectory, Unit

if TYPE_CHECKING:
    from collab.cli.play import play
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


def __getattr__(name: str) -> object:
    """Load what a notebook wants when it is asked for: policies and runs do without."""
    if name == "Run":
        from collab.report.notebook import Run

        return Run
    if name == "play":
        from collab.cli.play import play

        return play
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
