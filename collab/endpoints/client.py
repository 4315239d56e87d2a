"""The client of one model on an OpenAI-compatible server.

`complete` samples continuations of an exact prompt. Every sampling field is sent, so that no
default of the server applies, and every reply is checked. All requests go through one place, which
limits the size of replies and removes the key from whatever is shown.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from asyncio import CancelledError
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Self, TypeVar

from collab.core.sampling import Generation, OnCut, OnText, OpenTurn, Prompt, Request
from collab.core.secret import secrets_in
from collab.core.trajectory import Json
from collab.endpoints import bound, reply, sample, token_offsets
from collab.endpoints.along import KeyFilter
from collab.endpoints.bound import BodyLimit
from collab.endpoints.connection import Connection, address, key_from
from collab.endpoints.error_mapping import readable
from collab.endpoints.limits import Gate, Limits
from collab.endpoints.profile import Profile
from collab.endpoints.redaction import Redaction
from collab.endpoints.reply import Completion
from collab.endpoints.request_format import (
    Body,
    Completions,
    EndpointRequest,
    RequestFormat,
    StreamFormat,
)
from collab.endpoints.stream import StreamedParts
from collab.endpoints.tokens import Tokenizer
from collab.errors import BadReply, Denied, Rejected

logger = logging.getLogger(__name__)

T = TypeVar("T")

LARGE = 2**18
"""Bytes of a body that take tens of milliseconds to read."""


ODDITY = 80
"""Characters of an oddity that a note shows."""


class Endpoint:
    """A served model.

    Args:
        base_url: The address of the API; `/v1` is added if it has no path.
        model: The name under which the model is served.
        tokenizer: Decodes returned ids; required for token-id prompts.
        form: The format of its requests and replies.
        api_key_env: The environment variable that holds the key.
        api_key: The key of a server that this process started itself.
        uds: The Unix socket to connect to; `base_url` then only names the host.
        drop: Request fields to leave out, as this server refuses them.
        extra: Further request fields for this server.
        profile: The known abilities of the endpoint; `complete` updates it.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        tokenizer: Tokenizer | None = None,
        *,
        form: RequestFormat | None = None,
        api_key_env: str | None = None,
        api_key: str | None = None,
        uds: str | None = None,
        limits: Limits | None = None,
        drop: frozenset[str] = frozenset(),
        extra: Mapping[str, Json] | None = None,
        profile: Profile | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.url = address(base_url)
        self.model = model
        self.tokenizer = tokenizer
        self.profile = profile or Profile()
        self.limits = limits or Limits()
        key = api_key or key_from(api_key_env)
        self.form = form or Completions()
        self._redaction = Redaction(self.url, (key, *secrets_in(dict(extra or {}))))
        self._connection = Connection(self.url, key, uds, self.limits.concurrency)
        self._drop = drop
        self._extra = dict(extra or {})
        self._gate = Gate(self.limits, rng=rng)
        self.oddities: Counter[str] = Counter()
        """The odd fields and values of replies that were used all the same, by name."""
        self._proved = False
        """Whether a reply has shown or counted the tokens of a prompt."""
        self._called: str | None = None
        self._tokenizes = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def load(self) -> int:
        """How many requests are under way here, or wait to be."""
        return self._gate.window.load

    @property
    def crowded(self) -> int:
        """The number of responses 429 (too many requests)."""
        return self._gate.crowded

    @property
    def full(self) -> bool:
        """Whether one more request would have to wait."""
        return self.load >= self._gate.window.size

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        """Sample continuations with one request; draw i of the range has the seed `seed + i`.

        The first draws of the range are returned: all of them, or one if the server gives one draw
        per request. Cancelling stops the server.

        Args:
            request: What to sample.
            draws: The numbers of the draws.
            seed: The seed of draw 0.
            on_text: Receives the text as it is streamed (one draw only).
            on_cut: Receives the text so far when a streamed draw is cancelled or breaks off. Such a
                draw is not repeated, since part of it was seen.

        Raises:
            BadReply: The reply is invalid, lacks the ids, or shows that the prompt was altered.
            ContextFull: The prompt and `max_tokens` do not fit.
            KeyRepeated: The sampled text contains the API key.
            Rejected: The server refused the request.
            Unreachable: There was no answer in time.
        """
        if on_text is None:
            n = len(draws) if self.profile.joint(request.sampling) else 1
            found = await self._draw(request, n, seed)
        elif len(draws) != 1:
            raise ValueError(f"on_text streams one draw, not {len(draws)}")
        else:
            found = [await self._read_along(request, seed, on_text, on_cut)]
        self._gate.pace.charge(sum(one.completion_tokens for one in found))
        return found

    async def raw(
        self, request: Request, *, form: RequestFormat, n: int = 1, seed: int = 0
    ) -> reply.Completion:
        """Sample and return the replies unchecked; for the doctor only.

        Args:
            request: What to sample.
            form: The format that the prompt was rendered for.
            n: The number of draws.
            seed: The seed of the first one.

        Raises:
            EndpointError: As for `complete`, except for an altered prompt.
        """
        ask, size = self._wish(request, n, seed), self._size(request.prompt)
        return await self._gate.run(lambda: self._await_reply(self._raw(ask, form)), size)

    async def ends(self, text: str) -> tuple[int, ...] | None:
        """Return where the server's tokens end in a text (characters), None if it does not tell.

        Raises:
            Unreachable: There was no answer in time.
        """
        if not self._tokenizes:
            return None
        place = f"{self.url.removesuffix('/v1')}/tokenize"
        for body in token_offsets.asking(self.model, text):
            found = await self._gate.run(partial(self._tokenized, place, body, text))
            if found is not None:
                return found
        logger.info("%s returned no usable tokens: texts are cut by characters", place)
        self._tokenizes = False
        return None

    async def _tokenized(self, place: str, body: Body, text: str) -> tuple[int, ...] | None:
        try:
            with self._redaction.errors(), readable(place):
                said = await self._connection.post(place, body, BodyLimit.tokenized(text))
                return token_offsets.ends_in(
                    text, reply.parse_reply(token_offsets.Tokenized, place, said)
                )
        except (BadReply, Denied, Rejected):  # most have no such route
            return None

    async def models(self) -> list[reply.ServedModel]:
        """List the served models, in one attempt.

        Raises:
            EndpointError: The server cannot be reached, or is not an API.
        """
        return await self._gate.once(lambda: self._await_reply(self._models()))

    async def _models(self) -> list[reply.ServedModel]:
        place = f"{self.url}/models"
        found = reply.parse_models(place, await self._connection.get(place, bound.MODELS))
        hide = self._redaction.veil.hide
        return [one.model_copy(update={"id": hide(one.id or "")}) for one in found]

    async def close(self) -> None:
        """Close the connections; requests under way fail."""
        await self._connection.close()

    async def _draw(self, request: Request, n: int, seed: int) -> list[Generation]:
        """Ask for `n` draws at once; a server that gives one instead, or refuses, is remembered."""
        ask, size = self._wish(request, n, seed), self._size(request.prompt)
        try:
            found = await self._gate.run(lambda: self._await_reply(self._whole(ask)), size)
        except Rejected as refusal:
            if n == 1 or isinstance(refusal, Denied):
                raise
            found = await self._draw(request, 1, seed)
        if len(found) == 1 < n:
            logger.info("%s returns one draw per request (n=%d was requested)", self.url, n)
            self.profile = self.profile.model_copy(update={"takes_n": False})
        elif len(found) != n:
            raise BadReply(f"{self.url} returned {len(found)} choices for n={n}")
        return found

    async def _whole(self, ask: EndpointRequest) -> list[Generation]:
        began = time.perf_counter()
        place, said = await self._post(ask, self.form)
        seconds = time.perf_counter() - began

        def parse() -> tuple[Completion, list[Generation]]:
            with readable(place):
                whole = self._parse(place, said, ask, self.form)
                return whole, self._generations(whole, ask.request, seconds)

        completion, found = await _aside(said, parse)
        return [self._accepted(completion, one) for one in found]

    def _generations(self, whole: Completion, request: Request, seconds: float) -> list[Generation]:
        counted = self._proved
        return sample.generations(whole, request, self.tokenizer, seconds, counted=counted)

    def _accepted(self, whole: Completion, draw: Generation) -> Generation:
        """Check the names in a draw's reply, and count what is odd in it."""
        self._check_name(whole.model)
        kept = replace(self._redaction.checked(draw), served=self._served(whole))
        self._proved = self._proved or sample.proves_prompt(whole)
        for oddity in dict.fromkeys(whole.odd):
            self.note(self._redaction.veil.hide(oddity)[:ODDITY])
        whole.odd.clear()
        return kept

    def note(self, oddity: str) -> None:
        """Count an oddity of the server for the notes of the run."""
        if oddity not in self.oddities:
            logger.warning("%s sent an odd reply, which is used: %s", self.url, oddity)
        self.oddities[oddity] += 1

    async def _raw(self, ask: EndpointRequest, form: RequestFormat) -> Completion:
        place, said = await self._post(ask, form)
        with readable(place):
            completion = self._parse(place, said, ask, form)
            for choice in completion.choices:
                if self.tokenizer and choice.token_ids is not None:
                    bound.check_ids(ask.request, choice.token_ids)
                    self._redaction.refuse(self.tokenizer.decode(choice.token_ids))
        self._check_name(completion.model)
        return completion

    async def _post(self, ask: EndpointRequest, form: RequestFormat) -> tuple[str, bytes]:
        place = form.place(self.url)
        return place, await self._connection.post(
            place, self._body(ask, form), BodyLimit.of(ask.request, ask.n)
        )

    def _parse(
        self, place: str, said: bytes, ask: EndpointRequest, form: RequestFormat
    ) -> Completion:
        """Parse a reply, and remove the key from its names.

        Raises:
            BadReply: It is invalid, or has more choices than requested.
            KeyRepeated: The key is in the sampled text.
        """
        completion = form.parse(place, said, ask.request)
        if len(completion.choices) > ask.n:
            count = len(completion.choices)
            raise BadReply(f"{self.url} returned {count} choices for n={ask.n}")
        for choice in completion.choices:
            self._redaction.refuse(choice.written)
        return self._redaction.names(completion)

    async def _await_reply(self, answer: Awaitable[T]) -> T:
        """Await a reply; its errors do not show the key."""
        with self._redaction.errors():
            return await answer

    async def _read_along(
        self, request: Request, seed: int, on_text: OnText, on_cut: OnCut | None
    ) -> Generation:
        form = self.form.stream
        if form is None:
            (whole,) = await self._draw(request, 1, seed)
            on_text(whole.text)
            return whole
        shown = False

        def show(text: str) -> None:
            nonlocal shown
            shown = True
            on_text(text)

        return await self._gate.run(
            lambda: self._await_reply(self._stream(form, request, seed, show, on_cut)),
            self._size(request.prompt),
            repeatable=lambda: not shown,
        )

    async def _stream(
        self,
        form: StreamFormat,
        request: Request,
        seed: int,
        on_text: OnText,
        on_cut: OnCut | None,
    ) -> Generation:
        ask = self._wish(request, 1, seed)
        place, body = self.form.place(self.url), self._body(ask, self.form)
        body |= form.fields
        parts = StreamedParts(form, place, request.max_tokens)
        along = KeyFilter(on_text, self._redaction.veil)
        began = time.perf_counter()
        try:
            async with self._connection.stream(
                place, body, BodyLimit.of(ask.request, ask.n)
            ) as lines:
                async for line in lines:
                    if (text := parts.add(line)) and not along.add(text):
                        raise self._redaction.repeated()
            whole = self._redaction.names(parts.join())
            with readable(place):
                (one,) = self._generations(whole, request, time.perf_counter() - began)
            kept = self._accepted(whole, one)
            if not parts.text and not along.add(kept.text):  # it was not streamed after all
                raise self._redaction.repeated()
        except BaseException as failure:
            if on_cut is not None and (parts.text or isinstance(failure, CancelledError)):
                seconds = time.perf_counter() - began
                part = sample.partial(parts.so_far(), request, self.tokenizer, seconds)
                on_cut(self._redaction.part(part))
            raise
        along.finish()
        return kept

    def _served(self, completion: reply.Completion) -> str:
        """Return the server's own name of the model, if it differs from ours, and its version."""
        name = "" if completion.model in (None, self.model) else completion.model
        return " ".join(filter(None, (name, completion.system_fingerprint)))

    def _check_name(self, name: str | None) -> None:
        """Refuse the reply of another model: a server may use any name, but always the same.

        Raises:
            BadReply: The name has changed.
        """
        if name is None:
            return
        if self._called not in (None, name) and name != self.model:
            raise BadReply(
                f"{self.url} answered as model {name!r}, but earlier as {self._called!r}"
            )
        self._called = name

    def _size(self, prompt: Prompt) -> int:
        """Count a prompt's tokens for the pace; without a tokenizer, as four characters each."""
        if isinstance(prompt, tuple):
            return len(prompt)
        text = str(prompt.rendered or prompt.plain) if isinstance(prompt, OpenTurn) else prompt
        if self.tokenizer is None or self.limits.tokens_per_minute is None:
            return len(text) // 4
        return len(self.tokenizer.encode(text))

    def _wish(self, request: Request, n: int, seed: int) -> EndpointRequest:
        """Build the request; the server parses special tokens in text only if asked to."""
        return EndpointRequest(
            request=request,
            served=self.model,
            n=n,
            seed=seed,
            stop=self._stops(request.stop),
            show_special=bool(self.tokenizer and any(map(self.tokenizer.has_end, request.stop))),
            context=self.profile.max_model_len,
        )

    def _body(self, ask: EndpointRequest, form: RequestFormat) -> Body:
        """Say how to draw."""
        body, unwanted = form.body(ask) | self._extra, self._drop | self.profile.drop
        return {name: value for name, value in body.items() if name not in unwanted}

    def _stops(self, stop: tuple[str, ...]) -> tuple[str, ...]:
        """Select as many stop strings as the server accepts: the first ones and the close tag.

        Without one of them a text runs too long, which costs tokens; it is cut after it arrives.
        """
        most = self.profile.max_stops
        if most is None or len(stop) <= most:
            return stop
        return (*stop[: most - 1], stop[-1]) if most else ()


async def _aside(body: bytes, parse: Callable[[], T]) -> T:
    """Read a body; a large one off the loop, which hears of Ctrl-C meanwhile."""
    return parse() if len(body) < LARGE else await asyncio.to_thread(parse)
