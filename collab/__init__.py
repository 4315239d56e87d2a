"""collab: several reasoning models think together on one shared trajectory."""

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

__all__ = [
    "Adviser",
    "Answer",
    "Boundary",
    "Branch",
    "Case",
    "Choose",
    "Close",
    "CollabError",
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
    "Rewind",
    "Sentence",
    "Settings",
    "Share",
    "Stop",
    "Tag",
    "Tokens",
    "Trajectory",
    "Unit",
    "View",
    "Words",
    "Write",
    "Writer",
]
