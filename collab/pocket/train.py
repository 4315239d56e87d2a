"""Train the pocket reasoners: a base on all styles, then a short course for each reasoner.

`python -m collab.pocket.train all` trains the shipped models on two cores. Each course saves its
state in a cache folder. After Ctrl-C, the same command resumes from that state.
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
"""The number of steps in which the learning rate rises to its peak."""
MIXED = {"easy": 0.2, "short": 0.5, "hard": 0.15, "long": 0.15}
HARDER = {"easy": 0.05, "short": 0.1, "middle": 0.4, "hard": 0.35, "long": 0.1}
SLIPS_READ = 1200
"""The number of a model's own thinking texts that are searched for slips."""


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """A course of training: its start, its content and its number of steps."""

    steps: int
    rate: float
    """Peak learning rate."""
    styles: tuple[str, ...]
    levels: Mapping[str, float]
    after: str | None = None
    """The course before this one."""
    cools: bool = True
    """Whether the learning rate falls to zero. It does not for courses that others continue."""
    own_slips: bool = False
    """Whether to teach the correction of slips that the model makes itself."""
    started_over: float = 0.5
    """Share of short examples in which the derivation starts over once."""

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
    """Train the models that the command line names, and save them."""
    options = _options(arguments)
    try:
        import torch  # noqa: F401  # imported here, to fail with advice
    except ImportError as error:
        raise SystemExit(f"training needs torch: {extra('lab')}") from error
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(stop, signal.default_int_handler)
    trainer = Trainer(options.seed, options.steps, options.cache)
    try:
        for name in SHIPPED if options.name == "all" else [options.name]:
            trainer.write(name, options.out / name)
    except KeyboardInterrupt:
        raise SystemExit("stopped; run the same command to resume") from None


class Trainer:
    """Trains models with one seed, one tokenizer, and one cache folder for unfinished courses."""

    def __init__(self, seed: int, steps: int | None, cache: Path) -> None:
        """Build the tokenizer (the same each time); `steps` limits the steps of each course."""
        from collab.pocket import tokenizer
        from collab.pocket.network import NetworkShape

        self.seed = seed
        self.steps = steps
        self.cache = cache / f"seed-{seed}{f'-steps-{steps}' if steps else ''}"
        self.tokens = tokenizer.build()
        self.shape = NetworkShape(self.tokens.get_vocab_size())

    def write(self, name: str, folder: Path) -> None:
        """Train a model, and save its checkpoint and tokenizer."""
        from collab.pocket import network, tokenizer

        weights = self.train(name)
        end, pad = (tokenizer.token_id(self.tokens, t) for t in (tokenizer.END, tokenizer.PAD))
        network.save(weights, self.shape, folder, end, pad)
        tokenizer.save(self.tokens, folder)
        print(f"wrote {folder}", flush=True)

    def train(self, name: str) -> "Weights":
        """Train a course, after the one that it continues, and return the weights."""
        from collab.pocket.descent import OptimizerState, descend
        from collab.pocket.network import fresh

        course = COURSES[name]
        steps = min(course.steps, self.steps or course.steps)
        before = self.train(course.after) if course.after else fresh(self.shape, self.seed)
        lessons = self._lessons(course, before)
        descent = OptimizerState(before, self.shape)
        rate = partial(course.rate_at, steps=steps)
        batches = partial(lessons.batch, f"{self.seed}/{name}")
        print_progress = _progress_printer(name, steps)
        for progress in descend(descent, batches, steps, rate, self.cache / f"{name}.pt"):
            print_progress(*progress)
        return {n: weight.detach() for n, weight in descent.weights.items()}

    def _lessons(self, course: TrainingStage, weights: "Weights") -> "Lessons":
        from collab.pocket.lessons import Lessons

        slips = self._slips(course, weights) if course.own_slips else []
        return Lessons(self.tokens, course.styles, course.levels, course.started_over, slips)

    def _slips(self, course: TrainingStage, weights: "Weights") -> list[tuple[Problem, list[str]]]:
        """Sample a model's thinking about training problems, and keep the texts with a slip."""
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
                lines = self.tokens.decode(ids).splitlines(keepends=True)
                wrong = replay(problem, "".join(lines)).unmarked
                if wrong and lines[wrong[0]].endswith(".\n"):
                    slips.append((problem, lines))
        print(f"{len(slips)} of {len(asked)} texts contain a slip", flush=True)
        return slips


def _progress_printer(name: str, steps: int) -> Callable[[int, float, int], None]:
    """Return a function that prints the progress every 20 steps."""
    started, first, seen, smooth = time.monotonic(), 0, 0, 0.0

    def print_progress(step: int, loss: float, tokens: int) -> None:
        nonlocal first, seen, smooth
        first = first or step - 1
        seen += tokens
        smooth = loss if step == first + 1 else 0.95 * smooth + 0.05 * loss
        if step % 20 == 0 or step == steps:
            spent = time.monotonic() - started
            left = spent / (step - first) * (steps - step) / 60
            print(
                f"{name} {step}/{steps}  loss {smooth:.4f}  {seen / spent:,.0f} tokens/s"
                f"  {left:.1f} min left",
                flush=True,
            )

    return print_progress


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m collab.pocket.train", description=__doc__)
    parser.add_argument("name", choices=["all", *SHIPPED], help="the model to train")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder for the checkpoints")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for unfinished courses")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and examples")
    parser.add_argument("--steps", type=int, help="limit of steps per course (for trials)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
