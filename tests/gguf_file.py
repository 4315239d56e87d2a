"""Write the metadata of a GGUF file, as far as tests need it: no tensors."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

Value = int | float | bool | str | list[int] | list[str]
BYTES = sorted(ByteLevel.alphabet())
WORDS = ["is", "Ġis", "12", "34", "1234"]
MERGES = ["i s", "Ġ is", "1 2", "3 4", "12 34"]
SPECIAL, TAGS = ["<|end|>", "<|user|>"], ["<think>", "</think>"]
TOKENS = [*BYTES, *WORDS, *SPECIAL, *TAGS]
TYPES = [1] * len(BYTES + WORDS) + [3] * len(SPECIAL) + [4] * len(TAGS)
TEMPLATE = (
    "{% for m in messages %}<|user|>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<think>\n{% endif %}"
)


def metadata(**changes: Value) -> dict[str, Value]:
    """Return what a small model's file says, with some keys of the tokenizer changed."""
    tokenizer: dict[str, Value] = {
        "model": "gpt2",
        "pre": "qwen2",
        "tokens": TOKENS,
        "token_type": TYPES,
        "merges": MERGES,
        "eos_token_id": TOKENS.index("<|end|>"),
    }
    return {
        "general.architecture": "qwen3",
        "qwen3.context_length": 2048,
        "tokenizer.chat_template": TEMPLATE,
        "qwen3.rope.freq_base": 1e6,
        "tokenizer.ggml.add_bos_token": False,
        **{f"tokenizer.ggml.{key}": value for key, value in (tokenizer | changes).items()},
    }


def write(file: Path, values: Mapping[str, Value], *, version: int = 3) -> Path:
    """Write a file with these values, and return its path."""
    body = b"".join(_text(key) + _value(value) for key, value in values.items())
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, len(values)) + body)
    return file


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<Id", 12, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case list():
            return struct.pack("<I", 9) + _row(value)


def _row(values: list[int] | list[str]) -> bytes:
    kind = 8 if isinstance(values[0], str) else 5
    inner = (_text(one) if isinstance(one, str) else struct.pack("<i", one) for one in values)
    return struct.pack("<IQ", kind, len(values)) + b"".join(inner)
