"""The decoder for training: Qwen3's arithmetic in plain torch functions over named weights.

Weights are a dictionary with the names of a Hugging Face checkpoint, so saving needs no mapping.
Needs torch (extra `lab`), so only code that trains or measures may import this module.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from collab.pocket.tokenizer import CONTEXT

Weights = dict[str, Tensor]

EPSILON = 1e-6
THETA = 10_000.0


@dataclass(slots=True)
class TrainingCache:
    """Keys and values of earlier tokens, with room for all later ones."""

    room: Tensor
    """Layers × 2 × rows × heads × tokens × head."""
    used: int = 0

    @classmethod
    def empty(cls, shape: "NetworkShape", rows: int, tokens: int) -> "TrainingCache":
        """Allocate an empty cache."""
        return cls(torch.zeros(shape.layers, 2, rows, shape.heads, tokens, shape.head))

    def extended(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values of a layer, and return all of that layer."""
        until = self.used + key.shape[2]
        self.room[layer, 0, :, :, self.used : until] = key
        self.room[layer, 1, :, :, self.used : until] = value
        return self.room[layer, 0, :, :, :until], self.room[layer, 1, :, :, :until]


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The size of a network."""

    vocabulary: int
    width: int = 96
    layers: int = 4
    heads: int = 3
    head: int = 32
    inner: int = 288


def fresh(shape: NetworkShape, seed: int) -> Weights:
    """Draw random initial weights."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, columns: int, scale: float = 1.0) -> Tensor:
        drawn = torch.randn(rows, columns, generator=generator)
        return drawn * scale / math.sqrt(columns)

    heads, out = shape.heads * shape.head, 1 / math.sqrt(2 * shape.layers)
    weights = {"model.embed_tokens.weight": normal(shape.vocabulary, shape.width, 0.5)}
    for i in range(shape.layers):
        at = f"model.layers.{i}."
        weights |= {
            f"{at}input_layernorm.weight": torch.ones(shape.width),
            f"{at}self_attn.q_proj.weight": normal(heads, shape.width),
            f"{at}self_attn.k_proj.weight": normal(heads, shape.width),
            f"{at}self_attn.v_proj.weight": normal(heads, shape.width),
            f"{at}self_attn.o_proj.weight": normal(shape.width, heads, out),
            f"{at}self_attn.q_norm.weight": torch.ones(shape.head),
            f"{at}self_attn.k_norm.weight": torch.ones(shape.head),
            f"{at}post_attention_layernorm.weight": torch.ones(shape.width),
            f"{at}mlp.gate_proj.weight": normal(shape.inner, shape.width),
            f"{at}mlp.up_proj.weight": normal(shape.inner, shape.width),
            f"{at}mlp.down_proj.weight": normal(shape.width, shape.inner, out),
        }
    return weights | {"model.norm.weight": torch.ones(shape.width)}


def logits(
    weights: Weights,
    shape: NetworkShape,
    ids: Tensor,
    positions: Tensor,
    mask: Tensor,
    cache: TrainingCache | None = None,
) -> Tensor:
    """Compute next-token logits (rows × tokens × vocabulary).

    `mask` (rows × 1 × tokens × keys) is true where a token attends. A cache is extended in place.
    """
    hidden = F.embedding(ids, weights["model.embed_tokens.weight"])
    rotation = _rotation(positions, shape.head)
    for i in range(shape.layers):
        at = f"model.layers.{i}."
        normed = _norm(hidden, weights[f"{at}input_layernorm.weight"])
        hidden = hidden + _attention(
            weights, f"{at}self_attn.", shape, normed, rotation, mask, cache, i
        )
        normed = _norm(hidden, weights[f"{at}post_attention_layernorm.weight"])
        hidden = hidden + _feed_forward(weights, f"{at}mlp.", normed)
    return F.linear(
        _norm(hidden, weights["model.norm.weight"]), weights["model.embed_tokens.weight"]
    )


def _attention(
    weights: Weights,
    at: str,
    shape: NetworkShape,
    hidden: Tensor,
    rotation: tuple[Tensor, Tensor],
    mask: Tensor,
    cache: TrainingCache | None,
    layer: int,
) -> Tensor:
    rows, tokens, _ = hidden.shape
    joined = torch.cat([weights[f"{at}{name}_proj.weight"] for name in "qkv"])
    split = F.linear(hidden, joined).view(rows, tokens, 3, shape.heads, shape.head)
    query, key, value = split.transpose(1, 3).unbind(2)
    query = _rotated(_norm(query, weights[f"{at}q_norm.weight"]), rotation)
    key = _rotated(_norm(key, weights[f"{at}k_norm.weight"]), rotation)
    if cache is not None:
        key, value = cache.extended(layer, key, value)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return F.linear(attended.transpose(1, 2).flatten(2), weights[f"{at}o_proj.weight"])


