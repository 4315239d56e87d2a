"""The tools of a probe: send partial thoughts, draw from them, and check what the server read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from collab.core.sampling import OpenTurn, Request, Sampling
from collab.core.trajectory import Message, Phase, Trajectory, Unit, Wrote
from collab.endpoints import sample
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect
from collab.endpoints.profile import ProbeVerdict
from collab.endpoints.reply import Choice, Completion
from collab.endpoints.tokens import Tokenizer

QUESTION = (Message("user", "Mia has 3 pens. She buys 4. How many pens does she have now?"),)
"""An easy question, so that any model answers soon."""
GREEDY = Sampling(temperature=0, top_p=1)
FREE = Sampling(temperature=1, top_p=1)
SOME = 24
"""Tokens to draw in order to see how a text continues."""
LONGEST = 400
"""Tokens to draw for a whole thought and its answer."""


@dataclass(frozen=True)
class Observation:
    """The outcome of a probe."""

    verdict: ProbeVerdict
    came: str
    """The server's behaviour and its consequence, for the doctor's table."""
    learned: Mapping[str, object] = field(default_factory=dict)
    """Profile fields to update."""


@dataclass(frozen=True)
class Probe:
    """Draws from partial thoughts at one endpoint."""

    endpoint: Endpoint
    dialect: Dialect
    tokenizer: Tokenizer | None
    tags: tuple[str, str]
    """The tags that open and close a think block."""
    drawn: dict[tuple[Request, int, int], Completion] = field(default_factory=dict)
    """Replies that several probes share, by request, number of draws and seed."""

    def request(
        self,
        thought: str = "",
        *,
        said: str | None = None,
        tokens: int = SOME,
        sampling: Sampling = GREEDY,
        stop: tuple[str, ...] = (),
        logprobs: int | None = None,
        question: tuple[Message, ...] = QUESTION,
    ) -> Request:
        """Make a request to continue a thought or, if `said` is given, an answer."""
        log = [Wrote(Unit("doctor", thought, "inserted"))] if thought else []
        log += [Wrote(Unit("doctor", said, "inserted", phase="answer"))] if said else []
        phase: Phase = "thinking" if said is None else "answer"
        laid = self.dialect.prompt(question, Trajectory.replay(log), phase, "doctor")
        return Request(self.endpoint.model, laid.prompt, sampling, tokens, stop, logprobs)

    async def draw(self, request: Request, *, n: int = 1, seed: int = 0) -> Completion:
        """Draw, and return the reply without checks of the prompt."""
        return await self.endpoint.raw(request, form=self.dialect.form, n=n, seed=seed)

    async def once(self, request: Request, *, n: int = 1, seed: int = 0) -> Completion:
        """Draw, or return the reply of an earlier probe to the same request."""
        key = (request, n, seed)
        if key not in self.drawn:
            self.drawn[key] = await self.draw(request, n=n, seed=seed)
        return self.drawn[key]

    async def text(self, request: Request, *, seed: int = 0) -> str:
        """Draw one text."""
        return self.written((await self.draw(request, seed=seed)).choices[0])

    async def texts(self, request: Request, *, n: int = 1, seed: int = 0) -> list[str]:
        """Return the texts of `n` choices in order, reusing the draws of an earlier probe."""
        reply = await self.once(request, n=n, seed=seed)
        return [self.written(choice) for choice in reply.ordered]

    def written(self, choice: Choice) -> str:
        """Return a choice's text, decoded from its token ids if it has any."""
        if choice.token_ids is None or self.tokenizer is None:
            return choice.written
        return self.tokenizer.decode(self.tokenizer.without_end(choice.token_ids))

    def knows(self, request: Request) -> bool:
        """Return whether the token ids of the prompt are known."""
        prompt = request.prompt
        if isinstance(prompt, tuple):
            return True
        text = prompt.rendered if isinstance(prompt, OpenTurn) else prompt
        return self.tokenizer is not None and text is not None

    def proof(self, request: Request, reply: Completion) -> str | None:
        """Return how the server proved that it read the prompt unchanged, or None if it did not.

        Raises:
            PromptChanged: The server read another prompt.
        """
        if not self.knows(request):
            return None
        ids = read_ids(reply)
        sample.check_prompt(request, ids, reply.usage, self.tokenizer)
        return "by token count" if ids is None else "token by token"

    def count(self, text: str) -> int:
        """Count the tokens of a text; without a tokenizer, assume four characters per token."""
        return len(self.tokenizer.encode(text)) if self.tokenizer else (len(text) + 3) // 4

    async def size(self, text: str) -> int:
        """Count the tokens of a text; without a tokenizer, let the server count a question."""
        if self.tokenizer is not None or not text:
            return self.count(text)
        asked = [Message("user", words) for words in ("So", f"{text}So")]
        requests = [self.request(question=(message,), tokens=1) for message in asked]
        without, with_it = [prompt_tokens(await self.once(request)) for request in requests]
        return self.count(text) if without is None or with_it is None else with_it - without

    def within(self, dialect: Dialect) -> Probe:
        """Return the same probe in another dialect."""
        return replace(self, dialect=dialect)


def read_ids(reply: Completion) -> tuple[int, ...] | None:
    """Return the prompt's token ids as the server reports them."""
    reported = [reply.prompt_token_ids, *(choice.prompt_token_ids for choice in reply.choices)]
    return next((ids for ids in reported if ids is not None), None)


def prompt_tokens(reply: Completion) -> int | None:
    """Return the number of prompt tokens that the server reports."""
    ids = read_ids(reply)
    if ids is not None:
        return len(ids)
    return reply.usage.prompt_tokens if reply.usage else None


def quoted(text: str) -> str:
    """Quote the start of a text on one line."""
    line = " ".join(text.split())
    return f"“{line[:40]}…”" if len(line) > 40 else f"“{line}”"
