"""Validate a composed config, and instantiate the classes that its `_target_` keys name.

Only this package, `collab.app` and the command line import Hydra. The results are pydantic values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from collab.core.boundary import Boundary
from collab.core.cost import Caps, Prices
from collab.core.nearest import nearest
from collab.core.policy import Policy, seats_of
from collab.core.sampling import Sampling
from collab.core.secret import SECRET, hide
from collab.core.settings import Settings
from collab.endpoints.limits import Limits
from collab.endpoints.placement import InThink, Placement
from collab.endpoints.profile import Checked, DialectName
from collab.endpoints.spec import Spec
from collab.errors import ConfigError
from collab.grading.code import CodeSettings
from collab.grading.judge import JudgeSettings
from collab.grading.maths import MathsSettings
from collab.questions import PromptFormat, QuestionSet
from collab.report.hooks import RunHooks
from collab.runs.traces import TraceSelection
from collab.sandbox import ProgramLimits
from collab.sandbox.named import SandboxName
from collab.scenarios.base import Scenario, with_factors

Target = dict[str, Any]  # any: the settings of a class, which are checked when it is instantiated
ADDRESS = frozenset({"base_url", "uds", "api_key_env", "launch", "limits", "replicas", "served"})
"""Settings that say where a model is served, not which model it is."""
INFORMATIVE = frozenset({"about", "checked"})
"""Settings that describe a model and decide nothing."""
BANK = frozenset({"bank"})
"""Settings that the manifest records separately, with the hash of the traces."""
UNDECIDING = ADDRESS | INFORMATIVE | BANK
"""Settings of a seat that do not decide the numbers."""
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class About(Settings):
    """The origin of a model, for tables and their readers."""

    paper: str | None = None
    """The model's name in the paper's tables."""
    family: str | None = None
    template: str | None = None
    """The family of its chat template."""
    base: str | None = None
    """The model that it was trained from."""
    distilled_from: tuple[str, ...] = ()
    rl: bool | None = None
    """Whether it was trained by reinforcement learning."""
    size: float | None = Field(default=None, gt=0)
    """Parameters (billions), including the inactive ones of a mixture of experts."""
    context: int | None = Field(default=None, ge=2)
    """The context by its model card (tokens)."""
    download: float | None = Field(default=None, gt=0)
    """The size of the file that `checkpoint` names on the hub (GB)."""
    licence: str | None = None

    @field_validator("distilled_from", mode="before")
    @classmethod
    def _one(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given


class ModelConfig(Sampling):
    """A model in a seat: its weights, its address and its sampling."""

    kind: Literal["model"] = "model"
    id: str
    revision: str | None = None
    served: str | None = None
    checkpoint: str | None = None
    base_url: str | None = None
    replicas: tuple[str, ...] = ()
    """Further addresses of the same model, with the same key; `limits` apply to each."""
    uds: str | None = None
    api_key_env: str | None = None
    launch: Spec | None = None
    dtype: str | None = None
    quantization: str | None = None
    template: dict[str, Any] = Field(default_factory=dict)  # any: JSON, read by the template alone
    dialect: DialectName = "ids"
    think_open: str = "<think>\n"
    think_close: str = "</think>"
    """Empty for a model without tags: its thinking ends with its turn, which holds the answer."""
    force_answer: str | None = None
    """The text that `Close` writes where the thinking is still open; None: the close tag."""
    double_bos: bool = False
    """Whether prompts begin with one more begin-of-sequence token than the template writes."""
    context: int | None = Field(default=None, ge=2)
    limits: Limits = Limits()
    prices: Prices = Prices()
    parameters: float | None = Field(default=None, gt=0)
    drop: tuple[str, ...] = ()
    """Request fields that the server does not accept; they are left out."""
    extra: dict[str, Any] = Field(default_factory=dict)  # any: JSON, sent unchanged
    """Further request fields for the server."""
    bank: TraceSelection | None = None
    """Recorded traces in place of solo draws (`collab import`)."""
    about: About = About()
    checked: Checked = "documented"
    """How these settings were checked."""

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, given: str | None) -> str | None:
        """Refuse a value that is no variable name: it may be the key itself."""
        if given is not None and not VARIABLE.fullmatch(given):
            raise ValueError(
                "it must be the NAME of an environment variable, in capitals, such as "
                "OPENAI_API_KEY; put the key into that variable, never into a conf file or a "
                "command line"
            )
        return given

    @field_validator("launch", mode="before")
    @classmethod
    def _kind(cls, launch: object) -> object:
        """Read `launch: vllm` as a server of that kind with the default settings."""
        return {"kind": launch} if isinstance(launch, str) else launch

    @model_validator(mode="after")
    def _first_address(self) -> Self:
        if self.replicas and self.base_url is None:
            raise ValueError("replicas are further addresses: set base_url to the first one")
        return self

    @model_validator(mode="after")
    def _bos_in_raw_prompts(self) -> Self:
        if self.double_bos and self.dialect not in ("ids", "text"):
            raise ValueError(
                f"double_bos=true with dialect {self.dialect!r}, in which the server writes the "
                "prompt; it needs dialect ids or text"
            )
        return self

    @property
    def sampling(self) -> Sampling:
        """The sampling parameters."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})


