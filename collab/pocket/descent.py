"""The training loop: a compiled loss, Muon for matrices and Adam for the rest, and saved states.

Muon (Jordan et al. 2024) updates a matrix by its orthogonalised momentum. Needs torch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from collab.pocket.lessons import PackedExamples
from collab.pocket.network import NetworkShape, Weights, logits

SAVE_EVERY = 100


def loss(
    weights: Weights,
    shape: NetworkShape,
    ids: Tensor,
    places: Tensor,
    owner: Tensor,
    taught: Tensor,
) -> Tensor:
    """Compute the mean cross-entropy (nats) of the taught tokens."""
    width = ids.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    mask = (owner[:, None, :, None] == owner[:, None, None, :]) & causal
    scores = logits(weights, shape, ids, places, mask)[:, :-1]
    each = F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    counted = taught[:, 1:].flatten()
    return (each * counted).sum() / counted.sum()


class Muon:
    """The Muon optimizer, which updates matrices by their orthogonalised momentum."""

    def __init__(self, matrices: list[Tensor]) -> None:
        """Group matrices by shape, so that each group is one batched product."""
        self.momenta = [torch.zeros_like(m) for m in matrices]
        self.matrices = matrices
        shapes = {m.shape for m in matrices}
        self.groups = [[i for i, m in enumerate(matrices) if m.shape == s] for s in shapes]

    def step(self, rate: float) -> None:
        """Update every matrix at a learning rate, scaled to Adam's usual step length."""
        with torch.no_grad():
            for group in self.groups:
                moves = orthogonal(torch.stack([self._momentum(i) for i in group]))
                for i, move in zip(group, moves, strict=True):
                    matrix = self.matrices[i]
                    matrix.mul_(1 - 0.05 * rate)
                    matrix.sub_(move, alpha=0.2 * rate * math.sqrt(max(matrix.shape)))

    def _momentum(self, i: int) -> Tensor:
        """Add a new gradient, and return Nesterov's momentum."""
        gradient, momentum = self.matrices[i].grad, self.momenta[i]
        assert gradient is not None
        momentum.lerp_(gradient, 0.05)
        return gradient.lerp(momentum, 0.95)


def orthogonal(matrices: Tensor) -> Tensor:
    """Move the singular values of matrices towards one (batched; 5 Newton-Schulz steps)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


@dataclass(slots=True)
class OptimizerState:
    """Weights in training, with the optimizers' states that are needed to resume."""

    weights: Weights
    shape: NetworkShape
    step: int = 0
    adam: torch.optim.AdamW = field(init=False)
    muon: Muon = field(init=False)

    def __post_init__(self) -> None:
        """Give the layers' matrices to Muon and all other weights to Adam."""
        self.weights = {n: w.detach().clone().requires_grad_() for n, w in self.weights.items()}
        self.muon = Muon([w for name, w in self.weights.items() if "_proj" in name])
        others = [w for name, w in self.weights.items() if "_proj" not in name]
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def take(
        self, batch: Sequence[PackedExamples], rate: float, measure: Callable[..., Tensor]
    ) -> float:
        """Take one step at a learning rate and return the loss before it."""
        value = measure(self.weights, self.shape, *_tensors(batch))
        value.backward()  # type: ignore[no-untyped-call, unused-ignore]  # torch has no type here
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.muon.step(rate)
        for weight in self.weights.values():
            weight.grad = None
        self.step += 1
        return float(value.detach())

    def save(self, path: Path) -> None:
        """Save the state in one step, so that an interruption leaves no partial file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "weights": self.weights,
            "momenta": self.muon.momenta,
            "adam": self.adam.state_dict(),
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Load the state that `save` wrote."""
        state: dict[str, Any] = torch.load(path, weights_only=True)  # Any: as torch stores it
        self.step = state["step"]
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self.muon.momenta = state["momenta"]
        self.adam.load_state_dict(state["adam"])


def descend(
    start: OptimizerState,
    batches: Callable[[int], Sequence[PackedExamples]],
    steps: int,
    rate: Callable[[int], float],
    state: Path,
) -> Iterator[tuple[int, float, int]]:
    """Train up to `steps` steps; after each, yield its number, loss and number of tokens.

    The state is saved every `SAVE_EVERY` steps, and when training ends or is interrupted.
    """
    if state.exists():
        start.resume(state)
    measure = torch.compile(loss, dynamic=False)
    try:
        while start.step < steps:
            batch = batches(start.step)
            value = start.take(batch, rate(start.step), measure)
            yield start.step, value, sum(len(row.ids) for row in batch)
            if start.step % SAVE_EVERY == 0:
                start.save(state)
    finally:
        start.save(state)


def _tensors(batch: Sequence[PackedExamples]) -> tuple[Tensor, ...]:
    columns = ("ids", "places", "owner", "taught")
    return tuple(torch.tensor([getattr(row, column) for row in batch]) for column in columns)
