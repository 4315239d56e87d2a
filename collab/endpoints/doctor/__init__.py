"""A doctor for endpoints: a few tokens a probe, a verdict each, and a profile for the runs to come.

What a server says about itself counts little; what it does with a thought that is not its own is
tried. `examine` never raises for what it finds, only where no reply is to be had at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace

from collab.core.sampling import Request
from collab.endpoints.chat import ChatDialect
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect
from collab.endpoints.doctor import drawing, reading, taking
from collab.endpoints.doctor.probe import Observation, Probe
from collab.endpoints.profile import Finding, ProbeVerdict, Profile
from collab.endpoints.reply import Completion
from collab.endpoints.tokens import Tokenizer
from collab.endpoints.vendors import NoPrefix
from collab.errors import BadReply, ConfigError, Denied, EndpointError, Rejected

CELL = 160
"""How much of an error a finding holds (characters)."""
Look = Callable[[Probe], Awaitable[Observation]]
OnFinding = Callable[[Finding], None]
TAKING: tuple[tuple[str, str, Look], ...] = (
    ("fields", "every field of a request", taking.fields),
    ("stops", f"{len(taking.STOPS)} stop strings", taking.stops),
)
"""Probes of what is taken at all."""
READING: tuple[tuple[str, str, Look], ...] = (
    ("growth", "thoughts of 10 and of 200 words", reading.growth),
    ("start", "a prompt whose tokens are known here", reading.start),
    ("carry-over", "a thought that ends before a word it holds", reading.carry_over),
    ("closing", "a closed thought", reading.closing),
    ("tags", "what stands between question and thought", reading.tags),
)
"""Probes of begun thoughts: a failure breaks the prefix."""
ANSWERING = tuple(each for each in READING if each[0] == "closing")
"""Those of them that an endpoint must pass which continues no thought."""
DRAWING: tuple[tuple[str, str, Look], ...] = (
    ("stop", "a stop string that is known to come", drawing.stop),
    ("temperature", "greedy draws", drawing.temperature),
    ("choices", "n=2", drawing.choices),
    ("seed", "one seed again, as a choice, in a crowd", drawing.seeds),
    ("logprobs", "the five likeliest tokens", drawing.likeliest),
    ("usage", "the tokens counted", drawing.usage),
    ("thinking", "the thinking billed and returned", drawing.billed),
    ("tokens", "where the tokens of a text end", drawing.tokens),
)
"""Probes of draws: a run can live with what they find, and does."""


@dataclass
class Doctor:
    """Examines one endpoint.

    Args:
        endpoint: What is examined; it keeps the profile.
        tokenizer: The model's, where there is one.
        dialect: Makes the dialect of a profile.
        tags: What opens and closes a think block.
        tell: Hears each finding as it comes.
    """

    endpoint: Endpoint
    tokenizer: Tokenizer | None
    dialect: Callable[[Profile], Dialect]
    tags: tuple[str, str]
    tell: OnFinding = lambda finding: None
    _drawn: dict[tuple[Request, int, int], Completion] = field(default_factory=dict, init=False)

    async def examine(self) -> Profile:
        """Try it all and return the profile.

        Raises:
            ConfigError: The model is not served here.
            Denied: The key is wrong, or the model's name.
            Unreachable: There is no server.
        """
        known = self.endpoint.profile
        self._learn(Profile(dialect=known.dialect, max_model_len=known.max_model_len))
        await self._look("model", "the list of models", taking.model, None)
        for name, tried, look in TAKING:
            await self._look(name, tried, look, "broken")
        await self._look("reply", "where a begun thought goes on", self._reply, "broken")
        if not await self._readable():
            return self._done()
        await self._look("ids", "token ids in the reply", taking.ids, "broken")
        for name, tried, look in READING if self._probe.dialect.continues else ANSWERING:
            await self._look(name, tried, look, "broken")
        for name, tried, look in DRAWING:
            await self._look(name, tried, look, "limited")
        return self._done()

    async def _readable(self) -> bool:
        """Say whether a begun thought gets any reply that the dialect can read."""
        try:
            await self._probe.draw(self._probe.request(reading.BEGIN, tokens=1))
        except (BadReply, ConfigError, Rejected) as error:
            return isinstance(error, ConfigError)  # it continues nothing, and need not
        return True

    def _done(self) -> Profile:
        found = {"checked": "real", "can_write_thinking": self._probe.dialect.continues}
        self._learn(self.endpoint.profile.model_copy(update=found))
        return self.endpoint.profile

    def _learn(self, profile: Profile) -> None:
        self.endpoint.profile = profile
        dialect = self.dialect(profile)
        self._probe = Probe(self.endpoint, dialect, self.tokenizer, self.tags, self._drawn)

    async def _look(self, name: str, tried: str, look: Look, at_worst: ProbeVerdict | None) -> None:
        """Try one thing; an error is a finding, unless there would be none but errors."""
        try:
            seen = await look(self._probe)
        except EndpointError as error:
            if at_worst is None or isinstance(error, Denied):
                raise
            seen = Observation(at_worst, self._short(error))
        finding = Finding(probe=name, verdict=seen.verdict, tried=tried, came=seen.came)
        profile = self.endpoint.profile
        self._learn(
            profile.model_copy(update={**seen.learned, "findings": (*profile.findings, finding)})
        )
        self.tell(finding)

    def _short(self, error: EndpointError) -> str:
        """Cut an error down to what a table's cell holds."""
        said = str(error).removeprefix(self.endpoint.url)
        return said if len(said) <= CELL else said[:CELL] + "…"

    async def _reply(self, probe: Probe) -> Observation:
        """Find out where a continued thought comes back, and whether it repeats what was sent."""
        documented = probe.dialect
        if not isinstance(documented, ChatDialect):
            seen = await reading.carry_over(probe)
            return replace(seen, came="in the text") if seen.verdict == "ok" else seen
        if isinstance(documented, NoPrefix):
            came = "no turn is begun here: it advises and answers"
            return Observation("ok", came, {"can_write_thinking": False})
        profile, first = self.endpoint.profile, ""
        for learned in _readings(documented):
            self._learn(profile.model_copy(update=learned))
            try:
                seen = await reading.carry_over(self._probe)
            except (BadReply, Rejected) as error:
                seen = Observation("broken", self._short(error))
            if seen.verdict != "broken":
                return _read(documented, learned, seen)
            first = first or seen.came
        self._learn(profile)
        if documented.continues:
            return Observation("broken", first)
        came = f"thoughts are not continued, answers are: {first}"
        return Observation("limited", came, {"can_write_thinking": False})


def _readings(dialect: ChatDialect) -> Iterator[dict[str, object]]:
    """Yield the ways in which a reply may be read, the documented one first."""
    other = {"content": "reasoning", "reasoning": "content"}[dialect.thought_in]
    for thought_in in (dialect.thought_in, other):
        for echoes in (dialect.echoes, not dialect.echoes):
            yield {"can_write_thinking": True, "thought_in": thought_in, "echoes": echoes}


def _read(documented: ChatDialect, learned: dict[str, object], seen: Observation) -> Observation:
    came = f"in the {learned['thought_in']}"
    came += ", behind what was sent" if learned["echoes"] else ""
    same = (documented.thought_in, documented.echoes) == (learned["thought_in"], learned["echoes"])
    if seen.verdict == "limited":
        return replace(seen, learned=learned)
    if same and documented.continues:
        return Observation("ok", came, learned)
    if same:
        return Observation("ok", f"{came}, though only answers are documented", learned)
    return Observation("limited", f"{came}, which is not as documented: it is read there", learned)
