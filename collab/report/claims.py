"""The paper's claims in our words, and tests of them on your own runs.

A claim is true or false if the whole 95 % interval lies on one side, and else undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from collab.report import judging
from collab.report.evidence import Evidence
from collab.report.judging import ClaimFinding


@dataclass(frozen=True, slots=True)
class PaperClaim:
    """One claim of the paper."""

    section: str
    scope: str
    words: str
    """In our words."""
    printed: str
    """The paper's numbers."""
    shown: tuple[str, ...]
    """The tables and figures of the claim."""
    runs: tuple[str, ...]
    """The runs that the test needs."""
    judge: Callable[[Evidence], ClaimFinding]

    def finding(self, evidence: Evidence) -> ClaimFinding:
        """Test the claim on your own runs."""
        lacking = [run for run in self.runs if not any(t.scores for t in evidence.get(run, ()))]
        if lacking:
            return ClaimFinding("undecided", f"no scores of run {lacking[0]}; play it first")
        return self.judge(evidence)


CLAIMS = (
    PaperClaim(
        "§3.2, finding 1",
        "maths, shared questions, 15 models",
        "A model that solves more alone may recover less than one that solves less.",
        "AM-Thinking-32B 82.6 alone, 33.4 steered; Qwen3-1.7B 59.9 and 98.4",
        ("table 1",),
        ("solo", "recoverability_shared"),
        judging.weaker_is_sturdier,
    ),
    PaperClaim(
        "§3.2, finding 1",
        "maths, shared questions, across models",
        "How much is solved alone predicts little of the recoverability.",
        "no number; recomputed from Table 1: Spearman -0.21",
        ("table 1", "table 6"),
        ("solo", "recoverability_shared"),
        judging.uncorrelated,
    ),
    PaperClaim(
        "§3.2, finding 1",
        "maths, shared questions, mean of models",
        "A distracting steer costs answers that were always right alone. (Ours: against the same "
        "opening without a steer.)",
        "100 to 74.9",
        ("table 1", "table 6", "figure 4"),
        ("recoverability_shared",),
        judging.recovers_under("recoverability_shared"),
    ),
    PaperClaim(
        "§3.2, finding 1",
        "each model's own questions",
        "A steer costs answers on questions that each model solves at least once. (Ours: against "
        "the same opening without a steer.)",
        "18.5 to 74.6",
        ("table 8",),
        ("recoverability",),
        judging.recovers_under("recoverability"),
    ),
    PaperClaim(
        "§3.2, finding 3",
        "maths, shared questions, all models",
        "A steer before the first own word costs more than one after a fifth of the thinking.",
        "R1-Qwen-1.5B 44.0 against 66.0",
        ("table 6", "figure 4"),
        ("recoverability_shared",),
        judging.start_is_worst,
    ),
    PaperClaim(
        "§3.2, finding 3",
        "maths, shared questions, most models, at 0 %",
        "Keeping the first own paragraph before the steer restores most of the loss there.",
        "R1-Qwen-1.5B 44.0 to 89.0",
        ("table 7",),
        ("first_paragraph", "recoverability_shared"),
        judging.paragraph_helps_start,
    ),
    PaperClaim(
        "§3.2, finding 3; App. D",
        "maths, shared questions, most models, mean of points",
        "Keeping the first own paragraph helps over all points. (In print not for QwQ-32B, "
        "Qwen3-1.7B and Qwen3-30B-A3B.)",
        "+28.9 to -3.3",
        ("table 7",),
        ("first_paragraph", "recoverability_shared"),
        judging.paragraph_helps,
    ),
    PaperClaim(
        "App. D",
        "maths, each model's own questions, points to .6",
        "A steer of twice the length costs more. (In print not for AM-Thinking-32B and "
        "Qwen3-1.7B.)",
        "R1-Qwen-1.5B 36.1 to 22.3",
        ("table 10",),
        ("long_steers", "recoverability"),
        judging.stronger_hurts,
    ),
    PaperClaim(
        "App. D",
        "maths, each model's own questions",
        "The more often a question is solved alone, the more is recovered. (Ours: always against "
        "at most half the time.)",
        "R1-Qwen-1.5B 16.1 at 1/8, 58.9 at 8/8",
        ("table 9",),
        ("recoverability",),
        judging.easier_recovers,
    ),
    PaperClaim(
        "App. E.1",
        "maths, shared questions",
        "Distractors from another model have the same effect as the model's own.",
        "Qwen3-1.7B 98.4 and 97.5; largest gap 8.2",
        ("table 11",),
        ("foreign_steers", "recoverability_shared"),
        judging.alike_by_source,
    ),
    PaperClaim(
        "§3.2, finding 2",
        "maths, shared questions, all models",
        "Guiding steers solve at most a tenth of the questions that a model fails on its own.",
        "at most 9.2",
        ("table 1", "table 15"),
        ("guidability_shared",),
        judging.ceiling,
    ),
    PaperClaim(
        "App. F",
        "maths, shared questions",
        "More of the guide's thinking is solved more: .8 against .2 of the trajectory.",
        "R1-Qwen-1.5B 5.8 against 1.2",
        ("table 15",),
        ("guidability_shared",),
        judging.more_given_more_solved,
    ),
    PaperClaim(
        "§3.2, finding 2",
        "maths, shared questions",
        "Guided episodes solve more than fresh unguided draws of the same questions. (Ours: the "
        "paper has no such control.)",
        "no number",
        ("table 1", "table 15"),
        ("guidability_shared",),
        judging.guides_help,
    ),
    PaperClaim(
        "§3.2, finding 2",
        "maths, each model's own questions",
        "Guidability is inflated: steers that hold the answer are solved more often.",
        "26.7 guided, 18.6 of the steers hold the answer",
        ("table 2", "table 14"),
        ("guidability",),
        judging.inflated,
    ),
    PaperClaim(
        "§3.2, finding 2",
        "maths, each model's own questions",
        "Models often turn away from an answer that is in the steer. (Ours: more than 10 %.)",
        "no number",
        ("table 2", "table 14"),
        ("guidability",),
        judging.rejected,
    ),
    PaperClaim(
        "§3.2, finding 2; App. F",
        "maths, each model's own questions, all guides alike",
        "A model's own teacher guides it no better than others do. (Ours: by less than 10 points.)",
        "Qwen3-1.7B: 25.6 by Qwen3-235B, 33.4 and 31.1 by others",
        ("table 16",),
        ("guidability",),
        judging.teacher,
    ),
    PaperClaim(
        "App. E.2",
        "maths, problems solved 8 of 8 times",
        "On problems that need no guide, guided models solve nearly all. (Ours: more than 90 %.)",
        "98.1 to 99.7",
        ("table 12",),
        ("guidability_solvable",),
        judging.solvable,
    ),
    PaperClaim(
        "App. E.3",
        "code, each model's own questions, .8 of the guide's thinking",
        "Going on thinking wins nothing over answering at once. (Ours: less than 10 points.)",
        "R1-Qwen-1.5B 60.8 against 66.0",
        ("table 17",),
        ("code_guidability",),
        judging.forcing_suffices,
    ),
    PaperClaim(
        "§1; §3.2, finding 1",
        "shared questions, mean of models",
        "Less is recovered on code than on maths.",
        "59.1 and 74.9",
        ("table 1",),
        ("recoverability_shared", "code_recoverability_shared"),
        judging.code_is_harder,
    ),
)
"""The claims of the paper that rest on its tables 1 to 17 and figure 4."""


def claims_of(shown: str) -> Iterator[PaperClaim]:
    """Yield the claims of `table N` or `figure N`."""
    return (claim for claim in CLAIMS if shown in claim.shown)
