"""The profile of an endpoint: what it can do for one model, and how that is known.

The doctor writes it, and later runs read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from collab.core.sampling import Sampling
from collab.errors import ConfigError

DialectName = Literal[
    "ids",
    "text",
    "sglang",
    "llamacpp",
    "ollama",
    "chat_cfm",
    "chat_cfm_after_gen",
    "reasoning_field",
    "deepseek_prefix",
    "mistral_prefix",
    "partial",
    "none",
]
"""How a partial thought is continued."""
ProbeVerdict = Literal["ok", "limited", "broken", "untried"]
"""`limited`: a run adapts to it; `broken`: a thought would not be continued exactly."""
Field = Literal["content", "reasoning"]
Checked = Literal["real", "engine", "documented"]
"""How something is known: seen on this server, seen on this engine, or read in documents."""


class Finding(BaseModel):
    """The result of one probe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probe: str
    verdict: ProbeVerdict
    tried: str
    came: str
    """The observation, and its meaning."""


class Profile(BaseModel):
    """The known abilities of an endpoint that serves one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: DialectName = "ids"
    """How a thought is continued here."""
    returns_ids: bool = True
    """Replies carry the ids that were read and written."""
    takes_n: bool = True
    """One request may ask for several draws, each with the same seed as in a request of its own."""
    takes_seed: bool = True
    """A seed decides the draw."""
    takes_temperature: bool = True
    """Sampling is as the request says; without it, as the server likes."""
    max_stops: int | None = None
    """Stop strings that a request may have: None where there is no bound, 0 where none is of
    use."""
    logprobs: bool = True
    """The likeliest tokens can be asked for."""
    scores: bool = True
    """A prompt's own log-probabilities can be asked for."""
    can_write_thinking: bool | None = None
    """The endpoint continues a thought; without it, it advises and answers. None: as its dialect
    is documented."""
    thought_in: Field | None = None
    """The field that a continued thought comes back in; None: as documented."""
    echoes: bool | None = None
    """Whether a reply repeats the text that it continues; None: as documented."""
    thinking_returned: Literal["raw", "summary", "none"] = "raw"
    """How much of the billed thinking is returned."""
    drop: frozenset[str] = frozenset()
    """Request fields that the server refuses; they are left out."""
    max_model_len: int | None = None
    """Prompt and reply together (tokens), where the server says so."""
    checked: Checked = "documented"
    findings: tuple[Finding, ...] = ()
    """A doctor's, where one has looked."""

    def joint(self, sampling: Sampling) -> bool:
        """Tell whether one request may ask for several draws; greedy ones need one each."""
        return self.takes_n and sampling.temperature > 0

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The reasons why a run must not trust it."""
        return tuple(finding for finding in self.findings if finding.verdict == "broken")

    @property
    def seats(self) -> tuple[str, ...]:
        """The seats it may take."""
        writes = self.can_write_thinking and not self.broken
        return ("writer", "answerer", "adviser") if writes else ("answerer", "adviser")

    @classmethod
    def load(cls, path: Path) -> Profile | None:
        """Load the profile that a doctor wrote; None without one.

        Raises:
            ConfigError: The file is not a profile.
        """
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError:
            raise ConfigError(
                f"{str(path)!r} is not a profile of this version; delete it and run collab doctor"
            ) from None

    def save(self, path: Path) -> None:
        """Write it down for the runs to come."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
