from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from collab.errors import ConfigError
from collab.pocket.kernel import PIECE, STRIDE, Floats
from collab.pocket.model import Ints, KeyValueCache, PocketNetwork, TokenRows

SLOTS = 40
LONGEST = 300


class Played:
    """A model with one sequence of tokens, computed in the pieces that a test chooses."""

    def __init__(self, model: PocketNetwork) -> None:
        self.model = model
        self.cache = KeyValueCache(model.shape)
        rng = np.random.default_rng(1)
        self.ids: Ints = rng.integers(0, model.shape.vocabulary, LONGEST)

    def prompt(self, slot: int, start: int, end: int) -> Floats:
        positions = np.arange(start, end)
        rows = TokenRows(self.ids[start:end], positions, slice(slot, slot + 1))
        return self.model.forward(rows, self.cache)

    def step(self, positions: Ints) -> Floats:
        rows = TokenRows(self.ids[positions], positions, slice(0, len(positions)))
        return self.model.forward(rows, self.cache)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(({}, None, None), id="as-loaded"),
        pytest.param(({"num_key_value_heads": 4, "head_dim": 64}, None, None), id="wide-heads"),
        pytest.param(({}, 1, PIECE), id="on-an-uneven-kernel"),
    ],
)
def played(
    write_checkpoint: Callable[..., Path], request: pytest.FixtureRequest
) -> tuple[Played, Floats]:
    """A model and its logits; the last one computes as where no larger product is even."""
    config, width, piece = request.param
    played = Played(PocketNetwork.load(write_checkpoint(**config)))
    played.model.width = width or played.model.width
    played.model.piece = piece or played.model.piece
    return played, played.prompt(SLOTS - 1, 0, LONGEST)


def test_logits_are_those_of_transformers(checkpoint: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    played = Played(PocketNetwork.load(checkpoint))
    reference = transformers.Qwen3ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.inference_mode():
        expected = reference(torch.tensor(played.ids)[None]).logits[0].numpy()
    assert np.abs(played.prompt(0, 0, LONGEST) - expected).max() < 1e-4


def test_a_prompt_has_the_same_bits_token_by_token(played: tuple[Played, Floats]) -> None:
    model, whole = played
    single = [model.prompt(0, i, i + 1) for i in range(LONGEST)]
    assert (np.concatenate(single) == whole).all()


@pytest.mark.parametrize("cuts", [[7, 77], [64, 128, 192, 256], [STRIDE - 1, STRIDE, STRIDE + 1]])
def test_a_prompt_has_the_same_bits_in_any_chunks(
    played: tuple[Played, Floats], cuts: list[int]
) -> None:
    model, whole = played
    edges = [0, *cuts, LONGEST]
    chunks = [model.prompt(0, start, end) for start, end in pairwise(edges)]
    assert (np.concatenate(chunks) == whole).all()


@pytest.mark.parametrize("count", [1, 2, 3, 8, 15, 16, 17, 31, 33, SLOTS - 1])
def test_a_row_has_the_same_bits_in_any_batch(played: tuple[Played, Floats], count: int) -> None:
    model, whole = played
    positions = np.random.default_rng(count).integers(0, LONGEST, count)
    for slot in range(count):
        model.cache.copy(slot, model.cache, SLOTS - 1, LONGEST)
    assert (model.step(positions) == whole[positions]).all()


def test_what_stands_behind_a_sequence_in_its_slot_is_not_seen(
    played: tuple[Played, Floats],
) -> None:
    model, whole = played
    model.cache.data[:, :, 0] = 1e4
    model.prompt(0, 0, 20)
    assert (model.prompt(0, 20, 21) == whole[20:21]).all()


def test_the_logits_after_the_last_token_alone_are_the_same(played: tuple[Played, Floats]) -> None:
    model, whole = played
    positions = np.arange(50)
    rows = TokenRows(model.ids[:50], positions, slice(0, 1))
    last = model.model.forward(rows, model.cache, last=True)
    assert (last == whole[49:50]).all()


def test_a_folder_without_a_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json.*is missing"):
        PocketNetwork.load(tmp_path)


def test_another_architecture_is_refused(write_checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="not a Qwen3 checkpoint"):
        PocketNetwork.load(write_checkpoint(model_type="llama"))


def test_scores_too_large_for_an_exponential_are_shifted_first(checkpoint: Path) -> None:
    played = Played(PocketNetwork.load(checkpoint))
    plain = played.prompt(0, 0, LONGEST)
    played.model.layers = [replace(layer, bounded=False) for layer in played.model.layers]
    assert np.abs(played.prompt(1, 0, LONGEST) - plain).max() < 1e-4
