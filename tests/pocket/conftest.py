"""Checkpoints with random weights, complete in all other respects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = """\
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\\n<think>\\n' }}
{%- endif %}
"""
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>")
CONFIG = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "vocab_size": 272,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "attention_bias": False,
    "use_sliding_window": False,
}

Write = Callable[..., Path]
Halves = npt.NDArray[np.uint16]


@pytest.fixture(scope="session")
def write_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Return a function that writes a checkpoint; its arguments change config.json."""

    def write(**changes: Any) -> Path:  # Any: JSON
        folder = tmp_path_factory.mktemp("checkpoint")
        config = CONFIG | changes
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "generation_config.json").write_text('{"temperature": 0.6, "top_p": 0.95}')
        _tokenizer().save(str(folder / "tokenizer.json"))
        _write_weights(config, folder / "model.safetensors")
        return folder

    return write


@pytest.fixture(scope="session")
def checkpoint(write_checkpoint: Write) -> Path:
    """Return a folder with a small checkpoint."""
    return write_checkpoint()


def _tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: i for i, name in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tags = [AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")]
    tokenizer.add_tokens(tags)
    return tokenizer


def _write_weights(config: dict[str, Any], path: Path) -> None:
    rng = np.random.default_rng(0)
    width, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens": (config["vocab_size"], width),
        "model.norm": (width,),
    }
    for i in range(config["num_hidden_layers"]):
        layer = {
            "input_layernorm": (width,),
            "post_attention_layernorm": (width,),
            "self_attn.q_proj": (heads, width),
            "self_attn.k_proj": (kv, width),
            "self_attn.v_proj": (kv, width),
            "self_attn.o_proj": (width, heads),
            "self_attn.q_norm": (head,),
            "self_attn.k_norm": (head,),
            "mlp.gate_proj": (inner, width),
            "mlp.up_proj": (inner, width),
            "mlp.down_proj": (width, inner),
        }
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
    weights = {f"{name}.weight": _bfloat16(rng, shape) for name, shape in shapes.items()}
    path.write_bytes(_safetensors(weights))


def _bfloat16(rng: np.random.Generator, shape: tuple[int, ...]) -> Halves:
    """Draw weights: near one for a norm, else small enough to preserve the variance."""
    drawn = rng.standard_normal(shape).astype(np.float32)
    drawn = 1 + 0.1 * drawn if len(shape) == 1 else drawn / np.float32(np.sqrt(shape[1]))
    return (drawn.view(np.uint32) >> 16).astype("<u2")


def _safetensors(weights: dict[str, Halves]) -> bytes:
    """Write safetensors by hand, because numpy has no bfloat16."""
    header, start = {}, 0
    for name, weight in weights.items():
        place = [start, start := start + weight.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": place}
    head = json.dumps(header).encode()
    return b"".join(
        [len(head).to_bytes(8, "little"), head, *(w.tobytes() for w in weights.values())]
    )
