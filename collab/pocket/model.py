"""Qwen3's forward pass in numpy, with results that do not depend on the rest of the batch.

Activations are stored as features × rows, and matrix products take the rows in blocks of one width,
so that every product has the same shape for any batch. Attention is one pair of vector-matrix
products for each row and head. If the kernel sums keys in the same order however many there are,
the products are over all keys, padded to a multiple of `STRIDE`. Otherwise they are over pieces of
`PIECE` keys, added in order, so that these products too have one shape. So a row has the same bits
on its own, in any batch, within a prompt or one token at a time. The bits differ between kernels
(`kernel.name`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import deserialize

from collab.errors import ConfigError
from collab.pocket.kernel import PIECE, STRIDE, Floats, block_width, blocks, sums_in_order

Ints: TypeAlias = npt.NDArray[np.int64]

SAFE = 60.0
"""Scores up to this are exponentiated unchanged: e⁶⁰ times a whole context fits in a float32."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model, from the config.json of its checkpoint."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    context: int
    theta: float
    epsilon: float

    @classmethod
    def load(cls, folder: Path) -> ModelShape:
        """Load the sizes from config.json.

        Raises:
            ConfigError: The folder is not a Qwen3 checkpoint.
        """
        config = _json(folder / "config.json")
        if config.get("model_type") != "qwen3" or not config.get("tie_word_embeddings"):
            raise ConfigError(f"{str(folder)!r} is not a Qwen3 checkpoint with tied embeddings")
        rope = config.get("rope_parameters") or config
        return cls(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            head=config["head_dim"],
            inner=config["intermediate_size"],
            context=config["max_position_embeddings"],
            theta=float(rope.get("rope_theta", 10_000.0)),
            epsilon=config["rms_norm_eps"],
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """A decoder layer; the weights of its norms over the width are folded into its matrices."""

    qkv: Floats
    norm: Floats
    """The weights of the query norms, times 1/√head, and of the key norms (heads × head × 1)."""
    bounded: bool
    """Whether the norms keep every attention score below `SAFE`."""
    out: Floats
    gate_up: Floats
    down: Floats

    @property
    def matrices(self) -> tuple[Floats, ...]:
        """The matrices that multiply activations."""
        return self.qkv, self.out, self.gate_up, self.down


class KeyValueCache:
    """The keys and values of sequences, one sequence per slot; it grows as needed."""

    data: Floats
    """Layers × keys and values × slots × heads × tokens × head."""
    lines: list[Floats]
    """A view of each layer, with one line per key or value of a token and a head."""

    def __init__(self, shape: ModelShape) -> None:
        self._shape = shape
        self._slots = self._tokens = 0
        self.reserve(1, STRIDE)

    def reserve(self, slots: int, tokens: int) -> None:
        """Make room for a number of slots, and of tokens in each."""
        if slots <= self._slots and tokens <= self._tokens:
            return
        layers, heads, head = self._shape.layers, self._shape.kv_heads, self._shape.head
        before, old_slots, old_tokens = getattr(self, "data", None), self._slots, self._tokens
        self._slots = max(old_slots, 1 << (slots - 1).bit_length())
        self._tokens = max(old_tokens, STRIDE << (-(-tokens // STRIDE) - 1).bit_length())
        self.data = np.zeros((layers, 2, self._slots, heads, self._tokens, head), np.float32)
        if before is not None:
            self.data[:, :, :old_slots, :, :old_tokens] = before
        self.lines = [layer.reshape(-1, head) for layer in self.data]
        halves, numbers = np.divmod(np.arange(2 * heads), heads)
        self._heads: Ints = (halves * self._slots * heads + numbers) * self._tokens

    def index(self, slots: Ints, positions: Ints) -> Ints:
        """Return the line numbers of the keys and values of some tokens (tokens × heads)."""
        return (slots * self._shape.kv_heads * self._tokens + positions)[:, None] + self._heads

    def copy(self, slot: int, source: KeyValueCache, source_slot: int, tokens: int) -> None:
        """Copy the first tokens of a slot, of this or another cache, into a slot."""
        self.reserve(slot + 1, tokens)
        self.data[:, :, slot, :, :tokens] = source.data[:, :, source_slot, :, :tokens]


class _Space:
    """The buffers of a forward pass over `rows` tokens; `…_blocks` are views in blocks."""

    def __init__(self, shape: ModelShape, rows: int, width: int) -> None:
        lanes = max(2, -(-rows // width) * width)  # a single lane would be summed in another order
        rotated, heads = shape.heads + shape.kv_heads, shape.heads + 2 * shape.kv_heads

        def wide(features: int) -> tuple[Floats, Floats]:
            array: Floats = np.zeros((features, lanes), np.float32)
            return array, blocks(array, width)

        self.hidden, _ = wide(shape.width)
        self.scale, _ = wide(1)
        self.normed, self.normed_blocks = wide(shape.width)
        self.delta, self.delta_blocks = wide(shape.width)
        self.gate_up, self.gate_up_blocks = wide(2 * shape.inner)
        self.gate, self.up = self.gate_up[: shape.inner], self.gate_up[shape.inner :]
        self.inner, self.inner_blocks = wide(shape.inner)
        self.logits, self.logits_blocks = wide(shape.vocabulary)
        qkv, self.qkv_blocks = wide(heads * shape.head)
        self.qkv = qkv[:, :rows].T
        self.rotated = qkv[: rotated * shape.head].reshape(rotated, shape.head, lanes)
        self.swapped = self.rotated.reshape(rotated, 2, -1, lanes)[:, ::-1]
        self.product: Floats = np.zeros(self.rotated.shape, np.float32)
        self.product_halves = self.product.reshape(self.swapped.shape)
        self.norms: Floats = np.zeros((rotated, 1, lanes), np.float32)
        self.rotary: Floats = np.zeros((2, shape.head, lanes), np.float32)
        self.sines = self.rotary[1].reshape(2, -1, lanes)
        self.rows: Floats = np.zeros((rows, heads * shape.head), np.float32)
        own = shape.heads * shape.head
        self.query = self.rows[:, :own].reshape(rows, shape.kv_heads, -1, 1, 1, shape.head)
        self.stored = self.rows[:, own:].reshape(rows, 2 * shape.kv_heads, shape.head)
        attended: Floats = np.zeros((lanes, own), np.float32)
        self.attended = attended[:rows].reshape(self.query.shape)
        self.attended_blocks = blocks(attended.T, width)


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The tokens of one forward pass."""

    ids: Ints
    positions: Ints
    slots: slice
    """The slots of the cache: one for each token, in order, or one for all tokens."""


class PocketNetwork:
    """A checkpoint's weights, laid out for the forward pass."""

    def __init__(self, shape: ModelShape, weights: dict[str, Floats]) -> None:
        self.shape = shape
        self.embedding = weights["model.embed_tokens.weight"]
        self.layers = [_layer(shape, weights, i) for i in range(shape.layers)]
        self.head: Floats = self.embedding * weights["model.norm.weight"]
        self.rotary = _rotary(shape)
        matrices = [self.head, *(matrix for layer in self.layers for matrix in layer.matrices)]
        self.width = block_width(matrices)
        self.piece = None if sums_in_order(shape.head, shape.context) else PIECE
        """The number of keys in a product; None: all of them."""
        self._spaces: dict[int, _Space] = {}

    @classmethod
    def load(cls, folder: Path) -> PocketNetwork:
        """Load a Qwen3 checkpoint in Hugging Face's layout (safetensors only).

        Raises:
            ConfigError: The folder is not such a checkpoint.
        """
        return cls(ModelShape.load(folder), _weights(folder / "model.safetensors"))

    def forward(self, rows: TokenRows, cache: KeyValueCache, *, last: bool = False) -> Floats:
        """Add the tokens to the cache and return the logits after them (rows × vocabulary).

        With `last`, return only the logits after the last token.
        """
        count, multiple = len(rows.ids), self.piece or STRIDE
        keys = -(-(int(rows.positions.max()) + 1) // multiple) * multiple
        cache.reserve(rows.slots.stop, keys)
        places = cache.index(np.arange(rows.slots.start, rows.slots.stop), rows.positions)
        space = self._space(count)
        space.hidden[:, :count] = self.embedding[rows.ids].T
        space.rotary[:, :, :count] = self.rotary[:, :, rows.positions]
        piece = self.piece or keys
        future = np.arange(keys).reshape(-1, 1, piece) > rows.positions.reshape(-1, 1, 1, 1, 1, 1)
        mask = np.where(future, np.float32(-np.inf), np.float32(0))
        scores: Floats = np.empty((*space.query.shape[:3], *mask.shape[3:]), np.float32)
        for layer, data, lines in zip(self.layers, cache.data, cache.lines, strict=True):
            self._project(space, layer)
            lines[places] = space.stored
            known = _pieces(data[:, rows.slots, :, None, :keys], piece)
            _attend(space, known, mask, scores, layer.bounded)
            np.matmul(layer.out, space.attended_blocks, out=space.delta_blocks)
            np.add(space.hidden, space.delta, out=space.hidden)
            self._feed_forward(space, layer)
        self._norm(space)
        if last:
            block, lane = divmod(count - 1, self.width)
            logits: Floats = space.logits_blocks[block]
            np.matmul(self.head, space.normed_blocks[block], out=logits)
            return logits[:, lane : lane + 1].T.copy()
        np.matmul(self.head, space.normed_blocks, out=space.logits_blocks)
        return space.logits[:, :count].T.copy()

    def _space(self, rows: int) -> _Space:
        if rows not in self._spaces:
            self._spaces[rows] = _Space(self.shape, rows, self.width)
        return self._spaces[rows]

    def _norm(self, space: _Space) -> None:
        """Scale each row of `hidden` to a root mean square of one."""
        np.multiply(space.hidden, space.hidden, out=space.normed)
        np.add.reduce(space.normed, axis=0, keepdims=True, out=space.scale)
        _root_mean(space.scale, self.shape.width, self.shape.epsilon)
        np.divide(space.hidden, space.scale, out=space.normed)

    def _project(self, space: _Space, layer: Layer) -> None:
        """Fill `rows` with normed and rotated queries and keys, and with values."""
        self._norm(space)
        np.matmul(layer.qkv, space.normed_blocks, out=space.qkv_blocks)
        rotated, product = space.rotated, space.product
        np.multiply(rotated, rotated, out=product)
        np.add.reduce(product, axis=1, keepdims=True, out=space.norms)
        _root_mean(space.norms, self.shape.head, self.shape.epsilon)
        np.divide(rotated, space.norms, out=rotated)
        np.multiply(rotated, layer.norm, out=rotated)
        np.multiply(space.swapped, space.sines, out=space.product_halves)
        np.multiply(rotated, space.rotary[0], out=rotated)
        np.add(rotated, product, out=rotated)
        np.copyto(space.rows, space.qkv)

    def _feed_forward(self, space: _Space, layer: Layer) -> None:
        self._norm(space)
        np.matmul(layer.gate_up, space.normed_blocks, out=space.gate_up_blocks)
        inner = space.inner
        np.negative(space.gate, out=inner)
        np.exp(inner, out=inner)
        np.add(inner, np.float32(1), out=inner)
        np.divide(space.gate, inner, out=inner)
        np.multiply(inner, space.up, out=inner)
        np.matmul(layer.down, space.inner_blocks, out=space.delta_blocks)
        np.add(space.hidden, space.delta, out=space.hidden)


def _attend(space: _Space, known: Floats, mask: Floats, scores: Floats, bounded: bool) -> None:
    """Fill `attended` from keys and values (2 × … × pieces × keys × head).

    The weights are summed stride by stride, and the values piece by piece, in order, so that
    padding only adds zeros.
    """
    np.matmul(space.query, known[0].swapaxes(-1, -2), out=scores)
    np.add(scores, mask, out=scores)
    if not bounded:
        np.subtract(scores, np.maximum.reduce(scores, axis=(-3, -1), keepdims=True), out=scores)
    np.exp(scores, out=scores)
    strides = np.einsum("ij->i", scores.reshape(-1, STRIDE)).reshape(*scores.shape[:3], 1, 1, -1)
    np.add.reduce(np.matmul(scores, known[1]), axis=-3, keepdims=True, out=space.attended)
    np.divide(space.attended, np.add.accumulate(strides, axis=-1)[..., -1:], out=space.attended)


def _pieces(known: Floats, piece: int) -> Floats:
    """View … × keys × head as … × pieces × keys per piece × head."""
    return known.reshape(*known.shape[:-2], -1, piece, known.shape[-1], copy=False)


def _layer(shape: ModelShape, weights: dict[str, Floats], number: int) -> Layer:
    own = {
        name.removeprefix(f"model.layers.{number}.").removesuffix(".weight"): weight
        for name, weight in weights.items()
        if name.startswith(f"model.layers.{number}.")
    }
    qkv = np.concatenate([own[f"self_attn.{name}_proj"] for name in "qkv"])
    gate_up = np.concatenate([own["mlp.gate_proj"], own["mlp.up_proj"]])
    query = own["self_attn.q_norm"] / np.float32(np.sqrt(shape.head))
    key = own["self_attn.k_norm"]
    bound = shape.head * float(np.abs(query).max()) * float(np.abs(key).max())
    return Layer(
        qkv=qkv * own["input_layernorm"],
        norm=np.stack([query] * shape.heads + [key] * shape.kv_heads)[..., None],
        bounded=bound < SAFE,
        out=own["self_attn.o_proj"],
        gate_up=gate_up * own["post_attention_layernorm"],
        down=own["mlp.down_proj"],
    )


def _rotary(shape: ModelShape) -> Floats:
    """Return the tables of the rotary embedding: cosines, signed sines (2 × head × positions)."""
    steps = np.arange(0, shape.head, 2, dtype=np.float32) / np.float32(shape.head)
    frequencies = (1.0 / np.float32(shape.theta) ** steps).astype(np.float32)
    angles = frequencies[:, None] * np.arange(shape.context, dtype=np.float32)
    cosines, sines = np.cos(angles), np.sin(angles)
    return np.stack([np.vstack([cosines, cosines]), np.vstack([-sines, sines])])


def _root_mean(sums: Floats, count: int, epsilon: float) -> None:
    np.multiply(sums, np.float32(1 / count), out=sums)
    np.add(sums, np.float32(epsilon), out=sums)
    np.sqrt(sums, out=sums)


def _weights(path: Path) -> dict[str, Floats]:
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is missing: a checkpoint needs its weights")
    tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # safetensors' own
    return {name: _floats(tensor) for name, tensor in tensors}


def _floats(tensor: dict[str, Any]) -> Floats:
    """Convert a bfloat16 or float32 tensor (`Any`: the file's description of the tensor)."""
    if tensor["dtype"] == "BF16":
        halves = np.frombuffer(tensor["data"], "<u2").astype(np.uint32) << 16
        return halves.view(np.float32).reshape(tensor["shape"])
    if tensor["dtype"] != "F32":
        raise ConfigError(f"weights of type {tensor['dtype']!r} (supported: 'BF16', 'F32')")
    return np.frombuffer(tensor["data"], "<f4").reshape(tensor["shape"])


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is missing: its folder is not a checkpoint")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded
