"""`collab label RUN`: label the failure modes of episodes by hand, and compare with the rules.

Each label is stored at once; the same command continues. What the rules or others say of an
episode is not shown. Labels come from the keyboard or a pipe, one a line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text

from collab.analysis.annotations import NEEDED, Ratings, checked, labelled
from collab.analysis.failure_modes import CHOICES, DEFINITIONS, Failing, kind_of
from collab.errors import RunError
from collab.report.failure_table import agreement_of
from collab.report.trajectory import asked, render_trajectory, safe
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder

HELP = "its number or the start of its name; ? for definitions, s to skip, q to stop"


def main(argv: list[str]) -> int:
    """Ask for labels until all are given or the input ends."""
    parser = argparse.ArgumentParser(
        prog="collab label",
        description=__doc__,
        epilog="example: collab label runs/demo/recoverability-… --rater anna",
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--rater", default="me", help="the name of the rater (default: me)")
    parser.add_argument(
        "--sample",
        type=int,
        default=NEEDED,
        metavar="N",
        help=f"failed episodes to label (default: {NEEDED}); larger samples contain smaller ones",
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of the sample (default: 0)")
    words = parser.parse_args(argv)
    folder = RunFolder(words.run)
    _ = folder.manifest
    with reading(folder.path):
        drawn = labelled(folder, words.seed)[: max(words.sample, 0)]
    if not drawn:
        raise RunError(f"{str(folder.path)!r} has no steered episode that failed: nothing to label")
    console = Console(soft_wrap=True, highlight=False)
    with reading(folder.path):
        done = _label(folder, drawn, words.rater, _Annotator(console, sys.stdin))
        agreed = _agreement(folder)
    console.print(f"{done} of {len(drawn)} labelled by {safe(words.rater)}", markup=False)
    for line in agreed:
        console.print(safe(line), markup=False)
    return 0


def _label(folder: RunFolder, drawn: Sequence[str], rater: str, desk: _Annotator) -> int:
    """Ask for the labels that this rater has not given yet; return the number of labels."""
    ratings = Ratings(folder)
    known = ratings.of().get(rater, {})
    scores, questions = folder.scores(), folder.questions()
    done = len(known.keys() & set(drawn))
    for case in [case for case in drawn if case not in known]:
        score = scores[case]
        episode, row = folder.episode(case)
        question = questions[score.question]
        desk.show(asked(question.messages), render_trajectory(episode.trajectory))
        given = f"given {score.extracted!r} ({score.verdict}), gold answer {question.answer!r}"
        leads = f", the steer leads to {row['rival']!r}" if row.get("rival") is not None else ""
        desk.say(f"{done + 1} of {len(drawn)}: {given}{leads}", "bold")
        said = desk.choose(CHOICES[kind_of(score)])
        if said == "stop":
            break
        if said != "skip":
            ratings.add(case, rater, said)
            done += 1
    return done


def _agreement(folder: RunFolder) -> list[str]:
    found = checked([folder])
    if not found.n:
        return []
    later = f"reports show failure modes once {NEEDED} episodes are labelled by hand"
    return [agreement_of(found), *([] if found.enough else [later])]


class _Annotator:
    """Asks for labels at the terminal."""

    def __init__(self, console: Console, read: TextIO) -> None:
        self._console, self._read = console, read

    def show(self, *blocks: object) -> None:
        """Print the episode to label."""
        self._console.rule(style="dim")
        self._console.print(*blocks, sep="\n")

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        self._console.print(Text(safe(text), style))

    def choose(self, choices: Sequence[Failing]) -> Failing | Literal["skip", "stop"]:
        """Return the label, `skip`, or `stop`, which the end of the input means too."""
        self.say("  ".join(f"{n} {name}" for n, name in enumerate(choices, 1)))
        self.say(f"Which mode applies first? ({HELP})", "dim")
        while line := self._read.readline():
            match line.strip().casefold():
                case "":
                    continue
                case "?":
                    for name in choices:
                        self.say(f"{name}: {DEFINITIONS[name]}")
                case "s":
                    return "skip"
                case "q":
                    return "stop"
                case word:
                    if (chosen := _meant(word, choices)) is not None:
                        return chosen
                    self.say(f"{word!r} is not one of 1 to {len(choices)}: {HELP}", "red")
        return "stop"


def _meant(word: str, choices: Sequence[Failing]) -> Failing | None:
    if word.isdecimal():
        return choices[int(word) - 1] if 0 < int(word) <= len(choices) else None
    begun = [name for name in choices if name.startswith(word)]
    return begun[0] if len(begun) == 1 else None
