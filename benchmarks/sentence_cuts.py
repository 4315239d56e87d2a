"""Flag cuts of real traces at sentence ends that fall inside a formula, code, a list or a name.

    python benchmarks/sentence_cuts.py FOLDER [--show N] [--seed S]

FOLDER holds JSON lines with the field `reasoning`, or `chunks`. Each finished trace is cut at the
sentence end nearest to .2, .4, .6 and .8 of its length. The flags are written apart from the rules
that find the ends, so that they can disagree. With --show, print some cuts to be read by eye. The
last line is a JSON object with the counts.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from collab.core.boundary import cut_at_share
from collab.core.trajectory import Recording

SHARES = (0.2, 0.4, 0.6, 0.8)
AROUND = 60
"""Characters shown on either side of a cut."""
OPERATOR = r"[+\-−*/=<>≤≥^·×,]"


def traces(folder: Path) -> Iterator[str]:
    """Yield the thinking of each finished trace."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            row = json.loads(line)
            if row.get("finished", True):
                text = row.get("reasoning") or "".join(map(str, row.get("chunks", ())))
                if len(text) > 200:
                    yield text


KINDS: tuple[tuple[str, str, str], ...] = (
    ("ellipsis in a formula", rf"{OPERATOR}\s*(?:\.{{3,}}|…)$", ""),
    ("ellipsis in a formula", r"(?:\.{3,}|…)$", OPERATOR),
    ("factorial", r"\d!$", rf"{OPERATOR}|[a-z]"),
    ("abbreviation", r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Figs?|Eqs?|e\.g|i\.e|vs|cf|approx)\.$", ""),
    ("number of a list", r"(?:^|\n)[ \t*#>-]*\d{1,3}\.$", r"\S"),
    ("delimiter", r"\\(?:left|right)\.$", ""),
    ("number in a formula", r"\d\.$", OPERATOR),
)
"""Faults within a line: what is before the cut, and what follows it."""
PAIRS = ((r"\[", r"\]"), (r"\(", r"\)"), (r"\begin{", r"\end{"))


def fault(before: str, after: str) -> str | None:
    """Return the kind of fault of a cut; None if it is one after a sentence."""
    if len(re.findall(r"^[ \t]*```", before, re.MULTILINE)) % 2:
        return "inside code"
    paragraph = re.split(r"\n\s*\n", before.rstrip("\n"))[-1]
    for opens, closes in PAIRS:
        if paragraph.count(opens) > paragraph.count(closes) and closes in after[:1000]:
            return "inside a formula"
    if re.search(r"[:：][ \t*]*\n+$", before) and re.match(r"\s*(?:\\\[|\$\$|\\begin|```)", after):
        return "colon before its formula"
    if before.endswith("\n"):
        return None
    following = after.lstrip(" \t")
    return next(
        (k for k, ends, next_ in KINDS if re.search(ends, before) and re.match(next_, following)),
        None,
    )


def main() -> None:
    """Cut all traces, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    cuts: list[tuple[str, str]] = []
    for text in traces(words.folder):
        recording = Recording("q", text, len(text))
        places = {cut_at_share(recording, share).chars for share in SHARES}
        cuts += [(text[:at], text[at:]) for at in sorted(places) if 0 < at < len(text)]
    faults = [(fault(before, after), before, after) for before, after in cuts]
    counts = Counter(kind for kind, _, _ in faults if kind)
    for kind, before, after in faults:
        if kind:
            print(f"{kind}: {before[-AROUND:]!r} | {after[:AROUND]!r}")
    for before, after in random.Random(words.seed).sample(cuts, min(words.show, len(cuts))):
        print(f"{before[-AROUND:]!r} | {after[:AROUND]!r}")
    hard = sum(counts.values())
    share = hard / len(cuts) if cuts else 0.0
    print(json.dumps({"cuts": len(cuts), "faults": dict(counts), "share": share}))


if __name__ == "__main__":
    main()
