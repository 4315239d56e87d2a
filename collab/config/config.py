"""From plain YAML to values: compose, validate, and instantiate what a `_target_` names.

Only this package, `collab.app` and the command line know Hydra. Nothing of it travels further: what
leaves here are pydantic values.
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
from collab.runs.traces import TraceSelection
from collab.sandbox import ProgramLimits
from collab.sandbox.named import SandboxName
from collab.scenarios.base import Scenario, with_factors

Target = dict[str, Any]  # any: the settings of a class that only instantiation knows
ADDRESS = frozenset({"base_url", "uds", "api_key_env", "launch", "limits", "replicas", "served"})
"""What of a model's settings is where it is, not what it is."""
TOLD = frozenset({"about", "checked"})
"""What of a model's settings is told of it, and decides nothing."""
BANK = frozenset({"bank"})
"""What is noted apart, with the hash of its traces."""
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class About(Settings):
    """Where a model comes from: for tables and for whoever reads them."""

    paper: str | None = None
    """What the paper's tables call it."""
    family: str | None = None
    template: str | None = None
    """Which family of chat templates its own is of."""
    base: str | None = None
    """What it was trained from."""
    distilled_from: tuple[str, ...] = ()
    rl: bool | None = None
    """Whether reinforcement learning took part."""
    size: float | None = Field(default=None, gt=0)
    """Parameters (billions), also those that rest."""
    context: int | None = Field(default=None, ge=2)
    """What its card says it reads and writes at most (tokens)."""
    licence: str | None = None

    @field_validator("distilled_from", mode="before")
    @classmethod
    def _one(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given


class ModelConfig(Sampling):
    """A model in a seat: what it is, where it is and how it is sampled."""

    kind: Literal["model"] = "model"
    id: str
    revision: str | None = None
    served: str | None = None
    checkpoint: str | None = None
    base_url: str | None = None
    replicas: tuple[str, ...] = ()
    """Further addresses of the same model, with the same key; each has the limits of its own."""
    uds: str | None = None
    api_key_env: str | None = None
    launch: Spec | None = None
    dtype: str | None = None
    quantization: str | None = None
    template: dict[str, Any] = Field(default_factory=dict)  # any: JSON, read by the template alone
    dialect: DialectName = "ids"
    think_open: str = "<think>\n"
    think_close: str = "</think>"
    """Empty where the model has no tags: its turn ends its thinking, and holds its answer."""
    force_answer: str | None = None
    """What `Close` writes where the model has not closed its thinking; None: its close tag."""
    double_bos: bool = False
    """Whether prompts begin with a begin-of-sequence token more than the template writes."""
    context: int | None = Field(default=None, ge=2)
    limits: Limits = Limits()
    prices: Prices = Prices()
    parameters: float | None = Field(default=None, gt=0)
    drop: tuple[str, ...] = ()
    """Request fields that the server does not take; they are left out."""
    extra: dict[str, Any] = Field(default_factory=dict)  # any: JSON, sent as it stands
    """Request fields that the server wants besides."""
    bank: TraceSelection | None = None
    """Recorded traces in place of solo draws (`collab import`)."""
    about: About = About()
    checked: Checked = "documented"
    """How all this is known."""

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, given: str | None) -> str | None:
        """Refuse what is no name of a variable: it may be the key itself."""
        if given is not None and not VARIABLE.fullmatch(given):
            raise ValueError(
                "it must be the NAME of an environment variable, in capitals, such as "
                "OPENAI_API_KEY: the key itself belongs into that variable, never into a conf or a "
                "command line"
            )
        return given

    @field_validator("launch", mode="before")
    @classmethod
    def _kind(cls, launch: object) -> object:
        """Take `launch: vllm` for a server of that kind with the usual settings."""
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
                "prompt; it goes with ids and text"
            )
        return self

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})


class RecordingConfig(BaseModel):
    """A seat without a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["recording"]
    bank: TraceSelection | None = None
    """Recorded traces that are its solo draws (`collab import`)."""


class HumanConfig(BaseModel):
    """A seat for whoever is at the terminal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["human"]


class ToolConfig(BaseModel):
    """A seat for an interpreter that is asked for programs."""

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
    """How answers are judged."""

    maths: MathsSettings = MathsSettings()
    code: CodeSettings = CodeSettings()
    judge: JudgeSettings | None = None

    def decides(self) -> dict[str, Any]:  # any: JSON
        """Return what decides the verdicts: not how many are judged at once."""
        many = {"maths": {"workers", "wall"}, "code": {"workers"}}
        return self.model_dump(mode="json", exclude=many)


class StoreConfig(Settings):
    """Where generations are kept."""

    url: str


