"""The tests of the paper's claims on your own runs: which difference decides, and how.

The tests are ours. They pool the models of a run and respect clusters of questions and distractors.
They say nothing about models that were not run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal

from collab.analysis.estimates import ALPHA, Pairs, effect_of, matched, pairs_of, share_of
from collab.analysis.stats import Effect, Mean, clustered_mean, difference, holm, rank_correlation
from collab.report.evidence import Evidence, Trial
from collab.scenarios.base import Score

ClaimVerdict = Literal["true", "false", "undecided"]
ALIKE = 0.1
"""Largest difference of two shares that count as equal, about that of the paper's own pairs."""


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """The result of a claim's test."""

    verdict: ClaimVerdict
    estimate: str
    """The number that decides, with its interval."""


def _above(effect: Effect, low: float = 0.0) -> ClaimFinding:
    """Test that a difference is larger than `low`."""
    verdict: ClaimVerdict = "undecided"
    if effect.n and effect.low > low:
        verdict = "true"
    elif effect.n and effect.high < low:
        verdict = "false"
    return ClaimFinding(verdict, str(effect))


def _below(effect: Effect) -> ClaimFinding:
    mirror = Effect(-effect.value, -effect.high, -effect.low, effect.n, effect.clusters)
    return ClaimFinding(_above(mirror).verdict, str(effect))


def _pooled(trials: Sequence[Trial], control: str) -> Effect:
    """Compare the steered cases of all models with a control, clustered by question."""
    return effect_of(list(chain.from_iterable(matched(t.scores, control) for t in trials)))


def _original(score: Score) -> Hashable:
    """Return the original of a case; None for scores stored without it."""
    draw = score.design.original
    return None if draw is None else (score.question, draw)


def _original_and_point(score: Score) -> Hashable:
    original = _original(score)
    return None if original is None else (original, score.design.at)


def _guide_trace(score: Score) -> Hashable:
    """Return the guide's trajectory of a case; None for scores stored without it."""
    design = score.design
    return None if design.trace is None else (score.question, design.guide, design.trace)


def _across(evidence: Evidence, one: str, other: str) -> Effect:
    """Compare two runs, model by model, on the same originals at the same points."""
    others = {trial.model: trial for trial in evidence[other]}
    pairs: list[tuple[Score, Score]] = []
    for trial in evidence[one]:
        if trial.model in others:
            control = others[trial.model].arm("steer")
            pairs += pairs_of(trial.arm("steer"), control, _original_and_point)
    return effect_of(pairs)


def _between(trials: Sequence[Trial], by: str, one: float, other: float) -> Pairs:
    """Match the cases of two values of a factor that are otherwise equal."""
    pairs: list[tuple[Score, Score]] = []
    for trial in trials:
        at = {
            value: [s for s in trial.arm("steer") if s.factor(by) == value]
            for value in (one, other)
        }
        pairs += pairs_of(at[one], at[other], _original if by == "at" else _guide_trace)
    return pairs


def _scores(trials: Sequence[Trial], arm: str = "steer") -> list[Score]:
    return list(chain.from_iterable(trial.arm(arm) for trial in trials))


def weaker_is_sturdier(evidence: Evidence) -> ClaimFinding:
    """Find two models of which the one with higher solo accuracy recovers less."""
    alone = {t.model: share_of(t.arm("solo"), "level") for t in evidence["solo"]}
    steered = {t.model: share_of(t.arm("steer"), "at") for t in evidence["recoverability_shared"]}
    names = [name for name in alone if name in steered]
    tests = [
        (one, other, difference(alone[one], alone[other]), difference(steered[one], steered[other]))
        for one, other in combinations(names, 2)
    ]
    ps = holm([effect.p or 0.0 for *_, solo, twin in tests for effect in (solo, twin)])
    sure = [max(both) < ALPHA for both in zip(ps[::2], ps[1::2], strict=True)]
    for (one, other, solo, twin), is_sure in zip(tests, sure, strict=True):
        if is_sure and solo.value * twin.value < 0:
            return ClaimFinding("true", f"{one} against {other}: alone {solo}; steered {twin}")
    if tests and all(sure):
        return ClaimFinding("false", f"all {len(tests)} pairs of models rank alike in both")
    return ClaimFinding(
        "undecided", f"no pair of {len(tests)} differs significantly in both (Holm)"
    )


def uncorrelated(evidence: Evidence) -> ClaimFinding:
    """Test that recoverability does not rise with solo accuracy."""
    alone = {t.model: share_of(t.arm("solo"), "level").value for t in evidence["solo"]}
    steered = {
        t.model: share_of(t.arm("steer"), "at").value for t in evidence["recoverability_shared"]
    }
    names = [name for name in alone if name in steered]
    found = rank_correlation([alone[n] for n in names], [steered[n] for n in names])
    verdict: ClaimVerdict = "undecided"
    if found.low > 0:
        verdict = "false"
    elif found.high < 0.5:
        verdict = "true"
    return ClaimFinding(verdict, f"Spearman {found}")


def recovers_under(run: str) -> Callable[[Evidence], ClaimFinding]:
    """Test that a steer reduces accuracy against the same opening without one."""
    return lambda evidence: _below(_pooled(evidence[run], "none"))


def start_is_worst(evidence: Evidence) -> ClaimFinding:
    """Test that a steer at the beginning costs more than one after a fifth."""
    return _below(effect_of(_between(evidence["recoverability_shared"], "at", 0.0, 0.2)))


def paragraph_helps(evidence: Evidence) -> ClaimFinding:
    """Test that the own first paragraph before the steer helps, over all points."""
    return _above(_across(evidence, "first_paragraph", "recoverability_shared"))


