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
from collab.engine import Case, Episode
from collab.errors import CollabError
from collab.policy import (
    Adviser,
    Close,
    Decision,
    Edit,
    Insert,
    Policy,
    Rewind,
    Stop,
    View,
    Write,
    Writer,
)
from collab.settings import Settings
from collab.trajectory import Message, Question, Recording, Trajectory, Unit

__all__ = [
    "Adviser",
    "Answer",
    "Boundary",
    "Case",
    "Close",
    "CollabError",
    "Decision",
    "Edit",
    "End",
    "Episode",
    "Insert",
    "Length",
    "Message",
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