class RecordingConfig(BaseModel):
    """A seat that writes a recording."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["recording"]
    bank: TraceSelection | None = None
    """Recorded traces in place of solo draws (`collab import`)."""


class HumanConfig(BaseModel):
    """A seat for a human at the terminal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["human"]


class ToolConfig(BaseModel):
    """A seat for an interpreter that runs programs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tool"]
    sandbox: SandboxName = "bubblewrap"
    packages: tuple[str, ...] = ()
    limits: ProgramLimits = ProgramLimits()


SeatConfig = Annotated[
    Annotated[ModelConfig, Tag("model")]
    | Annotated[RecordingConfig, Tag("recording")]
    | Annotated[HumanConfig, Tag("human")]
    | Annotated[ToolConfig, Tag("tool")],
    Discriminator("kind"),
]


class GraderConfig(Settings):
    """The settings of the graders."""

    maths: MathsSettings = MathsSettings()
    code: CodeSettings = CodeSettings()
    judge: JudgeSettings | None = None

    def decides(self) -> dict[str, Any]:  # any: JSON
        """Return the settings that decide the verdicts, which the numbers of workers do not."""
        speed = {"maths": {"workers", "wall"}, "code": {"workers"}}
        return self.model_dump(mode="json", exclude=speed)


class StoreConfig(Settings):
    """The store of generations."""

    url: str
    """A file of SQLite, or the URL of a PostgreSQL database."""


class RunConfig(Settings):
    """The config of one run."""

    name: str = Field(min_length=1, pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$")
    """The folder under `runs`; an experiment sets its name."""
    runs: Path
    """The folder of the run folders, relative to the working directory."""
    scenario: Target
    """Makes the cases of the run, and turns episodes into scores."""
    policy: Target
    """Decides who writes next."""
    boundary: Target
    """Where a unit ends, if the policy does not say."""
    questions: Target
    """The question set."""
    prompt: PromptFormat
    """How a question becomes messages."""
    placement: Placement = InThink()
    """Where a reader's prompt holds the text of other authors."""
    grader: GraderConfig
    """How answers are judged."""
    store: StoreConfig
    """Where generations are kept."""
    team: Annotated[dict[str, SeatConfig], Field(min_length=1)]
    """The model, recording or human of each seat."""
    budget: int = Field(ge=1)
    """Tokens of opening and completion together, per episode."""
    replicate: int = Field(default=0, ge=0)
    """A different number repeats everything with different seeds."""
    concurrency: int = Field(default=64, ge=1)
    """Episodes in progress at once."""
    caps: Caps = Caps()
    """Limits at which the run ends cleanly; with a higher cap it continues."""
    hooks: dict[str, Target] = Field(default_factory=dict)
    """Code that follows the run, such as a tracker, by name; no part of the run's record."""
    strict_prefill: bool = True
    """Stop if an endpoint alters the text it is to continue, or was not checked."""
    estimate: float | None = Field(default=None, gt=0)
    """Seconds of sampling before a run to estimate how long it takes; None: no estimate."""

    @property
    def banks(self) -> dict[str, TraceSelection]:
        """The recorded traces that replace solo draws, by seat."""
        return {
            seat: config.bank
            for seat, config in self.team.items()
            if isinstance(config, ModelConfig | RecordingConfig) and config.bank is not None
        }

    @property
    def models(self) -> dict[str, ModelConfig]:
        """The models by seat."""
        return {seat: one for seat, one in self.team.items() if isinstance(one, ModelConfig)}

    def for_manifest(self) -> dict[str, Any]:  # any: JSON
        """Return the config for a manifest, without secrets and hooks: a record starts no hook."""
        hidden = hide(self.model_dump(mode="json", exclude={"hooks"}))
        assert isinstance(hidden, dict)
        return hidden

    def decides(self) -> dict[str, Any]:  # any: JSON
        """Return the settings that decide the numbers: no addresses, paths, speed or secrets."""
        plain = self.model_dump(
            mode="json",
            exclude={"name", "runs", "store", "concurrency", "caps", "grader", "estimate", "hooks"},
        )
        plain["grader"] = self.grader.decides()
        plain["team"] = {
            seat: {
                key: value for key, value in one.items() if key not in ADDRESS | INFORMATIVE | BANK
            }
            for seat, one in plain["team"].items()
        }
        if plain["questions"].get("unreadable") == "stop":
            del plain["questions"]["unreadable"]  # decides nothing about a run that is played
        hidden = hide(plain)
        assert isinstance(hidden, dict)
        return hidden


