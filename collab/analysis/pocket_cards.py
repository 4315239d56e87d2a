"""Measure the shipped pocket reasoners, and write the results to their cards.

`python -m collab.analysis.pocket_cards` asks only held-out questions. In addition to solo accuracy,
it measures thinking that continues a lengthened opening (part of the model's own correct thinking,
then the first part of another correct thinking about the same question), and thinking that
continues a steered opening (the second part is about another question, after the paper's phrase).
Models are selected by the former. The latter is only reported, never optimised. Needs torch (extra
`lab`).
"""

import argparse
import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collab.analysis.stats import Mean, clustered_mean
from collab.grading.maths import last_box
from collab.pocket.family import Problem, problems
from collab.pocket.lessons import BATCH
from collab.pocket.train import COURSES, MODELS, SHIPPED

ASKED = ("easy", "middle", "hard")
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Where the model's own thinking is cut, as a share of its sentences."""
STEERS = (0.2, 0.4)
"""The part of the other thinking that follows, as a share of its sentences."""
PHRASE = "Wait. Let me think"
SAMPLES = 8
FRESH = 1 << 20
"""The offset of the seeds of fresh draws from those of the first draws."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A sampled thinking with its answer; `tokens` counts the prompt too."""

    problem: Problem
    text: str
    tokens: int

    @property
    def correct(self) -> bool:
        """Whether the thinking is closed and the boxed number is right."""
        _, closed, reply = self.text.partition("</think>")
        return bool(closed) and last_box(reply) == str(self.problem.answer)

    @property
    def sentences(self) -> list[str]:
        """The lines of the thinking."""
        return self.text.partition("</think>")[0].splitlines(keepends=True)


Opening = tuple[Problem, str]


class PocketReader:
    """A checkpoint that continues openings, computed with torch."""

    def __init__(self, folder: Path) -> None:
        """Load the weights, which are rounded on disk."""
        from tokenizers import Tokenizer

        from collab.pocket import network

        self.weights, self.shape = network.load(folder)
        self.tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def think(self, openings: Sequence[Opening], seed: int, at_once: int = 128) -> list[Thought]:
        """Sample one continuation of each opening, to the end of the turn."""
        from collab.pocket import network, tokenizer

        end = tokenizer.token_id(self.tokens, tokenizer.END)
        ranked = sorted(range(len(openings)), key=lambda i: len(openings[i][1]))
        thoughts: dict[int, Thought] = {}
        for at in range(0, len(ranked), at_once):
            part = ranked[at : at + at_once]
            prompts = [tokenizer.prompt(openings[i][0].text) + openings[i][1] for i in part]
            ids = [self.tokens.encode(prompt).ids for prompt in prompts]
            drawn = network.sample(self.weights, self.shape, ids, end=end, seed=seed + at)
            for i, before, new in zip(part, ids, drawn, strict=True):
                text = openings[i][1] + self.tokens.decode(new, skip_special_tokens=False)
                thoughts[i] = Thought(openings[i][0], text, len(before) + len(new))
        return [thoughts[i] for i in range(len(openings))]


def solo(reader: PocketReader, level: str, questions: int, seed: int) -> list[list[Thought]]:
    """Sample `SAMPLES` thoughts on each of some held-out questions."""
    asked = problems(level, questions, seed)
    drawn = reader.think([(problem, "") for problem in asked for _ in range(SAMPLES)], seed)
    return [drawn[i : i + SAMPLES] for i in range(0, len(drawn), SAMPLES)]


def lengthened(groups: Sequence[Sequence[Thought]], rng: random.Random) -> list[Opening]:
    """Join part of a correct thinking and the first part of another, on the same question."""
    openings = []
    for group in groups:
        correct = [thought for thought in group if thought.correct]
        if len(correct) > 1:
            for share in SHARES:
                own, other = rng.sample(correct, 2)
                openings.append((own.problem, _joined(own, share, "", other, rng.choice(STEERS))))
    return openings


def steered(
    groups: Sequence[Sequence[Thought]], share: float, steer: float, rng: random.Random
) -> list[Opening]:
    """Join part of a correct thinking, the phrase, and the start of one on another question."""
    correct = [thought for group in groups for thought in group[:1] if thought.correct]
    others = rng.sample(correct, len(correct))
    phrase = f"\n{PHRASE}.\n"
    return [
        (own.problem, _joined(own, share, phrase, other, steer))
        for own, other in zip(correct, others, strict=True)
        if own.problem != other.problem
    ]


def _joined(own: Thought, share: float, between: str, other: Thought, steer: float) -> str:
    return _first(own, share) + between + _first(other, steer, at_least=1)


def _first(thought: Thought, share: float, at_least: int = 0) -> str:
    sentences = thought.sentences
    return "".join(sentences[: max(at_least, round(share * len(sentences)))])


