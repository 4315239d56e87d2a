"""Probe what an endpoint can do, and write its profile for later runs.

Each probe costs a few tokens and gives one verdict. Probes test how the server treats a thought
that it did not write itself; they do not rely on what it reports about itself. `examine` raises no
error for a failed probe, only if the server gives no usable reply at all.
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
"""Maximum length of an error message in a finding (characters)."""
Look = Callable[[Probe], Awaitable[Observation]]
OnFinding = Callable[[Finding], None]
TAKING: tuple[tuple[str, str, Look], ...] = (
    ("fields", "every field of a request", taking.fields),
    ("stops", f"{len(taking.STOPS)} stop strings", taking.stops),
)
"""Probes of the request fields that the server accepts."""
READING: tuple[tuple[str, str, Look], ...] = (
    ("growth", "thoughts of 10 and 200 words", reading.growth),
    ("start", "a prompt with known tokens", reading.start),
    ("carry-over", "a thought cut before a word it repeats", reading.carry_over),
    ("closing", "a closed thought", reading.closing),
    ("tags", "the tokens between question and thought", reading.tags),
)
"""Probes of partial thoughts. If one fails, the server does not continue a prefix correctly."""
ANSWERING = tuple(each for each in READING if each[0] == "closing")
"""The reading probes for an endpoint that cannot continue a thought."""
DRAWING: tuple[tuple[str, str, Look], ...] = (
    ("stop", "a stop string that the text contains", drawing.stop),
    ("temperature", "greedy draws", drawing.temperature),
    ("choices", "n=2", drawing.choices),
    ("seed", "one seed repeated, as a choice, in a batch", drawing.seeds),
    ("logprobs", "the five likeliest tokens", drawing.likeliest),
    ("usage", "the token counts", drawing.usage),
    ("thinking", "thinking billed and returned", drawing.billed),
    ("tokens", "the token ends in a text", drawing.tokens),
)
"""Probes of draws. A run works around what they find."""


@dataclass
class Doctor:
    """Examines one endpoint.

    Args:
        endpoint: The endpoint; its `profile` is updated.
        tokenizer: The model's tokenizer, if available.
        dialect: Makes the dialect for a profile.
        tags: The tags that open and close a think block.
        tell: Called with each finding as soon as its probe is done.
    """

    endpoint: Endpoint
    tokenizer: Tokenizer | None
    dialect: Callable[[Profile], Dialect]
    tags: tuple[str, str]
    tell: OnFinding = lambda finding: None
    _drawn: dict[tuple[Request, int, int], Completion] = field(default_factory=dict, init=False)

    async def examine(self) -> Profile:
        """Run all probes and return the profile.

        Raises:
            ConfigError: The server does not serve the model.
            Denied: The key or the model's name is wrong.
            Unreachable: The server does not answer.
        """
        known = self.endpoint.profile
        self._learn(Profile(dialect=known.dialect, max_model_len=known.max_model_len))
        await self._look("model", "the list of models", taking.model, None)
        for name, tried, look in TAKING:
            await self._look(name, tried, look, "broken")
        await self._look("reply", "the field of a continued thought", self._reply, "broken")
        if not await self._readable():
            return self._done()
        await self._look("ids", "token ids in the reply", taking.ids, "broken")
        for name, tried, look in READING if self._probe.dialect.continues else ANSWERING:
            await self._look(name, tried, look, "broken")
        for name, tried, look in DRAWING:
            await self._look(name, tried, look, "limited")
        return self._done()

    async def _readable(self) -> bool:
        """Return whether the dialect can read the reply to a partial thought."""
        try:
            await self._probe.draw(self._probe.request(reading.BEGIN, tokens=1))
        except (BadReply, ConfigError, Rejected) as error:
            return isinstance(error, ConfigError)  # this dialect continues no thought
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
        """Run one probe and record its finding.

        An endpoint error becomes a finding, unless all other probes would fail in the same way.
        """
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
        """Shorten an error message to fit a table cell."""
        message = str(error).removeprefix(self.endpoint.url)
        return message if len(message) <= CELL else message[:CELL] + "…"

    async def _reply(self, probe: Probe) -> Observation:
        """Find the reply field of a continued thought, and whether it repeats the prefix."""
        documented = probe.dialect
        if not isinstance(documented, ChatDialect):
            seen = await reading.carry_over(probe)
            return replace(seen, came="returned in the text") if seen.verdict == "ok" else seen
        if isinstance(documented, NoPrefix):
            came = "this dialect sends no prefix: the seat can advise and answer"
            return Observation("ok", came, {"can_write_thinking": False})
        profile, first = self.endpoint.profile, ""
        for learned in _readings(documented):
            self._learn(profile.model_copy(update=learned))
            try:
                seen = await reading.carry_over(self._probe)
            except (BadReply, Rejected) as error:
                seen = Observation("broken", self._short(error))
            if seen.verdict != "broken":
                return _observed_field(documented, learned, seen)
            first = first or seen.came
        self._learn(profile)
        if documented.continues:
            return Observation("broken", first)
        came = f"continues answers, but not thoughts: {first}"
        return Observation("limited", came, {"can_write_thinking": False})


def _readings(dialect: ChatDialect) -> Iterator[dict[str, object]]:
    """Yield the possible settings for reading a reply, the documented ones first."""
    other = {"content": "reasoning", "reasoning": "content"}[dialect.thought_in]
    for thought_in in (dialect.thought_in, other):
        for echoes in (dialect.echoes, not dialect.echoes):
            yield {"can_write_thinking": True, "thought_in": thought_in, "echoes": echoes}


def _observed_field(
    documented: ChatDialect, learned: dict[str, object], seen: Observation
) -> Observation:
    """Describe the field a continued thought came back in, compared with the documentation."""
    came = f"returned in the field {learned['thought_in']}"
    came += ", after the prefix" if learned["echoes"] else ""
    same = (documented.thought_in, documented.echoes) == (learned["thought_in"], learned["echoes"])
    if seen.verdict == "limited":
        return replace(seen, learned=learned)
    if same and documented.continues:
        return Observation("ok", came, learned)
    if same:
        return Observation("ok", f"{came}, although only answers are documented", learned)
    return Observation("limited", f"{came}, unlike its documentation: read from there", learned)
