"""What every probe has at hand: begun thoughts, draws from them, and proof of what was read."""

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
"""Easy, so that the answer comes soon, whatever the model."""
GREEDY = Sampling(temperature=0, top_p=1)
FREE = Sampling(temperature=1, top_p=1)
SOME = 24
"""Tokens that show how a text goes on."""
LONGEST = 400
"""Tokens for a thought that the model begins and ends itself."""


@dataclass(frozen=True)
class Observation:
    """What a probe has shown."""

    verdict: ProbeVerdict
    came: str
    """What came back, and what it means."""
    learned: Mapping[str, object] = field(default_factory=dict)
    """Fields of the profile."""


@dataclass(frozen=True)
class Probe:
    """Draws from begun thoughts at one endpoint."""

    endpoint: Endpoint
    dialect: Dialect
    tokenizer: Tokenizer | None
    tags: tuple[str, str]
    """What opens and closes a think block."""
    drawn: dict[tuple[Request, int, int], Completion] = field(default_factory=dict)
    """What several probes look at, by request, number and seed."""

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
        """Ask for what comes after a thought, or after a closed one and the answer so far."""
        log = [Wrote(Unit("doctor", thought, "inserted"))] if thought else []
        log += [Wrote(Unit("doctor", said, "inserted", phase="answer"))] if said else []
        phase: Phase = "thinking" if said is None else "answer"
        laid = self.dialect.prompt(question, Trajectory.replay(log), phase, "doctor")
        return Request(self.endpoint.model, laid.prompt, sampling, tokens, stop, logprobs)

    async def draw(self, request: Request, *, n: int = 1, seed: int = 0) -> Completion:
        """Draw, as it comes."""
        return await self.endpoint.raw(request, form=self.dialect.form, n=n, seed=seed)

    async def once(self, request: Request, *, n: int = 1, seed: int = 0) -> Completion:
        """Draw, or return what another probe has drawn so."""
        key = (request, n, seed)
        if key not in self.drawn:
            self.drawn[key] = await self.draw(request, n=n, seed=seed)
        return self.drawn[key]

    async def text(self, request: Request, *, seed: int = 0) -> str:
        """Draw one text."""
        return self.written((await self.draw(request, seed=seed)).choices[0])

    async def texts(self, request: Request, *, n: int = 1, seed: int = 0) -> list[str]:
        """Return the texts of some choices, in order, drawn now or by another probe."""
        reply = await self.once(request, n=n, seed=seed)
        return [self.written(choice) for choice in sorted(reply.choices, key=lambda c: c.index)]

    def written(self, choice: Choice) -> str:
        """Return a choice's text: the decoding of its ids, where they are told."""
        if choice.token_ids is None or self.tokenizer is None:
            return choice.text
        return self.tokenizer.decode(self.tokenizer.without_end(choice.token_ids))

    def knows(self, request: Request) -> bool:
        """Say whether the prompt's tokens are known on this side."""
        prompt = request.prompt
        if isinstance(prompt, tuple):
            return True
        text = prompt.rendered if isinstance(prompt, OpenTurn) else prompt
        return self.tokenizer is not None and text is not None

    def proof(self, request: Request, reply: Completion) -> str | None:
        """Say how it is known that the prompt was read as it was sent, None where it is not.

        Raises:
            PromptChanged: It was read otherwise.
        """
        if not self.knows(request):
            return None
        ids = read_ids(reply)
        sample.check_prompt(request, ids, reply.usage, self.tokenizer)
        return "by its count of tokens" if ids is None else "token by token"

    def count(self, text: str) -> int:
        """Count tokens; without a tokenizer, four characters are one."""
        return len(self.tokenizer.encode(text)) if self.tokenizer else (len(text) + 3) // 4

    async def size(self, text: str) -> int:
        """Count tokens; where nobody can here, the server does, as the begin of a question."""
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
    """Return the ids that the server says it read."""
    told = [reply.prompt_token_ids, *(choice.prompt_token_ids for choice in reply.choices)]
    return next((ids for ids in told if ids is not None), None)


def prompt_tokens(reply: Completion) -> int | None:
    """Return how many tokens the server says it read."""
    ids = read_ids(reply)
    if ids is not None:
        return len(ids)
    return reply.usage.prompt_tokens if reply.usage else None


def quoted(text: str) -> str:
    """Show the begin of a text in one line."""
    line = " ".join(text.split())
    return f"“{line[:40]}…”" if len(line) > 40 else f"“{line}”"