def card(name: str, folder: Path, questions: int, seed: int) -> dict[str, Any]:
    """Measure a model, and return its card (`Any`: JSON)."""
    reader = PocketReader(folder)
    rng = random.Random(seed)
    groups = {level: solo(reader, level, questions, seed) for level in ASKED}
    solved = Counter(sum(thought.correct for thought in group) for group in groups["middle"])
    rates = {level: _rate(groups[level]) for level in ASKED}
    fair = [_ratio(reader, groups[level], rng, seed) for level in ("middle", "hard")]
    drawn = {
        share: reader.think(steered(groups["middle"], share, STEERS[0], rng), seed)
        for share in SHARES
    }
    longest = reader.think(steered(groups["hard"], SHARES[-1], STEERS[-1], rng), seed)
    return {
        "name": name,
        "parameters": sum(weight.numel() for weight in reader.weights.values()),
        "training": training(name),
        "sampling": {"temperature": 0.6, "top_p": 0.95},
        "seed": seed,
        "solo": {level: _figures(rate) for level, rate in rates.items()},
        "solved_of_8_middle": [solved[count] for count in range(SAMPLES + 1)],
        "solo_tokens": {level: _lengths(groups[level]) for level in ASKED},
        "lengthened_opening": dict(zip(("middle", "hard"), fair, strict=True)),
        "steered_opening_middle": {
            str(share): _figures(_rate([[thought] for thought in thoughts]))
            for share, thoughts in drawn.items()
        },
        "longest_steered_tokens": max(thought.tokens for thought in longest),
    }


def training(name: str) -> list[dict[str, Any]]:
    """Return the courses that lead to a model, from first to last (`Any`: JSON)."""
    courses: list[dict[str, Any]] = []
    step: str | None = name
    while step:
        course = COURSES[step]
        courses.insert(0, {"course": step, "steps": course.steps, "batch_tokens": BATCH})
        step = course.after
    return courses


def _rate(groups: Sequence[Sequence[Thought]]) -> Mean:
    """Return the share of correct thoughts; each group is a cluster, on one question."""
    correct = [float(thought.correct) for group in groups for thought in group]
    return clustered_mean(correct, [n for n, group in enumerate(groups) for _ in group])


def _figures(rate: Mean) -> dict[str, float]:
    """Return a rate as it is written to a card."""
    return {
        "rate": round(rate.value, 4),
        "low": round(rate.low, 4),
        "high": round(rate.high, 4),
        "questions": rate.clusters,
        "draws": rate.n,
    }


def _ratio(
    reader: PocketReader, groups: Sequence[Sequence[Thought]], rng: random.Random, seed: int
) -> dict[str, Any]:
    """Compare lengthened openings with solo thinking, on the same questions.

    A question is used if two of its thoughts are correct. Solo thinking is therefore sampled again:
    the draws that selected the questions are correct too often.
    """
    usable = [group for group in groups if sum(thought.correct for thought in group) > 1]
    again = [(group[0].problem, "") for group in usable for _ in range(SAMPLES)]
    fresh = reader.think(again, seed + FRESH)
    thoughts = reader.think(lengthened(usable, rng), seed)
    by_question = [thoughts[i : i + len(SHARES)] for i in range(0, len(thoughts), len(SHARES))]
    after = _rate(by_question)
    without = _rate([fresh[i : i + SAMPLES] for i in range(0, len(fresh), SAMPLES)])
    return {
        "ratio": round(after.value / without.value, 4),
        "solo": _figures(without),
        "lengthened": _figures(after),
        "by_share": {
            str(share): round(sum(one.correct for one in group) / len(group), 4)
            for share, group in zip(SHARES, zip(*by_question, strict=True), strict=True)
        },
    }


def _lengths(groups: Sequence[Sequence[Thought]]) -> dict[str, int]:
    tokens = sorted(thought.tokens for group in groups for thought in group)
    return {"median": tokens[len(tokens) // 2], "longest": tokens[-1]}


def write_hashes(folder: Path) -> None:
    """Write the SHA-256 of every file of every model."""
    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in files
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main(arguments: list[str] | None = None) -> None:
    """Measure the models that the command line names, then write cards and hashes."""
    parser = argparse.ArgumentParser(
        prog="python -m collab.analysis.pocket_cards", description=__doc__
    )
    parser.add_argument("names", nargs="*", help="models to measure (default: all)")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the checkpoints")
    parser.add_argument("--questions", type=int, default=150, help="held-out questions per level")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for name in options.names or SHIPPED:
        found = card(name, options.models / name, options.questions, options.seed)
        (options.models / name / "card.json").write_text(json.dumps(found, indent=2) + "\n")
        print(json.dumps(found, indent=2), flush=True)
    write_hashes(options.models)


if __name__ == "__main__":
    main()
