"""The tokenizer in a GGUF file, built as llama.cpp reads it: byte-level BPE.

llama.cpp does not normalise text, so neither does this; its own table says how each kind of
tokenizer cuts a text into words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as RawTokenizer

from collab.core.gguf import CONTROL, USER_DEFINED, Gguf
from collab.errors import ConfigError

ENGLISH = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ONE_DIGIT = (rf"{ENGLISH}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{REST}",)
THREE_DIGITS = (rf"{ENGLISH}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{REST}",)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENGLISH}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENGLISH}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
CUTS: dict[str, Sequence[str]] = {
    "qwen2": ONE_DIGIT,
    "deepseek-r1-qwen": ONE_DIGIT,
    "llama-bpe": THREE_DIGITS,
    "smaug-bpe": THREE_DIGITS,
    "lfm2": THREE_DIGITS,
    "falcon3": THREE_DIGITS,
    "gpt-4o": O200K,
    "gpt-2": (GPT2,),
    "smollm": (r"\p{N}", GPT2),
}
"""The expressions that cut a text, one after the other, by `tokenizer.ggml.pre`."""
WHOLE_WORDS = frozenset({"llama-bpe", "lfm2", "falcon3"})
"""Kinds that take a word that is a token as that token, whatever the merges say."""
DECIDING = ("model", "pre", "tokens", "token_type", "merges")
"""The keys under `tokenizer.ggml` that decide which ids a text has."""


def build(gguf: Gguf) -> tuple[RawTokenizer, frozenset[int], str]:
    """Return the tokenizer, the ids of its special tokens, and its fingerprint.

    Raises:
        ConfigError: It is of a kind that is not known here, or is not whole.
    """
    kind, cut = gguf.text("tokenizer.ggml.model"), gguf.text("tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in CUTS:
        raise ConfigError(
            f"the tokenizer of {str(gguf.path)!r} is {kind!r} cut as {cut!r}, which is not known "
            f"here (known: 'gpt2' cut as {', '.join(map(repr, CUTS))}); serve the file with "
            "llama-server, take model=llamacpp, and set checkpoint to a folder or Hugging Face id "
            "with the model's tokenizer.json"
        )
    tokens, types = gguf.texts("tokenizer.ggml.tokens"), gguf.numbers("tokenizer.ggml.token_type")
    merges = [_pair(merge) for merge in gguf.texts("tokenizer.ggml.merges")]
    try:
        vocabulary = {token: index for index, token in enumerate(tokens)}
        whole = cut in WHOLE_WORDS
        raw = RawTokenizer(models.BPE(vocabulary, merges, ignore_merges=whole))
    except Exception as error:  # the library raises bare exceptions
        raise ConfigError(f"the tokenizer of {str(gguf.path)!r} is not whole: {error}") from error
    splits = [pre_tokenizers.Split(Regex(one), "isolated") for one in CUTS[cut]]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.pre_tokenizer = pre_tokenizers.Sequence([*splits, level])
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(_added(tokens, types, CONTROL))
    raw.add_tokens(_added(tokens, types, USER_DEFINED))
    special = frozenset(index for index, type_ in enumerate(types) if type_ == CONTROL)
    return raw, special, _fingerprint(gguf)


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _added(tokens: Sequence[str], types: Sequence[int], wanted: int) -> list[AddedToken]:
    """Return the tokens of a type, which are matched whole in any text."""
    return [
        AddedToken(token, normalized=False, special=wanted == CONTROL)
        for token, type_ in zip(tokens, types, strict=False)
        if type_ == wanted and token
    ]


def _fingerprint(gguf: Gguf) -> str:
    """Hash what decides the ids."""
    deciding = [gguf.values.get(f"tokenizer.ggml.{key}") for key in DECIDING]
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:12]
