"""Make a tiny checkpoint of random weights for each family of chat templates.

    python tests/engines/families.py FOLDER [FAMILY ...]

Each has what its family's models have: the special tokens, a byte-level tokenizer that cuts numbers
in the family's way, and a chat template of ours that does what theirs are documented to do. None is
of the architecture qwen2, whose tokenizers transformers reads by rules of its own whatever their
files say. The weights are noise: what such a model writes is nonsense, broken characters and
stray tags included, which is what makes it a hard test of prompts.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

TEMPLATES = Path(__file__).with_name("templates")
WORDS = "So we add 3 and 4. Then (as said) we stop.\n\nIs it 7? Wait.\nThe answer is \\boxed{7}.\n"
WIDTH, HEADS, CACHED_HEADS, HEAD, INNER, LAYERS = 64, 2, 1, 32, 128, 1
CONTEXT = 2048
MERGES = 160
ONE_DIGIT, THREE_DIGITS = r"\p{N}", r"\p{N}{1,3}"


@dataclass(frozen=True)
class Family:
    """What the models of a family have in common."""

    conf: str
    """A file of `conf/model` for one of them."""
    architecture: str
    special: tuple[str, ...]
    """Special tokens; the first begins a text where `starts`, the last ends a turn."""
    tags: tuple[str, ...] = ("<think>", "</think>")
    """Tokens of their own that are not special."""
    digits: str = ONE_DIGIT
    """How many digits stand in one token at most."""
    starts: bool = False
    """Whether texts begin with a token; the template writes it."""
    adds_start: bool = False
    """Whether the tokenizer would add that token, too, unless it is told not to."""
    head: str = ""
    """What the user's turn `Q` alone looks like, up to the open think block."""


DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HARMONY = ("<|startoftext|>", "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
MISTRAL = ("<s>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]", "[THINK]")
ASKED = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
R1 = "<｜begin▁of▁sentence｜><｜User｜>Q<｜Assistant｜><think>\n"
DATED = "<|start|>system<|message|>Reasoning: medium\nToday: 2026-01-01<|end|>"

FAMILIES = {
    "r1": Family("r1_qwen_1_5b", "llama", DEEPSEEK, starts=True, adds_start=True, head=R1),
    "r1_llama": Family(
        "r1_llama_8b",
        "llama",
        DEEPSEEK,
        digits=THREE_DIGITS,
        starts=True,
        adds_start=True,
        head=R1,
    ),
    "qwen3": Family("qwen3_1_7b", "qwen3", CHATML, head=f"{ASKED}<think>\n"),
    "qwq": Family("qwq_32b", "qwen3", CHATML, head=f"{ASKED}<think>\n"),
    "qwen2_5": Family(
        "limo_32b", "qwen3", CHATML, (), head=f"<|im_start|>system\nYou help.<|im_end|>\n{ASKED}"
    ),
    "am_thinking": Family(
        "am_thinking_32b",
        "qwen3",
        CHATML,
        (),
        head="<|im_start|>system\nThink between <think> and </think>, then answer between "
        f"<answer> and </answer>.<|im_end|>\n{ASKED}<think>\n",
    ),
    "harmony": Family(
        "gpt_oss_20b",
        "llama",
        HARMONY,
        (),
        THREE_DIGITS,
        head=f"{DATED}<|start|>user<|message|>Q<|end|><|start|>assistant"
        "<|channel|>analysis<|message|>",
    ),
    "mistral": Family(
        "magistral_small",
        "mistral",
        (*MISTRAL, "[/THINK]", "</s>"),
        (),
        starts=True,
        adds_start=True,
        head="<s>[INST]Q[/INST][THINK]",
    ),
}


def template(name: str) -> str:
    """Return our template of a family; R1's is the same on Llama's tokenizer."""
    file = TEMPLATES / f"{name.removesuffix('_llama')}.jinja"
    return file.read_text(encoding="utf-8")


def make(name: str, folder: Path) -> Path:
    """Write the checkpoint of a family into a folder of its own, and return that."""
    family, home = FAMILIES[name], folder / name
    home.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(family)
    tokenizer.save(str(home / "tokenizer.json"))
    (home / "chat_template.jinja").write_text(template(name), encoding="utf-8")
    _write(home / "tokenizer_config.json", _tokens(family))
    _write(home / "config.json", _config(family, tokenizer))
    weights = _weights(family, tokenizer.get_vocab_size())
    save_file(weights, home / "model.safetensors", metadata={"format": "pt"})
    return home


def _tokenizer(family: Family) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    cut = rf"[^\S\n]?\p{{L}}+|{family.digits}|[^\S\n]?[^\s\p{{L}}\p{{N}}]+\n*|\s*\n+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(cut), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + MERGES, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    tokenizer.add_special_tokens([AddedToken(one, normalized=False) for one in family.special])
    tokenizer.add_tokens([AddedToken(one, normalized=False) for one in family.tags])
    if family.adds_start:
        start = family.special[0]
        tokenizer.post_processor = TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
    return tokenizer


def _tokens(family: Family) -> dict[str, object]:
    start = {"bos_token": family.special[0]} if family.starts else {}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": family.special[-1],
        **start,
    }


def _config(family: Family, tokenizer: Tokenizer) -> dict[str, object]:
    kind = family.architecture
    return {
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "model_type": kind,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": CACHED_HEADS,
        "head_dim": HEAD,
        "intermediate_size": INNER,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "sliding_window": None,
        "dtype": "float32",
        "eos_token_id": tokenizer.token_to_id(family.special[-1]),
    }


def _weights(family: Family, vocabulary: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    queries, cached = HEADS * HEAD, CACHED_HEADS * HEAD
    shapes = {"embed_tokens.weight": (vocabulary, WIDTH), "norm.weight": (WIDTH,)}
    for layer in (f"layers.{number}." for number in range(LAYERS)):
        attention, feed = f"{layer}self_attn.", f"{layer}mlp."
        for part, size in (("q", queries), ("k", cached), ("v", cached)):
            shapes[f"{attention}{part}_proj.weight"] = (size, WIDTH)
        if family.architecture == "qwen3":
            shapes |= {f"{attention}{part}_norm.weight": (HEAD,) for part in "qk"}
        shapes |= {
            f"{attention}o_proj.weight": (WIDTH, queries),
            f"{feed}gate_proj.weight": (INNER, WIDTH),
            f"{feed}up_proj.weight": (INNER, WIDTH),
            f"{feed}down_proj.weight": (WIDTH, INNER),
            f"{layer}input_layernorm.weight": (WIDTH,),
            f"{layer}post_attention_layernorm.weight": (WIDTH,),
        }
    return {
        f"model.{name}": np.ones(shape, np.float32)
        if name.endswith("norm.weight")
        else rng.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for chosen in sys.argv[2:] or FAMILIES:
        print(make(chosen, Path(sys.argv[1])))
