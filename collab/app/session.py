"""Open everything that a built config needs: store, servers, endpoints, graders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from inspect import getsourcefile
from pathlib import Path
from types import CodeType

from collab.app.connect import ModelKit, connect, must_be_trusted
from collab.app.golds import usable
from collab.app.graders import open_graders, with_judge
from collab.app.model_identity import checkpoint, hashes, identity, is_known, trained_context
from collab.app.terminal import Terminal
from collab.config.config import Built, HumanConfig, ModelConfig, RunConfig, ToolConfig
from collab.core.cost import Account, Caps, Cost, Ledger, Rates
from collab.core.policy import Policy, needs_of, seats_of, settings_in
from collab.core.sampling import Generation, OnCut, OnText, Request
from collab.core.trajectory import Question
from collab.endpoints.check import check
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect
from collab.endpoints.draw_source import CompletionEndpoint
from collab.endpoints.launch import Launcher, OnProgress
from collab.endpoints.placement import PlacedDialect
from collab.endpoints.profile import Profile
from collab.endpoints.replicas import Replicas
from collab.episode.reasoner import Reasoner, Recorded, Turn
from collab.episode.team import Team
from collab.errors import CollabError, ConfigError
from collab.grading import Graders
from collab.questions.cohort import Cohort
from collab.reasoners.human import Human
from collab.reasoners.model import Model
from collab.reasoners.tool import Tool
from collab.runs.run import Setup, first_of
from collab.runs.run_folder import digest
from collab.runs.traces import Traces, hash_of
from collab.sandbox import ProgramLimits, ProgramResult, Sandbox
from collab.sandbox.named import SANDBOXES
from collab.scenarios.steers import thoughts
from collab.store.store import Store


def decides(built: Built) -> dict[str, object]:
    """Return the settings that decide a run's numbers, with the hashes of the files they name.

    Raises:
        ConfigError: A file cannot be read.
    """
    models = {seat: hashes(model) for seat, model in built.config.models.items()}
    questions = built.questions.load(built.config.prompt, built.config.runs)
    banks = {
        seat: {**bank.model_dump(mode="json"), "traces": hash_of(built.config.runs, bank.name)}
        for seat, bank in built.config.banks.items()
    }
    values = (built.policy, built.scenario)
    parts = [part for value in values for part in (value, *settings_in(value))]
    code = {type(part).__module__: _source(part) for part in parts}
    cohort = getattr(built.questions, "cohort", None)
    given = getattr(built.scenario, "thoughts", None)
    return {
        **built.config.decides(),
        **({"cohort": Cohort.load(cohort).digest} if cohort else {}),
        **({"thoughts": digest(thoughts(given))} if given else {}),
        "models": models,
        "asked": digest({"questions": list(map(_question_parts, questions))}),
        "code": {name: source for name, source in code.items() if source},
        **({"banks": banks} if banks else {}),
    }


def run_of(built: Built) -> str:
    """Return the name of a run, which does not depend on where its folder is."""
    return f"{built.config.name}/{digest(decides(built))}"


def _question_parts(question: Question) -> list[object]:
    """Return the text of a question, and the gold answer or the checks of its answer."""
    checks = [asdict(question.checks)] if question.checks else []
    messages = (message.content for message in question.messages)
    return [question.id, question.answer, *messages, *checks]


def _source(value: object) -> str | None:
    """Hash the file of a user's class, or its bytecode if it was typed into a notebook.

    An edited policy is another policy. Collab's own classes have a version instead.
    """
    if type(value).__module__.startswith("collab."):
        return None
    with suppress(OSError, TypeError):  # a class typed into a notebook has no file
        file = Path(getsourcefile(type(value)) or "")
        return sha256(file.read_bytes()).hexdigest()[:12]
    members = vars(type(value)).items()
    own = {k: m for k, m in members if not k.startswith("__") or hasattr(m, "__code__")}
    return digest({name: _bytecode(member) for name, member in own.items()})


def _bytecode(value: object) -> object:
    """Return the bytecode of a class's member, or a constant, without line numbers."""
    value = getattr(value, "__func__", getattr(value, "fget", value))
    code = value if isinstance(value, CodeType) else getattr(value, "__code__", None)
    if code is not None:
        return [code.co_code.hex(), code.co_names, [*map(_bytecode, code.co_consts)]]
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    return repr(value) if isinstance(value, str | bytes | int | float | tuple | None) else None


