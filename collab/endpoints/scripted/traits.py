"""Traits: permanent deviations of a server from its API.

Each is applied where a real server would do it: to the fields of a request, to the prompt that it
reads, to the draw, or to the reply.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from collab.core.trajectory import Json
from collab.endpoints.scripted.mind import BOS
from collab.serving import Backend, Card, ChatTurns, Job, Piece, WireError

ScriptedBody: TypeAlias = dict[str, Any]
"""A JSON object (`Any`: a client may send any values)."""
Trait = Literal[
    "bos",
    "context_hidden",
    "continue_ignored",
    "double_bos",
    "double_think",
    "drifting",
    "empty_think",
    "few_stops",
    "ids_refused",
    "logprobs_refused",
    "n_ignored",
    "n_refused",
    "no_chat",
    "no_completions",
    "no_token_ids",
    "no_tokenize",
    "no_usage",
    "parser",
    "parser_mislabels",
    "prefix_dropped",
    "prefix_echoed",
    "sampling_fixed",
    "seed_ignored",
    "stop_ignored",
    "stop_trimmed",
    "summary",
    "thinking_dropped",
    "thinking_hidden",
    "usage_of_one",
    "wrong_field",
]
"""A deviation of a server from vLLM, or from its own API.

Prompts. `bos`: a text gets a BOS unless the request has `add_special_tokens: false`; `double_bos`:
always, although the template has one. `continue_ignored`: an open turn is closed and a new one
opened. `prefix_dropped`: an open turn is left out. `thinking_dropped`: the template leaves out an
assistant's thinking. `empty_think`: an open turn follows an empty think block; `double_think`: it
follows a second open tag. `ids_refused`: a prompt must be text.

Draws. `sampling_fixed`: neither temperature nor seed has an effect. `seed_ignored`, `stop_ignored`,
`n_ignored`: as if it were not sent; `n_refused`: more than one choice is an error. `few_stops`:
more than four stop strings are an error. `logprobs_refused`: requesting them is an error.
`context_hidden`: the context is not reported, and a longer prompt is shortened.