def _feed_forward(weights: Weights, at: str, hidden: Tensor) -> Tensor:
    joined = torch.cat([weights[f"{at}gate_proj.weight"], weights[f"{at}up_proj.weight"]])
    gate, up = F.linear(hidden, joined).chunk(2, -1)
    return F.linear(F.silu(gate) * up, weights[f"{at}down_proj.weight"])


def _norm(values: Tensor, weight: Tensor) -> Tensor:
    return values * torch.rsqrt(values.square().mean(-1, keepdim=True) + EPSILON) * weight


def _rotation(positions: Tensor, head: int) -> tuple[Tensor, Tensor]:
    frequencies = THETA ** (-torch.arange(0, head, 2, dtype=torch.float32) / head)
    angles = positions[:, None, :, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def _rotated(values: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    first, second = values.chunk(2, -1)
    return values * rotation[0] + torch.cat([-second, first], -1) * rotation[1]


def save(weights: Weights, shape: NetworkShape, folder: Path, end: int, pad: int) -> None:
    """Save a Qwen3 checkpoint in Hugging Face's layout and bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    rounded = {name: w.detach().to(torch.bfloat16).contiguous() for name, w in weights.items()}
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(shape, end, pad))
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 0}
    _write(folder / "generation_config.json", {"eos_token_id": end, "pad_token_id": pad} | sampling)


def load(folder: Path) -> tuple[Weights, NetworkShape]:
    """Load a checkpoint, with its bfloat16 weights as float32."""
    stored = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    shape = NetworkShape(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        head=config["head_dim"],
        inner=config["intermediate_size"],
    )
    return {name: w.float() for name, w in stored.items()}, shape


def sample(
    weights: Weights,
    shape: NetworkShape,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    seed: int,
    temperature: float = 0.6,
    top_p: float = 0.95,
    longest: int = 600,
) -> list[list[int]]:
    """Continue each prompt until `end`, for at most `longest` tokens; return the new tokens."""
    with torch.inference_mode():
        return _sample(weights, shape, prompts, end, seed, temperature, top_p, longest)


def _sample(
    weights: Weights,
    shape: NetworkShape,
    prompts: Sequence[Sequence[int]],
    end: int,
    seed: int,
    temperature: float,
    top_p: float,
    longest: int,
) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    widest = max(map(len, prompts))
    held = torch.tensor([[0] * (widest - len(p)) + list(p) for p in prompts])
    real = torch.tensor([[False] * (widest - len(p)) + [True] * len(p) for p in prompts])
    positions = (real.cumsum(1) - 1).clamp(min=0)
    causal = torch.ones(widest, widest, dtype=torch.bool).tril()
    mask = (causal & real[:, None, None]) | torch.eye(widest, dtype=torch.bool)
    cache = TrainingCache.empty(shape, len(prompts), widest + longest)
    alive = list(range(len(prompts)))
    out: list[list[int]] = [[] for _ in prompts]
    scores = logits(weights, shape, held, positions, mask, cache)[:, -1]
    cache.used = widest
    place = positions[:, -1:]
    while True:
        drawn = _draw(scores, temperature, top_p, generator)
        for row, token in zip(alive, drawn.tolist(), strict=True):
            if not _ended(out[row], end, longest):
                out[row].append(token)
        going = [i for i, row in enumerate(alive) if not _ended(out[row], end, longest)]
        if not going:
            return out
        if len(going) < 0.75 * len(alive):
            alive, keep = [alive[i] for i in going], torch.tensor(going)
            drawn, place, real = drawn[keep], place[keep], real[keep]
            cache.room = cache.room[:, :, keep]
        place = place + 1
        real = torch.cat([real, torch.ones_like(real[:, :1])], 1)
        step = logits(weights, shape, drawn[:, None], place, real[:, None, None], cache)
        cache.used += 1
        scores = step[:, -1]


def _ended(ids: list[int], end: int, longest: int) -> bool:
    return len(ids) >= longest or ids[-1:] == [end]


def _draw(scores: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    chances, order = torch.sort((scores / temperature).softmax(-1), descending=True)
    chances = chances.masked_fill(chances.cumsum(-1) - chances >= top_p, 0)
    picked = torch.multinomial(chances, 1, generator=generator)
    return order.gather(1, picked)[:, 0]


def _config(shape: NetworkShape, end: int, pad: int) -> dict[str, Any]:
    """Return the config.json of the network as a Qwen3 model (`Any`: JSON)."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "rope_scaling": None,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "use_cache": True,
        "use_sliding_window": False,
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