@asynccontextmanager
async def opened(
    built: Built,
    *,
    run: Path | None = None,
    tell: OnProgress = lambda said: None,
    sends: bool = True,
    payer: str = "",
    golds: bool = False,
) -> AsyncIterator[tuple[Setup, Store]]:
    """Open the store, start and check the servers, and seat the team.

    A server started here that dies ends the work at once.

    Args:
        built: The config.
        run: The run's folder. The store marks its generations as used by the run, and started
            servers write their logs there.
        tell: Receives the progress of a server's start.
        sends: Whether servers are started and asked; if not, a missing generation raises
            `NotStored`.
        payer: The id of the run that pays: its caps apply, its costs are recorded; empty for none.
        golds: Whether to check the gold answers first.

    Raises:
        CollabError: The store, a server or a grader cannot be opened, or a gold answer cannot be
            used; nothing was sampled.
    """
    config = built.config
    questions = built.questions.load(config.prompt, config.runs)
    places = RunPlaces(run, lambda: run_of(built), tell, sends, payer)
    async with open_graders(config.grader, questions, config.runs) as rules:
        notes: list[str] = []
        if golds:
            unreadable = getattr(built.questions, "unreadable", "stop")
            verdicts = config.runs / "verdicts.sqlite"
            questions, notes = await usable(questions, rules, verdicts, unreadable, tell)
        async with seated(config, places, built.policy, _baselines(built)) as (team, store):
            yield replace(_setup(built, questions, team, rules), notes=notes), store


def _baselines(built: Built) -> list[Policy]:
    """Return the scenario's own policies, with which it compares the config's."""
    return [value for value in settings_in(built.scenario) if isinstance(value, Policy)]


@dataclass(frozen=True)
class RunPlaces:
    """The folder of a run, and what opening it may do."""

    run: Path | None
    """The run's folder. The store marks its generations as used by the run, and started servers
    write their logs there."""
    own: Callable[[], str]
    """Returns the name of the run, which does not depend on where its folder is."""
    tell: OnProgress = lambda said: None
    """Receives the progress of a server's start."""
    sends: bool = True
    """Whether servers are started and asked; if not, a missing generation raises `NotStored`."""
    payer: str = ""
    """The id of the run that pays: its caps apply, its costs are recorded; empty for none."""


@asynccontextmanager
async def seated(
    config: RunConfig,
    places: RunPlaces,
    policy: Policy | None = None,
    baselines: Sequence[Policy] = (),
) -> AsyncIterator[tuple[Team, Store]]:
    """Open the store, start and check the servers, and seat the team.

    Log-probabilities that only `baselines` need are requested where an endpoint has them.

    Raises:
        CollabError: The store or a server cannot be opened, or lacks what the policy needs.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            Store.open(config.store.url, run=places.run, payer=places.payer, notify=places.tell)
        )
        logs = places.run / "servers" if places.run else None
        launcher = await stack.enter_async_context(Launcher(logs, tell=places.tell))
        await stack.enter_async_context(_watched(launcher))
        sent = launcher if places.sends else None
        played = (policy, *baselines) if policy else ()
        logprobs = any("logprobs" in needs_of(one) for one in played)
        caps = config.caps if places.payer else Caps()
        ledger = Ledger(caps, Cost.of((await store.spent()).values()))
        seating = _Seating(config, places.own, policy, logprobs, store, stack, sent, ledger)
        yield await seating.team(), store


@asynccontextmanager
async def _watched(launcher: Launcher) -> AsyncIterator[None]:
    """Stop the work inside if a launched server stops by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(launcher.watch())
            yield
            watching.cancel()
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


def _setup(built: Built, questions: list[Question], team: Team, rules: Graders) -> Setup:
    config = built.config
    return Setup(
        scenario=built.scenario,
        policy=built.policy,
        questions=questions,
        team=team,
        grader=with_judge(config.grader, rules, team),
        rules=rules,
        until=built.until,
        budget=config.budget,
        replicate=config.replicate,
        concurrency=config.concurrency,
        recorded={seat: Traces.load(config.runs, bank) for seat, bank in config.banks.items()},
    )


class NotStored(CollabError):
    """A generation is missing from the store, and nothing may be sent."""


async def _refuse_typing(turn: Turn, wanted: str) -> str:
    raise NotStored(f"the text of human seat {turn.seat!r} is not stored")


class OfflineEndpoint:
    """An endpoint with every ability that sends nothing.

    The context is that of the checkpoint; a server may have less.
    """

    def __init__(self, profile: Profile, folder: Path | None) -> None:
        context = {"max_model_len": trained_context(folder)}
        self.profile = profile.model_copy(update=context)
        self.oddities: Mapping[str, int] = {}

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        """Refuse to sample.

        Raises:
            NotStored: Always.
        """
        raise NotStored(f"{len(draws)} draws of {request.model} are not stored")

    async def ends(self, text: str) -> tuple[int, ...] | None:
        """Return None: token ends are unknown."""
        return None