def paragraph_helps_start(evidence: Evidence) -> ClaimFinding:
    """Test that it helps at the beginning."""
    at_start = {
        run: [
            Trial(t.model, t.printed, [s for s in t.scores if s.design.at == 0], t.names)
            for t in evidence[run]
        ]
        for run in ("first_paragraph", "recoverability_shared")
    }
    return _above(_across(at_start, "first_paragraph", "recoverability_shared"))


def stronger_hurts(evidence: Evidence) -> ClaimFinding:
    """Test that a longer steer costs more."""
    return _below(_across(evidence, "long_steers", "recoverability"))


def easier_recovers(evidence: Evidence) -> ClaimFinding:
    """Compare questions that are always solved with those solved at most half the time."""
    scores = _scores(evidence["recoverability"])
    samples = evidence["recoverability"][0].samples
    often = share_of([s for s in scores if s.design.solved == samples])
    seldom = share_of([s for s in scores if (s.design.solved or 0) <= samples / 2])
    return _above(difference(often, seldom))


def alike_by_source(evidence: Evidence) -> ClaimFinding:
    """Test that two shares are equal: the whole interval lies within a margin."""
    effect = _across(evidence, "foreign_steers", "recoverability_shared")
    verdict: ClaimVerdict = "undecided"
    if effect.n and effect.low > -ALIKE and effect.high < ALIKE:
        verdict = "true"
    elif effect.n and (effect.low > ALIKE or effect.high < -ALIKE):
        verdict = "false"
    return ClaimFinding(verdict, f"{effect}; equal: within {100 * ALIKE:.0f} points")


def ceiling(evidence: Evidence) -> ClaimFinding:
    """Test that no model solves more than one guided problem in ten."""
    found = [(t.model, share_of(t.arm("steer"), "length")) for t in evidence["guidability_shared"]]
    model, highest = max(found, key=lambda one: one[1].value)
    verdict: ClaimVerdict = "undecided"
    if all(mean.high < ALIKE for _, mean in found):
        verdict = "true"
    elif any(mean.low > ALIKE for _, mean in found):
        verdict = "false"
    return ClaimFinding(verdict, f"highest: {model} {highest}")


def guides_help(evidence: Evidence) -> ClaimFinding:
    """Test that guided episodes solve more than fresh unguided ones."""
    return _above(_pooled(evidence["guidability_shared"], "none"))


def inflated(evidence: Evidence) -> ClaimFinding:
    """Compare steers that hold the answer with those that do not."""
    scores = _scores(evidence["guidability"])
    held = share_of([s for s in scores if s.design.steer_holds_answer])
    free = share_of([s for s in scores if not s.design.steer_holds_answer])
    return _above(difference(held, free)) if held.n and free.n else _nothing("steers of both kinds")


def rejected(evidence: Evidence) -> ClaimFinding:
    """Test that an answer in the steer is often missed."""
    held = [s for s in _scores(evidence["guidability"]) if s.design.steer_holds_answer]
    if not held:
        return _nothing("steers that hold the answer")
    missed = clustered_mean([float(not s.correct) for s in held], [s.question for s in held])
    return ClaimFinding(_more_than(missed, ALIKE), f"missed: {missed}")


def _more_than(mean: Mean, share: float) -> ClaimVerdict:
    if mean.low > share:
        return "true"
    return "false" if mean.high < share else "undecided"


def more_given_more_solved(evidence: Evidence) -> ClaimFinding:
    """Test that .8 of the guide's trajectory is solved more often than .2."""
    return _above(effect_of(_between(evidence["guidability_shared"], "length", 0.8, 0.2)))


def teacher(evidence: Evidence) -> ClaimFinding:
    """Compare a model's own teacher with its other guides, if the run names a teacher."""
    scores = [s for s in _scores(evidence["guidability"]) if s.design.by_all_guides is not False]
    own = share_of([s for s in scores if s.design.teacher == "own"])
    others = share_of([s for s in scores if s.design.teacher == "other"])
    if not (own.n and others.n):
        return _nothing("guides of which one is the model's own teacher (scenario.teacher)")
    effect = difference(own, others)
    return ClaimFinding(
        "true" if effect.high < ALIKE else _above(effect, ALIKE).verdict, str(effect)
    )


def solvable(evidence: Evidence) -> ClaimFinding:
    """Test that guided models solve nearly all questions with 8 of 8 correct solo draws."""
    mean = share_of(_scores(evidence["guidability_solvable"]))
    return ClaimFinding(_more_than(mean, 1 - ALIKE), str(mean))


def forcing_suffices(evidence: Evidence) -> ClaimFinding:
    """Test that at .8, continuing to think is no better than answering at once."""
    trials = evidence["code_guidability"]
    late = [
        pair
        for pair in chain.from_iterable(matched(t.scores, "forced") for t in trials)
        if pair[0].design.length == 0.8
    ]
    effect = effect_of(late)
    if not effect.n:
        return _nothing("forced answers at .8")
    return ClaimFinding("true" if effect.high < ALIKE else _below(effect).verdict, str(effect))


def code_is_harder(evidence: Evidence) -> ClaimFinding:
    """Test that recoverability is lower on code than on maths."""
    maths = share_of(_scores(evidence["recoverability_shared"]), "at")
    code = share_of(_scores(evidence["code_recoverability_shared"]), "at")
    return _below(difference(code, maths))


def _nothing(what: str) -> ClaimFinding:
    return ClaimFinding("undecided", f"the runs have no {what}")