class RunConfig(Settings):
    """One composed run."""

    name: str = Field(min_length=1, pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$")
    runs: Path
    scenario: Target
    policy: Target
    boundary: Target
    questions: Target
    prompt: PromptFormat
    placement: Placement = InThink()
    grader: GraderConfig
    store: StoreConfig
    team: Annotated[dict[str, SeatConfig], Field(min_length=1)]
    budget: int = Field(ge=1)
    replicate: int = Field(default=0, ge=0)
    concurrency: int = Field(default=64, ge=1)
    caps: Caps = Caps()
    strict_prefill: bool = True

    @property
    def banks(self) -> dict[str, TraceSelection]:
        """The recorded traces that stand in for solo draws, by seat."""
        return {
            seat: one.bank
            for seat, one in self.team.items()
            if isinstance(one, ModelConfig | RecordingConfig) and one.bank is not None
        }

    @property
    def models(self) -> dict[str, ModelConfig]:
        """The models by seat."""
        return {seat: one for seat, one in self.team.items() if isinstance(one, ModelConfig)}

    def told(self) -> dict[str, Any]:  # any: JSON
        """Return all of it for a manifest, which holds no secret."""
        told = hide(self.model_dump(mode="json"))
        assert isinstance(told, dict)
        return told

    def decides(self) -> dict[str, Any]:  # any: JSON
        """Return what decides the numbers: neither addresses nor places nor speed, nor a secret."""
        plain = self.model_dump(
            mode="json", exclude={"name", "runs", "store", "concurrency", "caps", "grader"}
        )
        plain["grader"] = self.grader.decides()
        plain["team"] = {
            seat: {key: value for key, value in one.items() if key not in ADDRESS | TOLD | BANK}
            for seat, one in plain["team"].items()
        }
        hidden = hide(plain)
        assert isinstance(hidden, dict)
        return hidden


class Built(BaseModel):
    """A config whose targets are values, checked against their protocols and each other."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    config: RunConfig
    scenario: Any  # any: Scenario, a protocol with a class variable
    policy: Any  # any: Policy, likewise
    until: Boundary
    questions: Any  # any: QuestionSet, likewise


def read_config(composed: DictConfig) -> RunConfig:
    """Validate what Hydra composed.

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
    """Make the values that the config's targets name, and check that they fit the team.

    Args:
        config: What was composed.
        policy: A policy that was made in Python, in the place of the config's.
        questions: Questions that are at hand, in the place of the config's.

    Raises:
        ConfigError: A target is not what its group asks for, a setting is wrong, or a seat is not
        in
            the team.
    """
    built = Built(
        config=config,
        scenario=make(config.scenario, Scenario, "scenario"),
        policy=policy or make(config.policy, Policy, "policy"),
        until=make(config.boundary, Boundary, "boundary"),
        questions=questions or make(config.questions, QuestionSet, "questions"),
    )
    _check_seats(built)
    return built


def make(target: Target, protocol: type, where: str) -> Any:  # any: of the protocol
    """Instantiate one target after checking its class.

    Raises:
        ConfigError: The class cannot be imported, is none of the protocol, or refuses its settings.
    """
    _check(target, protocol, where)
    for key, nested in _nested(target, where):
        _check(nested, (Settings, Policy, QuestionSet), key)
    return _made(target, where)


def _made(value: Any, where: str) -> Any:  # any: settings, or what they make
    """Make the values inside first; a text stays as it is, whatever Hydra would read in it."""
    if isinstance(value, list):
        return [_made(inner, f"{where}.{number}") for number, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    inner = {key: _made(one, f"{where}.{key}") for key, one in value.items()}
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
    """Say in one line what pydantic found wrong in some settings, each with its value.

    What no setting is called is not shown, only its name: it may be a secret.
    """
    parts = []
    places = [found["loc"] for found in error.errors()]
    for found in error.errors():
        here = found["loc"]
        if any(place[: len(here)] == here != place for place in places):
            continue  # what lies inside it was refused: that says more
        path, beside = _located(here, settings)
        key = ".".join((*filter(None, [where]), *path))
        if found["type"] == "extra_forbidden":
            parts.append(f"{key}: there is no such setting (beside it are: {beside or 'none'})")
            continue
        message = found["msg"].removeprefix("Value error, ")
        hidden = isinstance(found["input"], dict) or SECRET.search(key.removesuffix("_env"))
        given = "" if hidden else f" (given: {found['input']!r})"
        parts.append(f"{key}: {message}{given}")
    return "; ".join(parts)


def _located(place: tuple[int | str, ...], settings: object) -> tuple[list[str], str]:
    """Return a place's path in the settings as they were given, and what stands beside it."""
    path, beside = [], ""
    for part in place:
        if isinstance(settings, Mapping):
            if part not in settings and part != place[-1]:
                continue  # pydantic names the kind of a setting too
            names = (str(name) for name in settings if name not in (part, "_target_"))
            beside, settings = ", ".join(names), settings.get(part)
        elif isinstance(settings, list) and isinstance(part, int):
            beside, settings = "", settings[part]
        path.append(str(part))
    return path, beside


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
        raise ConfigError(f"{where}._target_={name!r} is no {wanted}")


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
            raise ConfigError(f"seat {seat!r} writes but is a tool, which can only be asked")
        if role.name == "adviser" and isinstance(team[seat], RecordingConfig):
            raise ConfigError(f"seat {seat!r} is asked for advice but is a recording")
        if not solos and isinstance(team[seat], RecordingConfig):
            raise ConfigError(
                f"seat {seat!r} is a recording, and this scenario hands out none; "
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
    """Return the policy as one of the scenario's cases plays it."""
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
