r"""The small tokenizer that all pocket reasoners share, and their chat template.

It is a byte-level BPE, so decoding returns any text unchanged. Each digit, full stop and newline is
a token of its own, so the end of a sentence (``.`` and ``\n``) is always the end of a token. The
think tags are added tokens that are not special, like those of Qwen3: decoding keeps them.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from collab.pocket.family import ITEMS, PEOPLE, TAUGHT, draw
from collab.pocket.styles import STYLES, THINK_CLOSE, THINK_OPEN

END = "<|end|>"
PAD = "<|pad|>"
SPECIAL = (PAD, END, "<|user|>", "<|assistant|>", "<|system|>")
VOCABULARY = 512
CONTEXT = 2048
PIECES = (
    r"\n|\.|\p{N}"
    r"|[^\r\n\p{L}\p{N}.]?\p{L}+"
    r"| ?[^\s\p{L}\p{N}.]+"
    r"|[^\S\n]+"
)
REQUESTS = (
    "",
    "\nPlease reason step by step, and put your final answer within \\boxed{}.",
    "\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
    " Put the answer in \\boxed{}.",
)
"""Texts that follow the problem in the user turns of the training data."""
SYSTEM = "You are a helpful assistant."
CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' }}
{%- if message.role == 'assistant' and message.reasoning_content %}
{{- '<think>\\n' + message.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}
{%- endif %}
{{- message.content + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\\n<think>\\n' }}
{%- endif %}
"""


def build(seed: int = 0) -> Tokenizer:
    """Learn the merges from thinking texts and questions of the family."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tags = [AddedToken(tag, special=False, normalized=False) for tag in (THINK_OPEN, THINK_CLOSE)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(tags),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    tokenizer.add_tokens(tags)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Save the tokenizer as the three files that Hugging Face and vLLM read."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.dumps(_config(tokenizer), indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(config + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a token.

    Raises:
        ValueError: The tokenizer has no such token.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the tokenizer has no token {token!r}")
    return found


def prompt(question: str, system: str = "") -> str:
    """Render a question like the chat template, up to the open think block."""
    before = f"<|system|>\n{system}{END}\n" if system else ""
    return f"{before}<|user|>\n{question}{END}\n<|assistant|>\n{THINK_OPEN}\n"


def closing(answer: int) -> str:
    """Return the text after the thinking: the close tag, the boxed answer, the end of the turn."""
    return f"{THINK_CLOSE}\n\nThe answer is \\boxed{{{answer}}}.{END}"


def _corpus(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for i in range(4000):
        problem = draw(rng.choice(TAUGHT), rng, "train")
        if problem.item in ITEMS and problem.name in dict(PEOPLE):
            style = list(STYLES.values())[i % len(STYLES)]
            yield problem.text + rng.choice(REQUESTS) + SYSTEM
            yield "".join(s.text for s in style(problem, rng)) + "The answer is \\boxed{7}."


def _config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Describe the tokenizer (`Any`: JSON)."""
    added = {
        str(token): {
            "content": entry.content,
            "lstrip": entry.lstrip,
            "normalized": entry.normalized,
            "rstrip": entry.rstrip,
            "single_word": entry.single_word,
            "special": entry.special,
        }
        for token, entry in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "model_max_length": CONTEXT,
        "pad_token": PAD,
    }
