"""What answers behind the scripted server: a script for a mind, and a tokenizer of words."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from typing import TypeAlias

from collab.wire import Card, Chat, ChatTemplate, Job, Piece, TokenLogprob, Transcript

Answer: TypeAlias = str | Sequence[str]
"""What comes after a prompt; of several, the seed picks one."""
Script: TypeAlias = Answer | Mapping[str, Answer] | Callable[[str], Answer]
"""An answer; answers by what the prompt holds; or a function from the prompt to its answer."""

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

prefix_to_echo: ContextVar[str] = ContextVar("prefix_to_echo", default="")
"""What the reply to the current request begins with."""


class Words:
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
    """Script a model that has texts in mind and goes on from wherever the prompt has come in one.

    Of several that the prompt has come equally far in, the seed picks one.
    """

    def go_on(prompt: str) -> list[str]:
        reached = [_reached(prompt, text) for text in texts]
        return [text[n:] for text, n in zip(texts, reached, strict=True) if n == max(reached)]

    return go_on


def _reached(prompt: str, text: str) -> int:
    return next(n for n in range(len(text), -1, -1) if prompt.endswith(text[:n]))


class ScriptedModel:
    """The backend of a scripted server."""

    def __init__(
        self,
        script: Script,
        cards: Mapping[str, Card],
        template: str,
        words: Words,
        traits: Collection[str],
        latency: float,
    ) -> None:
        self.cards = cards
        self.on_abort: Callable[[], None] = lambda: None
        self._script, self._words, self._traits, self._latency = script, words, traits, latency
        self._template = ChatTemplate(template)
        self._unseeded = itertools.count()

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize."""
        begin = "double_bos" in self._traits or (special and "bos" in self._traits)
        return self._words.encode(BOS + text if begin else text)

    def decode(self, model: str, ids: Sequence[int]) -> str:
        """Turn token ids into text."""
        return "".join(map(self._words.text, ids))

    def render(self, model: str, chat: Chat, *, generate: bool, go_on: bool) -> str:
        """Apply the chat template, with what this server does to an assistant's turn."""
        turns = [{**turn, "content": self._content(turn)} for turn in chat]
        text = self._template.render(turns, generate=generate, go_on=go_on)
        return BOS + text if {"bos", "double_bos"} & set(self._traits) else text

    async def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Recite the script's answers token by token."""
        finished = False
        try:
            await asyncio.sleep(self._latency)
            seed = next(self._unseeded) if job.seed is None else job.seed
            for choice in range(job.n):
                async for piece in self._choice(job, choice, seed + choice):
                    yield piece
            finished = True
        finally:
            if not finished:
                self.on_abort()

    async def _choice(self, job: Job, choice: int, seed: int) -> AsyncGenerator[Piece, None]:
        if prefix_to_echo.get():
            yield Piece(prefix_to_echo.get(), choice=choice)
        end, hidden = self._words.encode(EOS)[0], not job.keep_special
        transcript = Transcript(job, choice, frozenset({end}))
        answer = self._words.encode(self._answer(self.decode(job.model, job.prompt), seed))
        for token in itertools.chain(answer, itertools.repeat(end)):
            text = self._words.text(token)
            if job.logprobs is not None:
                transcript.logprobs.append(_logprob(text, job.logprobs))
            done = transcript.add(token, b"" if hidden and token == end else text.encode())
            if job.stream or done:
                yield transcript.take()
                await asyncio.sleep(0)
            if done:
                return

    def _answer(self, prompt: str, seed: int) -> str:
        answers: Answer
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

    def _content(self, turn: Mapping[str, object]) -> str:
        content = str(turn["content"])
        if turn["role"] != "assistant":
            return content
        if "thinking_dropped" in self._traits:
            content = re.sub(r"<think>.*?(</think>|$)", "", content, flags=re.DOTALL)
        if "empty_think" in self._traits:
            content = "<think>\n\n</think>\n\n" + content
        return content


def _logprob(text: str, top: int) -> TokenLogprob:
    """Make up log-probabilities: the token at 0.9, the rest at 0.1 / 2, / 4 and so on."""
    others = [(f"{text}~{i}", math.log(0.1 / 2**i)) for i in range(1, top)]
    drawn = (text, math.log(0.9))
    return TokenLogprob(*drawn, (drawn, *others)[:top])