class Built(BaseModel):
    """A config with its targets instantiated and checked against their protocols and each other."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    config: RunConfig
    scenario: Any  # any: Scenario, a protocol with a class variable
    policy: Any  # any: Policy, likewise
    until: Boundary
    questions: Any  # any: QuestionSet, likewise
    hooks: dict[str, Any] = Field(default_factory=dict)  # any: RunHooks, likewise


def read_config(composed: DictConfig) -> RunConfig:
    """Validate a config that Hydra composed.

    Raises:
        ConfigError: A setting is missing, unknown or wrong; the message names it.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(where + _in_one_line(error)) from None
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    plain.pop("experiment", None)
    try:
        return RunConfig.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(explain(error, plain)) from None


def build(
    config: RunConfig, policy: Policy | None = None, questions: QuestionSet | None = None
) -> Built:
    """Instantiate the targets of a config, and check that they fit the team.

    Args:
        config: The config.
        policy: A policy value that replaces the config's.
        questions: A question set that replaces the config's.

    Raises:
        ConfigError: A target has the wrong protocol, a setting is wrong, or a seat is not in the
            team.
    """
    built = Built(
        config=config,
        scenario=make(config.scenario, Scenario, "scenario"),
        policy=policy or make(config.policy, Policy, "policy"),
        until=make(config.boundary, Boundary, "boundary"),
        questions=questions or make(config.questions, QuestionSet, "questions"),
        hooks={name: make(hook, RunHooks, f"hooks.{name}") for name, hook in config.hooks.items()},
    )
    _check_seats(built)
    return built


def make(target: Target, protocol: type, where: str) -> Any:  # any: of the protocol
    """Instantiate one target after checking its class.

    Raises:
        ConfigError: The class cannot be imported, does not implement the protocol, or refuses its
            settings.
    """
    _check(target, protocol, where)
    for key, nested in _nested(target, where):
        _check(nested, (Settings, Policy, QuestionSet), key)
    return _instantiate(target, where)


