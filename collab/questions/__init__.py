"""Question sets, and the prompt that turns a question's text into messages.

A set is a value with one method, `load`. The user turn is a setting of its own because it changes
the results: each set has a default, which a run may override.
"""

from collab.questions.hub import Hub
from collab.questions.jsonl import Jsonl
from collab.questions.mix import Mix
from collab.questions.pocket import Pocket
from collab.questions.programs import Programs
from collab.questions.prompt import PromptFormat
from collab.questions.selection import Questions, QuestionSet
from collab.questions.table import Table

__all__ = [
    "Hub",
    "Jsonl",
    "Mix",
    "Pocket",
    "Programs",
    "PromptFormat",
    "QuestionSet",
    "Questions",
    "Table",
]
