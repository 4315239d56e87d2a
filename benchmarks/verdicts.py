"""Measure how often maths verdicts are right: this grader, math-verify, and other harnesses.

    python benchmarks/verdicts.py [FILE ...]

A file has one labelled answer per line: `gold`, `answer` and `want` (`correct` or not), or `gold`,
`pred` and `match`. Without a file, the cases of the tests are judged. A harness that is not
installed is skipped by name. The last line is one JSON object with, for each grader, the numbers of
verdicts that are `right`, `falsely_right` and `falsely_wrong`, of those without an answer
(`no_answer`, which also count as not correct), and the milliseconds per verdict.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from collab.grading.maths import MathsGrader, MathsSettings

CASES = Path(__file__).parents[1] / "tests" / "grading" / "maths_cases.jsonl"
PROCESSES = 2
SECONDS = 10
"""CPU time for one verdict (seconds)."""
Verdict = bool | None
"""Whether an answer is right; None if the grader finds no answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled answer."""

    gold: str
    text: str
    right: bool


def main(files: Sequence[str]) -> None:
    logging.disable(logging.WARNING)
    cases = [case for file in files or [str(CASES)] for case in load_cases(Path(file))]
    found = {"collab": timed(partial(asyncio.run, ours(cases)))}
    for name, judge in PEERS.items():
        if (missing := why_missing(name)) is not None:
            print(f"{name}: skipped, {missing}")
            continue
        found[name] = timed(partial(theirs, judge, cases))
    rows = {
        name: counted(cases, verdicts) | {"ms": round(1e3 * seconds / max(len(cases), 1), 1)}
        for name, (verdicts, seconds) in found.items()
    }
    for name, row in rows.items():
        print(f"{name:24}", "  ".join(f"{key} {value}" for key, value in row.items()))
    print(json.dumps({"cases": len(cases)} | rows))


def load_cases(file: Path) -> list[Case]:
    """Load labelled answers, and box those that are to be compared without extraction."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [case for row in rows if (case := labelled(row)) is not None]


def labelled(row: dict[str, Any]) -> Case | None:  # any: JSON
    if row.get("domain", "maths") != "maths" or row.get("review", "ok") != "ok":
        return None
    if "want" in row:
        return Case(row["gold"], row["answer"], row["want"] == "correct")
    if row["pred"] is None:
        return None
    free = row.get("kind") == "extract_and_compare"
    return Case(row["gold"], row["pred"] if free else rf"\boxed{{{row['pred']}}}", row["match"])


def timed(judge: Callable[[], list[Verdict]]) -> tuple[list[Verdict], float]:
    start = time.perf_counter()
    return judge(), time.perf_counter() - start


async def ours(cases: Sequence[Case]) -> list[Verdict]:
    async with MathsGrader(MathsSettings(workers=PROCESSES)) as grader:
        judged = await asyncio.gather(*(grader.compare(case.gold, case.text) for case in cases))
    return [judgement.lenient for judgement in judged]


def theirs(judge: Callable[[Case], Verdict], cases: Sequence[Case]) -> list[Verdict]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        return list(pool.map(partial(limited, judge), cases, chunksize=16))


def limited(judge: Callable[[Case], Verdict], case: Case) -> Verdict:
    """Judge within a limit of CPU time; an error or a time-out counts as no answer."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        return judge(case)
    except Exception:  # a harness may raise anything
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def counted(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> dict[str, float]:
    kinds = Counter[str]()
    for case, verdict in zip(cases, verdicts, strict=True):
        right = (verdict is True) == case.right
        kinds["right" if right else "falsely_wrong" if case.right else "falsely_right"] += 1
        kinds["no_answer"] += verdict is None
    return {key: kinds[key] for key in ("right", "falsely_right", "falsely_wrong", "no_answer")}


def why_missing(name: str) -> str | None:
    """Return why a harness cannot be used here, or None if it can."""
    try:
        load(MODULES[name])
    except Exception as error:  # a harness may lack anything
        return f"{MODULES[name]} cannot be imported ({type(error).__name__}: {error})"
    return None


@cache
def load(module: str) -> Any:  # any: the harnesses have no types
    logging.disable(logging.WARNING)
    return importlib.import_module(module)


def math_verify(case: Case) -> Verdict:
    peer = load("math_verify")
    gold = case.gold if "$" in case.gold or "boxed" in case.gold else f"${case.gold}$"
    answer = peer.parse(case.text)
    return bool(peer.verify(peer.parse(gold), answer)) if answer else None


def lighteval(case: Case) -> Verdict:
    """Judge like lighteval's extractive match."""
    peer = load(MODULES["lighteval"])
    compare = load("lighteval.metrics.utils.math_comparison").compare_gold_target
    english = load("lighteval.utils.language").Language.ENGLISH
    targets = (peer.ExprExtractionConfig(), peer.LatexExtractionConfig())
    document = load("lighteval.tasks.requests").Doc(query="", choices=[], gold_index=0)
    patterns = peer.get_extraction_regexes(document, targets, english)
    extract = partial(peer.extract_target_from_pred, target_res=patterns, timeout_seconds=5)
    gold, answer = extract(f"${case.gold}$"), extract(case.text)
    return bool(compare(gold, answer, precision=6, timeout_seconds=5)) if answer else None


def lm_eval_hendrycks(case: Case) -> Verdict:
    """Judge like lm-eval's `hendrycks_math`, from the last box."""
    peer = load(MODULES["lm-eval hendrycks_math"])
    box = peer.last_boxed_only_string(case.text)
    return None if box is None else bool(peer.is_equiv(peer.remove_boxed(box), case.gold))


def lm_eval_minerva(case: Case) -> Verdict:
    """Judge like lm-eval's `minerva_math`: the last box, else the text after `final answer is`."""
    peer = load(MODULES["lm-eval minerva_math"])
    box = peer.last_boxed_only_string(case.text)
    answer = peer.remove_boxed(box) if box else peer.get_unnormalized_answer(case.text)
    if answer == "[invalidanswer]":
        return None
    answer, gold = (peer.normalize_final_answer(text) for text in (answer, case.gold))
    return bool(answer.strip() == gold.strip() or peer.is_equiv(answer, gold))


def verifiers(case: Case) -> Verdict:
    """Judge like verifiers' boxed maths reward."""
    peer = load(MODULES["verifiers"])
    if not peer.extract_boxed_answer(case.text, strict=True):
        return None
    return bool(peer.verify_boxed_math_answer(case.text, case.gold))


MODULES = {
    "math-verify": "math_verify",
    "lighteval": "lighteval.metrics.utils.extractive_match_utils",
    "lm-eval hendrycks_math": "lm_eval.tasks.hendrycks_math.utils",
    "lm-eval minerva_math": "lm_eval.tasks.minerva_math.utils",
    "verifiers": "verifiers.v1.utils.score",
}
PEERS: dict[str, Callable[[Case], Verdict]] = {
    "math-verify": math_verify,
    "lighteval": lighteval,
    "lm-eval hendrycks_math": lm_eval_hendrycks,
    "lm-eval minerva_math": lm_eval_minerva,
    "verifiers": verifiers,
}

if __name__ == "__main__":
    main(sys.argv[1:])