def _instantiate(value: Any, where: str) -> Any:  # any: settings, or their values
    """Instantiate nested targets first; text stays text, without Hydra's interpolation."""
    if isinstance(value, list):
        return [_instantiate(inner, f"{where}.{number}") for number, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    inner = {key: _instantiate(one, f"{where}.{key}") for key, one in value.items()}
    name = inner.pop("_target_", None)
    if name is None:
        return inner
    try:
        return get_class(name)(**inner)
    except ValidationError as error:
        raise ConfigError(explain(error, value, where)) from None
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from None


def explain(error: ValidationError, settings: object, where: str = "") -> str:
    """Describe pydantic's validation errors in one line, each with its value.

    The value of an unknown setting is not shown: it may be a secret.
    """
    parts = []
    places = [found["loc"] for found in error.errors()]
    for found in error.errors():
        here = found["loc"]
        if any(place[: len(here)] == here != place for place in places):
            continue  # an error inside it says more
        path, siblings = _locate(here, settings)
        key = ".".join((*filter(None, [where]), *path))
        if found["type"] == "extra_forbidden":
            near = nearest(path[-1], siblings)
            meant = f"; did you mean {near!r}?" if near else ""
            there = ", ".join(siblings) or "none"
            parts.append(f"{key}: there is no such setting{meant} (settings there: {there})")
            continue
        message = found["msg"].removeprefix("Value error, ")
        hidden = isinstance(found["input"], dict) or SECRET.search(key.removesuffix("_env"))
        given = "" if hidden else f" (given: {found['input']!r})"
        parts.append(f"{key}: {message}{given}")
    return "; ".join(parts)


def _locate(place: tuple[int | str, ...], settings: object) -> tuple[list[str], list[str]]:
    """Return the path of an error in the settings, and the names of the settings around it."""
    path: list[str] = []
    siblings: list[str] = []
    for part in place:
        if isinstance(settings, Mapping):
            if part not in settings and part != place[-1]:
                continue  # pydantic also names the variant of a union
            siblings = [str(name) for name in settings if name not in (part, "_target_")]
            settings = settings.get(part)
        elif isinstance(settings, list) and isinstance(part, int):
            siblings, settings = [], settings[part]
        path.append(str(part))
    return path, siblings


def _check(target: Target, protocol: type | tuple[type, ...], where: str) -> None:
    name = target.get("_target_")
    if not isinstance(name, str):
        raise ConfigError(
            f"{where} names no class: it needs a _target_ such as collab.policies.solo.Solo"
        )
    try:
        found = get_class(name)
    except (HydraException, ImportError, ValueError) as error:
        raise ConfigError(
            f"{where}._target_={name!r} cannot be loaded: {_in_one_line(error)}"
        ) from None
    protocols = protocol if isinstance(protocol, tuple) else (protocol,)
    if not any(_offers(found, one) for one in protocols):
        wanted = " or ".join(one.__name__ for one in protocols)
        raise ConfigError(f"{where}._target_={name!r} is no {wanted}; choose another class")


def _offers(found: type, protocol: type) -> bool:
    if not getattr(protocol, "_is_protocol", False):
        return issubclass(found, protocol)
    fields = getattr(found, "model_fields", {})
    wanted = getattr(protocol, "__protocol_attrs__", None) or _protocol_attrs(protocol)
    return all(hasattr(found, name) or name in fields for name in wanted)


def _protocol_attrs(protocol: type) -> set[str]:
    named = {name for name in vars(protocol) if not name.startswith("_")}
    return named | set(getattr(protocol, "__annotations__", {}))


def _nested(value: object, where: str) -> Iterator[tuple[str, Target]]:
    """Yield the targets inside a target's settings."""
    items = (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value if isinstance(value, list) else ())
    )
    for key, inner in items:
        if isinstance(inner, dict) and "_target_" in inner:
            yield f"{where}.{key}", inner
        yield from _nested(inner, f"{where}.{key}")


def _check_seats(built: Built) -> None:
    team, solos = built.config.team, built.scenario.solos()
    for seat, role in seats_of(_as_played(built)).items():
        if seat not in team:
            raise ConfigError(
                f"seat {seat!r} is not in the team (seats: {', '.join(sorted(team))}); set the "
                f"policy's seat to one of them, or add one: +model@team.{seat}=…"
            )
        if role.name == "writer" and isinstance(team[seat], ToolConfig):
            raise ConfigError(
                f"seat {seat!r} is a tool, which cannot write; set model@team.{seat}=…"
            )
        if role.name == "adviser" and isinstance(team[seat], RecordingConfig):
            raise ConfigError(
                f"seat {seat!r} is a recording, which cannot advise; set model@team.{seat}=…"
            )
        if not solos and isinstance(team[seat], RecordingConfig):
            raise ConfigError(
                f"seat {seat!r} is a recording, but this scenario has no recordings for it; "
                f"set model@team.{seat}=…"
            )
    banks = built.config.banks
    for seat in solos:
        if not isinstance(team.get(seat), ModelConfig) and seat not in banks:
            raise ConfigError(
                f"the scenario needs solo draws of seat {seat!r}, which has no model "
                f"(seats with one: {', '.join(s for s, m in team.items() if m.kind == 'model')}); "
                f"set model@team.{seat}=…, or give it recorded traces: +team.{seat}.bank.name=…"
            )
    if idle := sorted(banks.keys() - solos.keys()):
        raise ConfigError(
            f"team.{idle[0]}.bank would have no effect: the scenario asks for no solo draws of "
            f"that seat (it asks for those of: {', '.join(solos) or 'none'})"
        )


def _as_played(built: Built) -> Policy:
    """Return the policy with the settings that the scenario's cases give it."""
    policy: Policy = built.policy
    factors = built.scenario.factors()
    fields = getattr(type(policy), "model_fields", {})
    for key, value in factors.items():
        info, given = fields.get(key), getattr(policy, key, None)
        if info is not None and given not in (value, info.default):
            raise ConfigError(
                f"policy.{key}={given!r} would have no effect: this scenario sets {key}, such as "
                f"to {value!r}; change the scenario instead"
            )
    return with_factors(policy, **factors) if factors else policy


def _in_one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key:", "object_type="))]
    return " ".join(kept) or type(error).__name__