class OfflineSandbox:
    """A sandbox that runs nothing."""

    async def run(
        self,
        program: str,
        stdin: str = "",
        packages: Sequence[str] = (),
        limits: ProgramLimits = ProgramLimits(),  # noqa: B008 - a frozen value
    ) -> ProgramResult:
        """Refuse to run a program.

        Raises:
            NotStored: Always.
        """
        raise NotStored("the output of a program is not stored")

    async def prove(self) -> None:
        """Do nothing: no program is run."""


@dataclass(frozen=True)
class _Seating:
    """Puts reasoners into seats."""

    config: RunConfig
    own: Callable[[], str]
    policy: Policy | None
    logprobs: bool
    """Whether each write requests log-probabilities, if its endpoint has them."""
    store: Store
    stack: AsyncExitStack
    launcher: Launcher | None
    ledger: Ledger

    async def team(self) -> Team:
        seats: dict[str, Reasoner] = {}
        terminal: Terminal | None = None
        for seat, config in self.config.team.items():
            if isinstance(config, ModelConfig):
                rates = Rates(config.prices, config.parameters or 0.0)
                seats[seat] = await self.model(config, self.ledger.account(seat, rates))
                self._check_needs(seat, seats[seat])
            elif isinstance(config, HumanConfig):
                terminal = terminal or Terminal()
                listen = terminal.listen if self.launcher else _refuse_typing
                seats[seat] = Human(listen, self.store, self.config.replicate)
                self._check_needs(seat, seats[seat])
            elif isinstance(config, ToolConfig):
                seats[seat] = await self.tool(config)
            else:
                seats[seat] = Recorded()
        return Team(seats)

    async def tool(self, config: ToolConfig) -> Tool:
        sandbox: Sandbox = SANDBOXES[config.sandbox](None) if self.launcher else OfflineSandbox()
        await sandbox.prove()
        replicate = self.config.replicate
        return Tool(sandbox, self.store, config.packages, config.limits, replicate)

    async def model(self, config: ModelConfig, account: Account) -> Model:
        folder = checkpoint(config)
        kit = ModelKit.load(config, folder)
        profile = kit.profile(self.config.runs)
        dialect = kit.dialect(profile)
        if self.launcher is None:
            endpoint: CompletionEndpoint = OfflineEndpoint(profile, folder)
        else:
            endpoint = await self._connected(kit, profile, dialect, self.launcher)
        return Model(
            identity=identity(config),
            endpoint=endpoint,
            dialect=PlacedDialect(dialect, self.config.placement),
            tokenizer=kit.tokenizer,
            store=self.store,
            sampling=config.sampling,
            think_close=config.think_close,
            context=config.context or endpoint.profile.max_model_len,
            replicate=self.config.replicate,
            logprobs=20 if self.logprobs and endpoint.profile.logprobs else None,
            run="" if is_known(config) else self.own(),
            account=account,
        )

    async def _connected(
        self, kit: ModelKit, profile: Profile, dialect: Dialect, launcher: Launcher
    ) -> CompletionEndpoint:
        """Connect to a model's servers and check each of them."""
        endpoints: list[Endpoint] = []
        for replica in (None, *kit.config.replicas):
            reached = await connect(kit, profile, launcher, replica=replica)
            endpoint = await self.stack.enter_async_context(reached)
            await check(endpoint, dialect, kit.tokenizer)
            if self.config.strict_prefill:
                must_be_trusted(endpoint, dialect)
            endpoints.append(endpoint)
        return Replicas(endpoints) if len(endpoints) > 1 else endpoints[0]

    def _check_needs(self, seat: str, reasoner: Reasoner) -> None:
        role = seats_of(self.policy).get(seat)
        if self.policy is None or role is None or role.name != "writer":
            return
        needed = needs_of(self.policy) | {"write"}
        if missing := needed - reasoner.can:
            raise ConfigError(
                f"seat {seat!r} must be able to {', '.join(sorted(missing))}, which its endpoint "
                f"cannot (it can: {', '.join(sorted(reasoner.can))}); {_instead(reasoner)}"
            )


def _instead(reasoner: Reasoner) -> str:
    """Suggest another model for the seat, or another seat for the model."""
    other = "give the seat another model"
    if not isinstance(reasoner, Model) or reasoner.dialect.continues:
        return other
    name = reasoner.dialect.name
    return (
        f"dialect {name!r} cannot continue a thought: {other}, or use a policy that lets this "
        "model answer (answer_by) or advise"
    )
