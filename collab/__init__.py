"""Simulate several reasoning models that think together on one shared trajectory.

A name is imported from its module when it is first used, so that `import collab` is fast.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `_module_of` reads these imports
    from collab.app.grade import agrade, grade
    from collab.app.plan import RunPlan, aplan, plan
    from collab.app.plan_sweep import SweepPlan, aplan_sweep, plan_sweep
    from collab.app.play import aplay, play
    from collab.app.run import arun, run
    from collab.app.sweep import asweep, sweep
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
    from collab.core.design import Design
    from collab.core.inserted_text import InsertedText
    from collab.core.pattern_text import PatternText
    from collab.core.policy import Adviser, Policy, View, Writer
    from collab.core.settings import Settings
    from collab.core.trajectory import Checks, Message, Outcome, Question, Recording, Unit
    from collab.episode.engine import Case, Episode
    from collab.errors import CollabError
    from collab.grading import Judgement
    from collab.report import Trajectory
    from collab.report.notebook import Run, load

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
    "Checks",
    "Choose",
    "Close",
    "CollabError",
    "Condition",
    "Decision",
    "Design",
    "Edit",
    "End",
    "Episode",
    "Fork",
    "Insert",
    "InsertedText",
    "Judgement",
    "Length",
    "Message",
    "Outcome",
    "Paragraph",
    "PatternText",
    "Policy",
    "Question",
    "Recording",
    "Regex",
    "Repeats",
    "Rewind",
    "Run",
    "RunPlan",
    "Says",
    "Sentence",
    "Settings",
    "Share",
    "Stop",
    "SweepPlan",
    "Tag",
    "Tokens",
    "Trajectory",
    "Unit",
    "Unsure",
    "View",
    "Words",
    "Write",
    "Writer",
    "agrade",
    "aplan",
    "aplan_sweep",
    "aplay",
    "arun",
    "asweep",
    "grade",
    "load",
    "plan",
    "plan_sweep",
    "play",
    "run",
    "sweep",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_module_of(name)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _module_of(name: str) -> str:
    """Return the module that the import above takes a public name from."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(__file__).read_text("utf-8"))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return next(str(one.module) for one in imports if name in {each.name for each in one.names})
