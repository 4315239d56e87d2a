"""What the runs of a sweep found, in a sentence for each of the paper's two tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from collab.analysis.estimates import arm_of, share_of
from collab.analysis.stats import Effect, Mean, Rate
from collab.core.trajectory import Json
from collab.report.formatting import effects_of
from collab.report.runs import RunSummary


@dataclass(frozen=True)
class _Finding:
    """The comparison of one run: the main model with and without the steer."""

    model: str
    guide: str
    without: Mean
    steered: Mean
    effect: Effect

    @property
    def points(self) -> str:
        """The difference in points; as undecided where its interval holds 0."""
        low, high = 100 * self.effect.low, 100 * self.effect.high
        decided = "" if low > 0 or high < 0 else " (undecided)"
        return _minus(f"{100 * self.effect.value:+.0f} points [{low:+.0f}, {high:+.0f}]{decided}")


def findings(found: Sequence[RunSummary]) -> list[str]:
    """Return a sentence for each test that the runs make: the first run in full, then the others.

    Args:
        found: Runs of one or several scenarios; those without a steered and an undisturbed arm
            are left out.
    """
    sentences = {"Recoverability": _recovers, "Guidability": _is_guided}
    groups = {kind: [job for job in found if job.kind[0] == kind] for kind in sentences}
    compared = {
        kind: sorted(_compared(jobs), key=lambda one: one.model) for kind, jobs in groups.items()
    }
    return [
        " ".join(_sentence(group, sentences[kind])) for kind, group in compared.items() if group
    ]


def _compared(found: Sequence[RunSummary]) -> Iterator[_Finding]:
    for job in found:
        scores = [score for score in job.scores if score.design.steer_kind in (None, "raw")]
        steered, without = arm_of(scores, "steer"), arm_of(scores, "none")
        effect = effects_of(scores, scores).get("none")
        if effect is not None and effect.n:
            guides = job.settings.get("scenario.guides")
            guide = _model(job.settings, guides[0]) if isinstance(guides, list) and guides else ""
            model = _model(job.settings, job.settings.get("scenario.main"))
            yield _Finding(model, guide, share_of(without), share_of(steered), effect)


def _sentence(group: Sequence[_Finding], sentence: Callable[[_Finding], str]) -> Iterator[str]:
    first, *others = group
    yield f"{sentence(first)}: {first.points}."
    if others:
        yield f"The same for {_join([f'{one.model}: {one.points}' for one in others])}."


def _recovers(one: _Finding) -> str:
    return (
        f"From openings of its own correct thinking, {one.model} goes on to solve "
        f"{_percent(one.without)} undisturbed and {_percent(one.steered)} after a distractor"
    )


def _is_guided(one: _Finding) -> str:
    guide = f"the start of {one.guide}'s correct thinking" if one.guide else "a guide's start"
    return (
        f"Of questions that it seldom solves, {one.model} solves {_percent(one.without)} on its "
        f"own and {_percent(one.steered)} from {guide}"
    )


def _percent(share: Rate | Mean) -> str:
    return f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _join(parts: Sequence[str]) -> str:
    return "; ".join(parts)


def _model(settings: Mapping[str, Json], seat: Json) -> str:
    """Return the short name of the model in a seat."""
    model = str(settings.get(f"team.{seat}.id", seat))
    return model.rpartition("/")[2]