Replies. `stop_trimmed`: the stop string is cut off the text. `prefix_echoed`: the text of the open
turn is repeated. `wrong_field`: thinking and answer are in each other's field. `parser`: thinking
is separate from the answer; `parser_mislabels`: and the answer after a closed thought of an open
turn counts as thinking. `summary`, `thinking_hidden`: thinking is billed and returned as a summary,
or not at all. `no_usage`; `usage_of_one`: the tokens of one choice are counted. `drifting`: each
reply has another version of the model than the one before.
"""
LEFT_OUT: Mapping[Trait, frozenset[str]] = {
    "continue_ignored": frozenset({"continue_final_message", "add_generation_prompt"}),
    "n_ignored": frozenset({"n"}),
    "no_token_ids": frozenset({"return_token_ids"}),
    "seed_ignored": frozenset({"seed"}),
    "stop_ignored": frozenset({"stop"}),
    "stop_trimmed": frozenset({"include_stop_str_in_output"}),
}
"""The fields of a request that such a server does not look at."""
ABSENT: Mapping[Trait, frozenset[str]] = {
    "no_chat": frozenset({"/v1/chat/completions"}),
    "no_completions": frozenset({"/v1/completions"}),
    "no_tokenize": frozenset({"/tokenize", "/detokenize"}),
}
"""The routes that such a server does not have."""
MOST_STOPS = 4
HUGE = 2**20
EMPTY = "<think>\n\n</think>\n\n"
SUMMARY = "I looked at the question and worked it out."


class TraitBackend:
    """A backend with some traits: it reads other prompts, or draws in its own way."""

    def __init__(self, inner: Backend, traits: Collection[Trait]) -> None:
        self.inner = inner
        self.on_abort: Callable[[], None] = lambda: None
        self._traits = frozenset(traits)
        self._unasked = itertools.count()

    @property
    def cards(self) -> Mapping[str, Card]:
        """The models by name."""
        if "context_hidden" not in self._traits:
            return self.inner.cards
        return {name: replace(card, context=HUGE) for name, card in self.inner.cards.items()}

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize."""
        begin = "double_bos" in self._traits or (special and "bos" in self._traits)
        return self.inner.encode(model, BOS + text if begin else text, special=special)

    def decode(self, model: str, ids: Sequence[int]) -> str:
        """Turn token ids into text."""
        return self.inner.decode(model, ids)

    def render(self, model: str, chat: ChatTurns, *, generate: bool, continue_final: bool) -> str:
        """Apply the chat template, with this server's treatment of an assistant's turn."""
        turns = [{**turn, "content": self._content(turn)} for turn in chat]
        if continue_final and "prefix_dropped" in self._traits:
            turns, generate, continue_final = turns[:-1], True, False
        text = self.inner.render(model, turns, generate=generate, continue_final=continue_final)
        return BOS + text if {"bos", "double_bos"} & self._traits else text

    async def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Draw; note whether the client went away before the end."""
        if "sampling_fixed" in self._traits:
            job = replace(job, seed=next(self._unasked), temperature=1.0)
        room = self.inner.cards[job.model].context - len(job.prompt)
        if room < 1:
            raise WireError("This model's maximum context length is used up by the prompt.")
        job = replace(job, max_tokens=min(job.max_tokens, room))
        finished = False
        try:
            async for piece in self.inner.complete(job):
                yield piece
            finished = True
        finally:
            if not finished:
                self.on_abort()

    def _content(self, turn: Mapping[str, Json]) -> str:
        content = str(turn.get("content") or "")
        if turn["role"] != "assistant":
            return content
        if "thinking_dropped" in self._traits:
            content = re.sub(r"<think>.*?(</think>|$)", "", content, flags=re.DOTALL)
        return self.before + content

    @property
    def before(self) -> str:
        """The text before an open turn."""
        empty = EMPTY if "empty_think" in self._traits else ""
        return empty + ("<think>\n" if "double_think" in self._traits else "")


def refusal(body: ScriptedBody, traits: Collection[Trait]) -> str | None:
    """Say why such a server refuses a request, if it does."""
    stop = body.get("stop")
    if "ids_refused" in traits and not isinstance(body.get("prompt", ""), str):
        return "prompt: must be a string"
    if "n_refused" in traits and body.get("n", 1) != 1:
        return "n: only one choice is supported"
    if "few_stops" in traits and isinstance(stop, list) and len(stop) > MOST_STOPS:
        return f"stop: at most {MOST_STOPS} are allowed"
    if "logprobs_refused" in traits and body.get("logprobs"):
        return "logprobs: not supported"
    return None


def as_read(body: ScriptedBody, traits: Collection[Trait]) -> ScriptedBody:
    """Remove the fields that such a server ignores."""
    unread = {name for trait in traits for name in LEFT_OUT.get(trait, ())}
    return {name: value for name, value in body.items() if name not in unread}


def untold(models: ScriptedBody) -> ScriptedBody:
    """Leave the context out of a list of models."""
    told = [{k: v for k, v in one.items() if k != "max_model_len"} for one in models["data"]]
    return {**models, "data": told}


def recounted(reply: ScriptedBody, traits: Collection[Trait]) -> ScriptedBody:
    """Count in a whole reply as such a server does."""
    if "no_usage" in traits:
        return {name: value for name, value in reply.items() if name != "usage"}
    choices = len(reply.get("choices", ()))
    if "usage_of_one" in traits and choices > 1:
        usage = reply["usage"]
        return {
            **reply,
            "usage": {**usage, "completion_tokens": usage["completion_tokens"] // choices},
        }
    return reply


def relabelled(reply: ScriptedBody, sent: ScriptedBody, traits: Collection[Trait]) -> ScriptedBody:
    """Put the parts of the wire's own chat reply where such a server does."""
    for choice in reply["choices"]:
        if "message" in choice:
            _relabel(choice["message"], _begun(sent), traits)
    return reply


def _begun(sent: ScriptedBody) -> str | None:
    """Return the turn that a request continues in vLLM's way."""
    return str(sent["messages"][-1]["content"]) if sent.get("continue_final_message") else None


def _relabel(message: ScriptedBody, begun: str | None, traits: Collection[Trait]) -> None:
    if "prefix_echoed" in traits and begun is not None:
        message["content"] = begun + message["content"]
    if {"parser", "parser_mislabels"} & set(traits):
        closed = "</think>" in (begun or "")
        thought, _, answer = message["content"].partition("</think>")
        if closed:
            thought, answer = "", message["content"]
            if "parser_mislabels" in traits:
                thought, answer = answer, ""
        message |= {"reasoning": thought or None, "content": answer or None}
    if "wrong_field" in traits:
        swapped = message.get("reasoning"), message["content"]
        message["content"], message["reasoning"] = swapped
