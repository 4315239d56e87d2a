"""The runs that the paper's tables and figure 4 are made of.

A run is one experiment of conf/experiment, played for each model. Several tables may use one run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from collab.analysis.stats import Mean
from collab.report.evidence import MEAN, Pick, Trial, shares
from collab.scenarios.base import Score


@dataclass(frozen=True, slots=True)
class PaperRun:
    """One experiment, played for each model."""

    experiment: str
    full: tuple[str, ...]
    """The settings of the paper: questions, budget and sizes."""
    bench: str | None = None
    """The run of solo draws that selects the questions with equal solve counts."""
    solved: tuple[int, int] = (0, 0)
    """The fewest and most correct draws of each model on those questions."""
    peers: str = ""
    """The experiment with the models that share these questions, if it is another one."""

    @property
    def is_code(self) -> bool:
        """Whether the questions ask for programs."""
        return CODE[0] in self.full


MATHS = ("questions=maths", "budget=32768")
CODE = ("questions=code", "budget=32768")
GUIDES = (
    "model@team.guide=deepseek_r1",
    "model@team.second=qwen3_235b_a22b",
    "+model@team.third=qwq_32b",
    "scenario.guides=[guide,second,third]",
)
SHARED = (*MATHS, "scenario.originals=200", "scenario.distractors=50")
OWN = (*MATHS, "scenario.originals=250", "scenario.distractors=50")
RUNS = {
    "solo": PaperRun("solo", MATHS),
    "solo_code": PaperRun("solo_code", CODE),
    "recoverability": PaperRun("recoverability", OWN),
    "recoverability_shared": PaperRun("recoverability", SHARED, "solo", (8, 8)),
    "first_paragraph": PaperRun("first_paragraph", SHARED, "solo", (8, 8)),
    "long_steers": PaperRun("long_steers", OWN),
    "foreign_steers": PaperRun(
        "foreign_steers", (*SHARED, "model@team.other=qwen3_8b"), "solo", (8, 8)
    ),
    "guidability": PaperRun("guidability", (*MATHS, *GUIDES)),
    "guidability_shared": PaperRun("guidability", (*MATHS, *GUIDES), "solo", (0, 1)),
    "guidability_solvable": PaperRun("guidability_solvable", (*MATHS, *GUIDES)),
    "code_recoverability": PaperRun(
        "code_recoverability", (*CODE, "scenario.originals=250", "scenario.distractors=50")
    ),
    "code_recoverability_shared": PaperRun(
        "code_recoverability",
        (*CODE, "scenario.originals=200", "scenario.distractors=50"),
        "solo_code",
        (8, 8),
    ),
    "code_guidability": PaperRun("code_guidability", (*CODE, GUIDES[0])),
    "code_guidability_shared": PaperRun(
        "code_guidability", (*CODE, GUIDES[0]), "solo_code", (0, 1)
    ),
}
"""The runs of the tables, by name."""


def _arm(arm: str) -> Pick:
    return lambda trial: trial.arm(arm)


def _holding(trial: Trial) -> list[Score]:
    """Mark a score as correct if its steer holds the answer, whatever its verdict."""
    return [
        replace(s, verdict="correct" if s.design.steer_holds_answer else "wrong")
        for s in trial.arm("steer")
    ]


def _shared_guides(trial: Trial) -> list[Score]:
    """Return the steered scores on questions where every guide has a trajectory."""
    return [score for score in trial.arm("steer") if score.design.by_all_guides is not False]


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Columns of a table: one measure at each value of a factor, and its mean."""

    run: str
    measure: str
    """The name in `published`."""
    by: str
    """The factor or label whose values are averaged."""
    subset: str = ""
    whole: str = MEAN
    """The column of the mean."""
    each: bool = True
    """Whether each value has a column."""
    pick: Pick = field(default=lambda trial: trial.arm("steer"))
    head: str = ""
    """The heading of the mean's column, if not its level."""

    def cells(self, trial: Trial) -> dict[str, Mean]:
        """Return a trial's numbers by column."""
        picked = self.pick(trial)
        if not picked:
            return {}
        found = shares(trial, picked, self.by)
        mean = found.pop(MEAN)
        return {**(found if self.each else {}), self.whole: mean}


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper, or a part of a table."""

    table: int
    section: str
    title: str
    domain: str
    parts: tuple[ColumnGroup, ...]

    @property
    def runs(self) -> list[str]:
        """Its runs."""
        return list(dict.fromkeys(part.run for part in self.parts))


def _twin(
    run: str, measure: str, by: str, subset: str, *, whole: str = MEAN, head: str = ""
) -> ColumnGroup:
    return ColumnGroup(run, measure, by, subset, whole, each=False, head=head)


def _main(domain: str, before: str = "") -> PaperTable:
    recovers, guided = f"{before}recoverability", f"{before}guidability"
    alone = "solo_code" if before else "solo"
    parts = (
        ColumnGroup(alone, "benchmark", "level", each=False, pick=_arm("solo"), head="benchmark"),
        _twin(f"{recovers}_shared", "recoverability", "at", "shared", head="recov. shared"),
        _twin(recovers, "recoverability", "at", "individual", head="recov. individual"),
        _twin(f"{guided}_shared", "guidability", "length", "shared", head="guid. shared"),
        _twin(guided, "guidability", "length", "individual", head="guid. individual"),
    )
    title = "solo accuracy, recoverability and guidability of each model"
    return PaperTable(1, "§3.2", title, domain, parts)


def _points(table: int, run: str, subset: str, title: str) -> PaperTable:
    part = ColumnGroup(run, "recoverability", "at", subset)
    return PaperTable(
        table, "App. D", f"recoverability by insertion point, {title}", "maths", (part,)
    )


_GUIDED = ColumnGroup("guidability", "guidability", "length", "individual")
_HELD = ColumnGroup("guidability", "answer in steer", "length", "individual", pick=_holding)
_ALONE = ColumnGroup("solo", "benchmark", "level", pick=_arm("solo"))
VIEWS = (
    _main("maths"),
    _main("code", "code_"),
    PaperTable(
        2,
        "§3.2",
        "guidability, and steers that hold the answer",
        "maths",
        (
            replace(_GUIDED, each=False, head="guided"),
            replace(_HELD, each=False, head="answer in steer"),
        ),
    ),
    PaperTable(4, "App. C", "solved alone", "maths", (_ALONE,)),
    PaperTable(5, "App. C", "solved alone", "code", (replace(_ALONE, run="solo_code"),)),
    _points(6, "recoverability_shared", "shared", "shared questions"),
    _points(7, "first_paragraph", "shared", "first paragraph kept"),
    _points(8, "recoverability", "individual", "each model's own questions"),
    PaperTable(
        9,
        "App. D",
        "recoverability by how often the question is solved alone",
        "maths",
        (ColumnGroup("recoverability", "recoverability", "solved", "individual"),),
    ),
    _points(10, "long_steers", "individual", "steers twice as long"),
    PaperTable(
        11,
        "App. E.1",
        "recoverability by source of the distractors, shared questions",
        "maths",
        (
            _twin("recoverability_shared", "recoverability", "at", "shared", whole="same model"),
            _twin("foreign_steers", "recoverability", "at", "shared", whole="other models"),
        ),
    ),
    PaperTable(
        12,
        "App. E.2",
        "guidability on problems that are always solved alone",
        "maths",
        (_twin("guidability_solvable", "guidability", "length", "", whole="8/8"),),
    ),
    PaperTable(13, "App. F", "problems and trajectories of each guide", "maths", ()),
    PaperTable(
        14, "App. F", "guidability, and steers that hold the answer", "maths", (_GUIDED, _HELD)
    ),
    PaperTable(
        15,
        "App. F",
        "guidability by share of the guide's trajectory, shared questions",
        "maths",
        (replace(_GUIDED, run="guidability_shared", subset="shared"),),
    ),
    PaperTable(
        16,
        "App. F",
        "guidability by guide, on problems with a trajectory of every guide",
        "maths",
        (replace(_GUIDED, by="guide", pick=_shared_guides),),
    ),
    PaperTable(
        17,
        "App. E.3",
        "guidability, and accuracy with the answer forced after the steer",
        "code",
        (
            replace(_GUIDED, run="code_guidability"),
            replace(_GUIDED, run="code_guidability", measure="answer forced", pick=_arm("forced")),
        ),
    ),
)
TABLES = sorted({view.table for view in VIEWS})
FIGURES = {4: "recoverability_shared"}
"""The run of each figure."""
COUNTED = 13
COUNTED_RUN = "guidability"


def views(table: int) -> list[PaperTable]:
    """Return the parts of a table."""
    return [view for view in VIEWS if view.table == table]


def runs_of(table: int) -> list[str]:
    """Return the runs of a table."""
    if table == COUNTED:
        return [COUNTED_RUN]
    return list(dict.fromkeys(run for view in views(table) for run in view.runs))
