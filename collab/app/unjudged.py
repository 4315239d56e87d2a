"""Notes on answers that no grader could judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from collab.scenarios.base import Score

SHOWN = 3
"""The number of reasons that a note gives."""


def unjudged_notes(scores: Iterable[Score]) -> Iterator[str]:
    """Yield a note that counts the answers without a verdict, with their commonest reasons."""
    scores = list(scores)
    lost = [score for score in scores if score.verdict == "not judged"]
    if not lost:
        return
    reasons = Counter(reason for score in lost for reason in _reasons(score))
    common = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(SHOWN))
    were = "was" if len(lost) == 1 else "were"
    yield f"{len(lost):,} of {len(scores):,} answers {were} not judged" + (
        f": {common}" if common else ""
    )


def _reasons(score: Score) -> set[str]:
    found = score.details.get("not judged")
    return set(map(str, found.values())) if isinstance(found, Mapping) else set()
