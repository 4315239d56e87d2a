"""Estimates of success rates and effects, with intervals that respect the design.

Cases of one question form a cluster, and so do cases that one trajectory steered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from collab.analysis.stats import Effect, Mean, clustered_mean, holm, paired_effect
from collab.scenarios.base import Score

ALPHA = 0.05
"""Significance level of the p values of a table after Holm's correction."""


def arm_of(scores: Iterable[Score], arm: str) -> list[Score]:
    """Return the scores of one arm."""
    return [score for score in scores if score.design.arm == arm]


def share_of(
    scores: Sequence[Score],
    strata: str | None = None,
    standard: Mapping[Hashable, float] | None = None,
) -> Mean:
    """Return the share of correct scores.

    Args:
        scores: Scores of one arm.
        strata: The factor or label whose groups have equal weights (the macro average); None: all
            cases have equal weights.
        standard: Other weights of the groups, to compare models as if they had the same questions.
    """
    groups = [score.factor(strata) for score in scores] if strata else None
    solved = [float(score.correct) for score in scores]
    return clustered_mean(solved, *clusters(scores), strata=groups, standard=standard)


def common_standard(groups: Iterable[Sequence[Score]]) -> dict[Hashable, float]:
    """Count the cases of each solve count that all groups share."""
    counts = [Counter(score.design.solved for score in scores) for scores in groups]
    if not counts:
        return {}
    everywhere = set.intersection(*map(set, counts))
    return {count: float(sum(one[count] for one in counts)) for count in everywhere}


Pairs = Sequence[tuple[Score, Score]]
"""Matched cases: the treated one, then its control."""


def pairs_of(
    treated: Iterable[Score], control: Iterable[Score], key: Callable[[Score], Hashable]
) -> Pairs:
    """Match two lists of scores by a key.

    Scores without a match, or whose key is None, are left out.
    """
    others = {key(score): score for score in control}
    others.pop(None, None)
    return [(score, others[key(score)]) for score in treated if key(score) in others]


def effect_of(pairs: Pairs) -> Effect:
    """Compare matched cases; clusters are their questions and the treated cases' steers."""
    return paired_effect(
        [one.correct for one, _ in pairs],
        [other.correct for _, other in pairs],
        *clusters([one for one, _ in pairs]),
    )


def matched(scores: Iterable[Score], control: str) -> Pairs:
    """Match the steered cases of a run with their controls of one arm."""
    listed = list(scores)
    return pairs_of(arm_of(listed, "steer"), arm_of(listed, control), lambda s: s.design.pair)


def clusters(scores: Sequence[Score]) -> list[list[Hashable]]:
    """Return the clusters of each case: by question and, if cases have distractors, by distractor.

    Trajectories of a guide belong to one question, so they add no cluster.
    """
    questions: list[Hashable] = [score.question for score in scores]
    if not any(score.design.steer_question for score in scores):
        return [questions]
    return [questions, [score.design.steer_question or score.question for score in scores]]


def significant(effects: Sequence[Effect]) -> list[bool]:
    """Return which effects of a table are significant after Holm's correction."""
    tested = [index for index, effect in enumerate(effects) if effect.p is not None]
    adjusted = holm([effects[index].p or 0.0 for index in tested])
    found = {index for index, p in zip(tested, adjusted, strict=True) if p < ALPHA}
    return [index in found for index in range(len(effects))]
