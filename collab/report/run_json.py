"""A run as plain data for the page, in a file or served.

The data come from the run's own files. Nothing that a manifest names is imported. Text of models is
untrusted data: the page must show it as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from collab.analysis.published import published
from collab.core.design import Label
from collab.report import collaboration
from collab.report.episode_json import PriceTable
from collab.report.failure_table import went_wrong
from collab.report.figure import (
    Figure,
    accuracy_against_cost,
    arms_of,
    checkpoint_panel,
    curves_of_models,
    pareto,
    recoverability_against_benchmark,
    recovery_by_point,
)
from collab.report.runs import RunSummary
from collab.report.tables import overall, remarks, tables
from collab.runs.jsonl import Plain
from collab.scenarios.base import Score
from collab.scenarios.collaboration import TOGETHER

MEASURED = ("realised", "steer_realised", "steer_tokens", "pair", "original", "trace")
"""Factors that are results of a case; the page offers no choice by them."""
FEW = 60
"""The most values that a factor or label may have to be a choice."""


def listed(job: RunSummary) -> Plain:
    """Return a run's description and episodes, without their trajectories.

    `episodes` is a table by column, in the order in which they finished; an episode's number is its
    index. `choices` are the factors and labels to select by, with their values.
    """
    status = job.folder.status
    return {
        "name": job.folder.path.name,
        "title": title(job),
        "about": about(job),
        "by": status.by if status else "level",
        "settings": job.settings,
        "seats": seats(job),
        "choices": _choices(job.scores),
        "questions": _questions(job),
        "episodes": _columns(job.scores),
    }


def results(job: RunSummary) -> Plain:
    """Return a run's results: its headline, tables, figures and notes."""
    scores, status = job.scores, job.folder.status
    by, published = (status.by, status.published) if status else ("level", "")
    failure_tables, failure_notes = went_wrong([job.folder], scores)
    made = [*tables(by, scores, published), *failure_tables] if scores else []
    return {
        "headline": headline(scores) if scores else {},
        "tables": [plain_table(one) for one in made],
        "figures": [plain_figure(one) for one in figures(job)],
        "notes": [*remarks(scores), *failure_notes, *(status.notes if status else ())],
        "failures": dict(status.failures) if status else {},
    }


def title(job: RunSummary) -> str:
    """Return a run's title."""
    status = job.folder.status
    return status.title if status else job.folder.path.name


def about(job: RunSummary) -> str:
    """Describe a run in one sentence."""
    at = job.settings
    scenario, policy = job.kind
    seated = ", ".join(f"{name} as {seat}" for seat, name in seats(job).items())
    questions = len({score.question for score in job.scores})
    return (
        f"{scenario} under the policy {policy}, with {seated}: {job.episodes} episodes on "
        f"{questions} questions, at most {at.get('budget')} tokens each; "
        f"started {job.started}, {job.state}."
    )


def seats(job: RunSummary) -> dict[str, str]:
    """Map each seat to its model."""
    return {seat: str(one.get("id", "a recording")) for seat, one in _team(job).items()}


def prices(job: RunSummary) -> PriceTable:
    """Map each seat to its prices."""
    return {seat: one.get("prices") or {} for seat, one in _team(job).items()}


def _team(job: RunSummary) -> Plain:
    return dict(job.folder.manifest["decides"].get("team", {}))


def headline(scores: Sequence[Score]) -> dict[str, str]:
    """Return the main results by name."""
    return {name.removesuffix(" %"): cell for name, cell in overall(scores).items()}


def figures(job: RunSummary) -> list[Figure]:
    """Return the figures of one run."""
    if not job.scores:
        return []
    if any(score.design.arm == TOGETHER for score in job.scores):
        return [pareto(collaboration.arms_of(job.scores))]
    by = job.folder.status.by if job.folder.status else "level"
    first = recovery_by_point(by, job.scores, known_model(job))
    cost = accuracy_against_cost(arms_of(job.scores))
    return [first, *([cost] if len(cost.series) > 1 else [])]


def figures_of_many(found: Sequence[RunSummary]) -> list[Figure]:
    """Return the figures of several runs: accuracy against cost, and against solo accuracy.

    A model's solo accuracy comes from its run of the scenario Solo, if there is one.
    """
    scored = [job for job in found if job.scores]
    costs = {
        f"{_main(job)} · {name}": of for job in scored for name, of in arms_of(job.scores).items()
    }
    alone = {_main(job): job.scores for job in scored if job.kind[0] == "Solo"}
    steered = {
        _main(job): (alone[_main(job)], [s for s in job.scores if s.design.arm == "steer"])
        for job in scored
        if job.kind[0] == "Recoverability" and _main(job) in alone
    }
    both = [accuracy_against_cost(costs)]
    return [*both, recoverability_against_benchmark(steered)] if steered else both


def test_panels(found: Sequence[RunSummary]) -> list[Figure]:
    """Return a panel for each of the paper's two tests, with the curves of all its runs."""
    panels = []
    for kind, by in (("Recoverability", "at"), ("Guidability", "length")):
        runs = {_main(job): job.scores for job in found if job.kind[0] == kind and job.scores}
        if runs:
            panels.append(curves_of_models(by, runs))
    return panels


def checkpoint_panels(found: Sequence[RunSummary]) -> list[Figure]:
    """Return a panel for each scenario and model with several revisions."""
    series: dict[str, dict[str, Sequence[Score]]] = {}
    for job in found:
        revision = job.settings.get(f"team.{_main_seat(job)}.revision")
        if job.scores and revision is not None:
            name = f"{_main(job)}, {job.kind[0]}"
            series.setdefault(name, {})[str(revision)] = job.scores
    return [checkpoint_panel(name, of) for name, of in series.items() if len(of) > 1]


def _main_seat(job: RunSummary) -> str:
    return str(job.settings.get("scenario.main", "main"))


def _main(job: RunSummary) -> str:
    return seats(job).get(_main_seat(job), job.folder.path.name)


def known_model(job: RunSummary) -> str:
    """Return the paper's name of the main model; empty if the paper lacks it."""
    names = {one.model.lower(): one.model for one in published()}
    return names.get(_main(job).rpartition("/")[2].lower(), "")


def plain_table(table: Table) -> Plain:
    """Return a table as its title, its columns and the text of its cells."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return {
        "title": str(table.title or ""),
        "columns": [str(column.header) for column in table.columns],
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }


def plain_figure(figure: Figure) -> Plain:
    """Return a figure as plain data."""
    return {**asdict(figure), "alt": figure.alt}


def _questions(job: RunSummary) -> Plain:
    return {
        question.id: {
            "messages": [[message.role, message.content] for message in question.messages],
            "answer": question.answer,
        }
        for question in job.folder.questions().values()
    }


def _columns(scores: Sequence[Score]) -> Plain:
    labels = dict.fromkeys(key for score in scores for key in score.factors)
    return {
        "case": [score.case for score in scores],
        "question": [score.question for score in scores],
        "verdict": [score.verdict for score in scores],
        "given": [score.extracted for score in scores],
        "tokens": [score.tokens for score in scores],
        "rival": [score.said_rival for score in scores],
        "labels": {key: [score.factor(key) for score in scores] for key in labels},
    }


def _choices(scores: Sequence[Score]) -> Mapping[str, Sequence[Label]]:
    found: dict[str, dict[Label, None]] = {}
    for score in scores:
        for key, value in score.factors.items():
            found.setdefault(key, {})[value] = None
    return {
        key: sorted(values, key=lambda v: (isinstance(v, str), v if v is not None else -1))
        for key, values in found.items()
        if 1 < len(values) <= FEW and key not in MEASURED
    }
