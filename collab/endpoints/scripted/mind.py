"""The model of the scripted server: a script, and a tokenizer of words."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from collab.serving import Card, ChatTemplate, ChatTurns, Job, Piece, TokenLogprob, Transcript

ScriptedAnswer: TypeAlias = str | Sequence[str]
"""The continuation of a prompt; the seed picks one of several, greedy sampling the first."""
Script: TypeAlias = ScriptedAnswer | Mapping[str, ScriptedAnswer] | Callable[[str], ScriptedAnswer]
"""An answer; answers by a part of the prompt; or a function from the prompt to an answer."""

BOS, EOS = "<s>", "</s>"
TEMPLATE = """\
{% for message in messages %}
{{ '<|' + message.role + '|>\\n' + message.content + '</s>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\\n<think>\\n' }}
{%- endif %}
"""
"""A chat template that opens the think block."""


class WordTokenizer:
    """A tokenizer: a word with the space before it is a token, and so is a digit, a mark, a tag.

    Ids are given out as words come up, so two instances disagree as foreign tokenizers do. As with
    any tokenizer, text that is cut inside a token has other tokens than the whole.
    """

    size = 2**20

    def __init__(self) -> None:
        self._names = [BOS, EOS, "<think>", "</think>"]
        self._ids = {name: i for i, name in enumerate(self._names)}
        self._pattern = re.compile(r"</?(?:think|s)>| ?[^\W\d_]+|\d|\n+|[^\S\n]+|.")

    def encode(self, text: str) -> list[int]:
        """Tokenize; new words become known."""
        return [self._id(match.group()) for match in self._pattern.finditer(text)]

    def text(self, token: int) -> str:
        """Return the text of a token; an unknown one has none."""
        return self._names[token] if token < len(self._names) else ""

    def _id(self, word: str) -> int:
        known = self._ids.setdefault(word, len(self._names))
        if known == len(self._names):
            self._names.append(word)
        return known


def recite(*texts: str) -> Callable[[str], list[str]]:
    """Script a model that continues given texts from the point that the prompt has reached.

    If the prompt has got equally far in several texts, the seed picks one.
    """

    def go_on(prompt: str) -> list[str]:
        reached = [_reached(prompt, text) for text in texts]
        return [text[n:] for text, n in zip(texts, reached, strict=True) if n == max(reached)]

    return go_on


def attentive(prompt: str) -> Sequence[str]:
    """Continue as an attentive model would in the probes of `collab doctor`: think, then answer."""
    if found := re.search(r"secret word is (\w+)\.[^.]*secret word is$", prompt):
        return (f" {found[1]}. I have said it again, and that is all there is to say.",)
    answers = (
        "The answer is 7, since three and four is seven.",
        "It is 7, as anybody can count.",
        "7, of course: four more than three.",
    )
    if prompt.rpartition("<think>")[2].count("</think>"):
        return answers
    thoughts = (
        "Three and four more. That makes seven, as far as I can see. So the answer must be 7.",
        "Let me count: three, then four more. Nothing else is asked. So 7 it is.",
        "Adding four to three gives seven. I am sure. The answer is 7.",
    )
    return tuple(f"{thought}</think>\n\n{answers[0]}" for thought in thoughts)


def _reached(prompt: str, text: str) -> int:
    return next(n for n in range(len(text), -1, -1) if prompt.endswith(text[:n]))


class ScriptedModel:
    """A backend that recites."""

    def __init__(
        self,
        script: Script,
        cards: Mapping[str, Card],
        template: str,
        words: WordTokenizer,
        latency: float,
    ) -> None:
        self.cards = cards
        self._script, self._words, self._latency = script, words, latency
        self._template = ChatTemplate(template)
        self._unseeded = itertools.count()

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize."""
        return self._words.encode(text)

    def decode(self, model: str, ids: Sequence[int]) -> str:
        """Turn token ids into text."""
        return "".join(map(self._words.text, ids))

    def render(self, model: str, chat: ChatTurns, *, generate: bool, continue_final: bool) -> str:
        """Apply the chat template."""
        return self._template.render(chat, generate=generate, continue_final=continue_final)

    async def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Recite the script's answers token by token."""
        await asyncio.sleep(self._latency)
        seed = next(self._unseeded) if job.seed is None else job.seed
        for choice in range(job.n):
            async for piece in self._choice(job, choice, seed + choice):
                yield piece

    async def _choice(self, job: Job, choice: int, seed: int) -> AsyncGenerator[Piece, None]:
        end, hidden = self._words.encode(EOS)[0], not job.keep_special
        transcript = Transcript(job, choice, frozenset({end}))
        lucky = seed if job.temperature else 0
        said = self._answer(self.decode(job.model, job.prompt), lucky)
        scored = () if job.prompt_logprobs is None else self._scored(job, lucky)
        for token in itertools.chain(self._words.encode(said), itertools.repeat(end)):
            text = self._words.text(token)
            if job.logprobs is not None:
                transcript.logprobs.append(_logprob(text, job.logprobs))
            done = transcript.add(token, b"" if hidden and token == end else text.encode())
            if job.stream or done:
                yield replace(transcript.take(), prompt_logprobs=scored)
                await asyncio.sleep(0)
            if done:
                return

    def _scored(self, job: Job, seed: int) -> tuple[TokenLogprob, ...]:
        """Score a prompt: a token that the script would continue with has 0.9, any other 0.01."""
        scored = []
        for at, token in enumerate(job.prompt[1:], 1):
            before = self.decode(job.model, job.prompt[:at])
            expected = self._words.encode(self._answer(before, seed))[:1]
            chance = 0.9 if expected == [token] else 0.01
            scored.append(TokenLogprob(self._words.text(token), math.log(chance), id=token))
        return tuple(scored)

    def _answer(self, prompt: str, seed: int) -> str:
        answers: ScriptedAnswer
        match self._script:
            case str():
                return self._script
            case Mapping() as known:
                answers = next((known[key] for key in known if key in prompt), "")
            case Sequence() as several:
                answers = several
            case ask:
                answers = ask(prompt)
        return answers if isinstance(answers, str) else answers[seed % len(answers)]


def _logprob(text: str, top: int) -> TokenLogprob:
    """Make up log-probabilities: the token at 0.9, the rest at 0.1 / 2, / 4 and so on."""
    others = [TokenLogprob(f"{text}~{i}", math.log(0.1 / 2**i)) for i in range(1, top)]
    drawn = TokenLogprob(text, math.log(0.9))
    return replace(drawn, top=(drawn, *others)[:top])
