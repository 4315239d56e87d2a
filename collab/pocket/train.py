"""Train the pocket reasoners: one base on all styles, then a short course for each of them.

`python -m collab.pocket.train all` makes the shipped models on two cores. A course keeps its state
in a cache folder: stop it with Ctrl-C, and the same command goes on from there.
"""

import argparse
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from collab.core.release import extra
from collab.pocket.family import Problem, draw, replay
from collab.pocket.styles import THINK_CLOSE

if TYPE_CHECKING:
    from collab.pocket.lessons import Lessons
    from collab.pocket.network import Weights

MODELS = Path(__file__).parent / "models"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "collab" / "pocket"
SHIPPED = ("plain", "restating", "checking", "strong")
WARM_UP = 50
"""Steps in which the learning rate rises to its peak."""
MIXED = {"easy": 0.2, "short": 0.5, "hard": 0.15, "long": 0.15}
HARDER = {"easy": 0.05, "short": 0.1, "middle": 0.4, "hard": 0.35, "long": 0.1}
SLIPS_READ = 1200
"""How many thinking texts of its own a model is shown the slips of."""


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """One stretch of training: where it starts, what it teaches and for how many steps."""

    steps: int
    rate: float
    """Peak learning rate."""
    styles: tuple[str, ...]
    levels: Mapping[str, float]
    after: str | None = None
    """The course that comes before."""
    cools: bool = True
    """Whether the learning rate falls to nothing; the base stays warm, to branch from."""
    own_slips: bool = False
    """Whether to teach the return from slips that the model makes itself."""
    started_over: float = 0.5
    """Share of short examples in which the derivation is broken off and started over once."""

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step out of `steps`."""
        left = 1 - step / steps if self.cools else 1.0
        return self.rate * min(1.0, (step + 1) / WARM_UP) * left


COURSES = {
    "base": TrainingStage(1500, 3e-3, SHIPPED, MIXED, cools=False),
    "plain": TrainingStage(320, 2e-3, ("plain",), MIXED, after="base"),
    "restating": TrainingStage(320, 2e-3, ("restating",), MIXED, after="base"),
    "doubting": TrainingStage(100, 2e-3, ("checking",), MIXED, after="base", cools=False),
    "checking": TrainingStage(320, 2e-3, ("checking",), MIXED, after="doubting", own_slips=True),
    "deep": TrainingStage(3600, 3e-3, ("strong",), HARDER, after="base"),
    "settled": TrainingStage(1000, 1e-3, ("strong",), HARDER, after="deep"),
    "strong": TrainingStage(600, 1e-3, ("strong",), HARDER, after="settled", started_over=0.1),
}


def main(arguments: list[str] | None = None) -> None:
    """Train what the command line names and write it where it says."""
    options = _options(arguments)
    try:
        import torch  # noqa: F401  # asked for here, to fail with advice
    except ImportError as error:
        raise SystemExit(f"training needs torch: {extra('lab')}") from error
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the former
        signal.signal(stop, signal.default_int_handler)
    workshop = Trainer(options.seed, options.steps, options.cache)
    try:
        for name in SHIPPED if options.name == "all" else [options.name]:
            workshop.write(name, options.out / name)
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on from here") from None


class Trainer:
    """Where courses are taken: one seed, one tokenizer, one folder for unfinished work."""

    def __init__(self, seed: int, steps: int | None, cache: Path) -> None:
        """Learn the tokenizer anew (the same each time); `steps` cuts every course short."""
        from collab.pocket import tokenizer
        from collab.pocket.network import NetworkShape

        self.seed = seed
        self.steps = steps
        self.cache = cache / f"seed-{seed}{f'-steps-{steps}' if steps else ''}"
        self.tokens = tokenizer.build()
        self.shape = NetworkShape(self.tokens.get_vocab_size())

    def write(self, name: str, folder: Path) -> None:
        """Train a model and write its checkpoint and tokenizer."""
        from collab.pocket import network, tokenizer

        weights = self.train(name)
        end, pad = (tokenizer.token_id(self.tokens, t) for t in (tokenizer.END, tokenizer.PAD))
        network.save(weights, self.shape, folder, end, pad)
        tokenizer.save(self.tokens, folder)
        print(f"wrote {folder}", flush=True)

    def train(self, name: str) -> "Weights":
        """Take a course, after the one it builds on, and return its weights."""
        from collab.pocket.descent import OptimizerState, descend
        from collab.pocket.network import fresh

        course = COURSES[name]
        steps = min(course.steps, self.steps or course.steps)
        before = self.train(course.after) if course.after else fresh(self.shape, self.seed)
        lessons = self._lessons(course, before)
        descent = OptimizerState(before, self.shape)
        rate = partial(course.rate_at, steps=steps)
        batches = partial(lessons.batch, f"{self.seed}/{name}")
        tell = _teller(name, steps)
        for progress in descend(descent, batches, steps, rate, self.cache / f"{name}.pt"):
            tell(*progress)
        return {n: weight.detach() for n, weight in descent.weights.items()}

    def _lessons(self, course: TrainingStage, weights: "Weights") -> "Lessons":
        from collab.pocket.lessons import Lessons

        slips = self._slips(course, weights) if course.own_slips else []
        return Lessons(self.tokens, course.styles, course.levels, course.started_over, slips)

    def _slips(self, course: TrainingStage, weights: "Weights") -> list[tuple[Problem, list[str]]]:
        """Let a model think about training problems and keep the texts with a slip in them."""
        from collab.pocket import network, tokenizer

        rng = random.Random(f"{self.seed}/slips")
        levels = rng.choices(list(course.levels), list(course.levels.values()), k=SLIPS_READ)
        asked = [draw(level, rng, "train") for level in levels]
        prompts = [self.tokens.encode(tokenizer.prompt(problem.text)).ids for problem in asked]
        close = tokenizer.token_id(self.tokens, THINK_CLOSE)
        slips = []
        for at in range(0, len(asked), 100):
            part = slice(at, at + 100)
            drawn = network.sample(
                weights,
                self.shape,
                prompts[part],
                end=close,
                seed=at,
                temperature=1.0,
                longest=300,
            )
            for problem, ids in zip(asked[part], drawn, strict=True):
                said = self.tokens.decode(ids).splitlines(keepends=True)
                wrong = replay(problem, "".join(said)).unmarked
                if wrong and said[wrong[0]].endswith(".\n"):
                    slips.append((problem, said))
        print(f"{len(slips)} of {len(asked)} texts hold a slip", flush=True)
        return slips


def _teller(name: str, steps: int) -> Callable[[int, float, int], None]:
    """Make a printer of progress: a line every 20 steps."""
    began, first, seen, smooth = time.monotonic(), 0, 0, 0.0

    def tell(step: int, loss: float, tokens: int) -> None:
        nonlocal first, seen, smooth
        first = first or step - 1
        seen += tokens
        smooth = loss if step == first + 1 else 0.95 * smooth + 0.05 * loss
        if step % 20 == 0 or step == steps:
            spent = time.monotonic() - began
            left = spent / (step - first) * (steps - step) / 60
            print(
                f"{name} {step}/{steps}  loss {smooth:.4f}  {seen / spent:,.0f} tokens/s"
                f"  {left:.1f} min left",
                flush=True,
            )

    return tell


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m collab.pocket.train", description=__doc__)
    parser.add_argument("name", choices=["all", *SHIPPED], help="the model to make")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder for the checkpoints")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for unfinished work")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and lessons")
    parser.add_argument("--steps", type=int, help="at most so many steps a course (for trials)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
