import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from collab.core.boundary import Answer, Boundary
from collab.core.decision import Decision, Insert, Rewind, Stop, Write
from collab.core.design import Design
from collab.core.policy import Policy, View
from collab.core.sampling import Generation, Request, Sampling
from collab.core.settings import Settings
from collab.core.trajectory import Closed, Message, Question, Trajectory, Unit, Wrote
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.limits import Limits
from collab.endpoints.scripted import TEMPLATE, Failure, ScriptedServer, WordTokenizer
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, Episode
from collab.episode.reasoner import Recorded
from collab.episode.team import Team
from collab.errors import ConfigError, Rejected, Unreachable
from collab.grading.maths import MathsGrader, MathsSettings
from collab.policies.distractor import Distractor
from collab.policies.solo import Solo as Alone
from collab.reasoners.model import Model
from collab.runs.run import RunResult, Setup, SilentStages, each, grade, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Bank, Note, Plan, Scenario, ranked
from collab.scenarios.collaboration import Collaboration
from collab.scenarios.recoverability import Recoverability
from collab.scenarios.solo import SoloScenario
from collab.store.draw_keys import BANK
from collab.store.store import Store
from collab.templates.template import Template

QUESTIONS = [
    Question(name, (Message("user", f"{name}?"),), answer, labels={"level": "easy"})
    for name, answer in (("one", "1"), ("two", "2"), ("three", "3"))
]
ANSWERS = {
    f"{name}?": [
        f"Hm. It is {name}. I know.\n</think>\\boxed{{{said}}}",
        f"So. It must be {name}. Sure.\n</think>The answer is \\boxed{{{said}}}.",
    ]
    for name, said in (("one", "1"), ("two", "2"), ("three", "9"))
}


class Counting(SilentStages):
    """Stages that count."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self.open: set[str] = set()

    def expect(self, stage: str, steps: int, *, more: bool = False) -> None:
        self.totals[stage] += steps
        (self.open.add if more else self.open.discard)(stage)

    def step(self, stage: str, *, stored: bool = False) -> None:
        self.steps[stage] += 1
        self.stored[stage] += stored


@pytest.fixture
async def grader() -> AsyncIterator[MathsGrader]:
    async with MathsGrader(MathsSettings(workers=1)) as grader:
        yield grader


class Bench:
    """A store, and a model behind a scripted server that all runs of a test share."""

    def __init__(self, url: str, store: Store, tokenizer: Tokenizer, grader: MathsGrader) -> None:
        self.store, self._grader = store, grader
        self.endpoint = Endpoint(url, "scripted", tokenizer, limits=Limits(retries=0))
        self.model = Model(
            identity="scripted@1",
            endpoint=self.endpoint,
            dialect=IdsDialect(Frame(Template(TEMPLATE)), tokenizer),
            tokenizer=tokenizer,
            store=store,
            sampling=Sampling(),
        )

    async def run(
        self,
        path: Path,
        scenario: Scenario,
        policy: Policy,
        stage: Counting | None = None,
        questions: Iterable[Question] = QUESTIONS,
        until: Boundary = Answer(),  # noqa: B008 - a frozen value
    ) -> RunResult:
        setup = Setup(
            scenario=scenario,
            policy=policy,
            questions=list(questions),
            team=Team({"main": self.model, "distractor": Recorded()}),
            grader=self._grader,
            until=until,
            budget=400,
            concurrency=1,
        )
        with RunFolder.enter(path, {}, {}) as folder:
            return await run(setup, folder, stage or Counting())


@pytest.fixture
async def bench(
    store: Store,
    letters: Tokenizer,
    spoken: Callable[[Tokenizer], WordTokenizer],
    grader: MathsGrader,
    request: pytest.FixtureRequest,
) -> AsyncIterator[tuple[Bench, ScriptedServer]]:
    failures: tuple[Failure, ...] = getattr(request, "param", ())
    server = ScriptedServer(ANSWERS, tokenizer=spoken(letters), failures=failures)
    async with server:
        made = Bench(server.url, store, letters, grader)
        async with made.endpoint:
            yield made, server


async def test_a_second_identical_run_samples_nothing_and_scores_alike(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, server = bench
    scenario = Recoverability(samples=2, points=(0.0, 0.4))
    first = await made.run(tmp_path / "one", scenario, Distractor())
    assert len(first.scores) > 0
    sampled, sent = made.store.sampled, len(server.generating)
    assert await made.run(tmp_path / "two", scenario, Distractor()) == first
    assert (made.store.sampled, len(server.generating)) == (sampled, sent)


async def test_entering_again_plays_only_what_is_owed(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, _ = bench
    first = await made.run(tmp_path / "run", Collaboration(), Alone(), questions=QUESTIONS[:2])
    before = (tmp_path / "run" / "episodes.jsonl").read_bytes()
    stage = Counting()
    again = await made.run(tmp_path / "run", Collaboration(), Alone(), stage)
    assert {score.case for score in again.scores} == {"one/0", "two/0", "three/0"}
    assert [score for score in again.scores if score.question != "three"] == list(first.scores)
    assert (tmp_path / "run" / "episodes.jsonl").read_bytes().startswith(before)
    assert stage.totals == stage.steps == {"episodes": 3}
    assert (stage.stored, stage.open) == ({"episodes": 2}, set())
    cases = [row["case"] for _, row in RunFolder(tmp_path / "run").episodes()]
    assert sorted(cases) == ["one/0", "three/0", "two/0"]


async def test_stages_are_told_in_full(bench: tuple[Bench, ScriptedServer], tmp_path: Path) -> None:
    stage = Counting()
    await bench[0].run(tmp_path / "run", SoloScenario(samples=2), Alone(), stage)
    assert stage.totals == stage.steps == {"solo draws of main": 3, "episodes": 6}


async def test_the_solo_scenario_reports_the_bank_and_samples_nothing_more(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, _ = bench
    result = await made.run(tmp_path / "run", SoloScenario(samples=2), Alone())
    assert made.store.sampled == 6
    assert {(s.question, s.verdict) for s in result.scores} == {
        ("one", "correct"),
        ("two", "correct"),
        ("three", "wrong"),
    }
    solved = {score.question: score.design.solved for score in result.scores}
    assert solved == {"one": 2, "two": 2, "three": 0}


async def test_scores_come_in_the_order_of_the_cases(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    scenario = Collaboration(samples=2)
    result = await bench[0].run(tmp_path / "run", scenario, Alone())
    plan = await Plan.of(scenario.cases(Bank(QUESTIONS), Alone()))
    assert [score.case for score in result.scores] == [case.id for case in plan.cases]


@pytest.mark.parametrize("bench", [("html",)], indirect=True)
async def test_a_case_that_fails_is_a_row_and_the_others_go_on(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, _ = bench
    result = await made.run(tmp_path / "run", Collaboration(), Alone())
    first, *others = (f"{question.id}/0" for question in ranked(QUESTIONS))
    assert list(result.failures) == [first]
    assert "a reply that is not JSON of the API" in result.failures[first]
    assert [score.case for score in result.scores] == others
    again = await made.run(tmp_path / "run", Collaboration(), Alone())
    assert not again.failures
    assert len(again.scores) == 3


class Unruly(Settings):
    """Does one thing that no policy may do, on one of the questions."""

    does: str

    async def decide(self, view: View) -> Decision:
        if "one" in view.question[0].content:
            return await self._misbehave(view)
        return await Alone().decide(view)

    async def _misbehave(self, view: View) -> Decision:
        match self.does:
            case "loops":
                while True:
                    pass
            case "waits":
                await asyncio.Event().wait()
            case "raises":
                return Stop(view.units[-1].text)
            case "cancels":
                raise asyncio.CancelledError
            case "goes round":
                return Rewind(0)
            case "names an absent seat":
                return Write("helper")
            case "writes after its end":
                LEFT.append(view)
                if len(LEFT) > 1:
                    await LEFT[0].ask("main", "May I?")
        return Insert("main", "So.\n")


LEFT: list[View] = []
"""Views that a policy has kept against the rules."""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("loops", r"blocked the event loop for 0\.5 s"),
        ("waits", r"did not decide within 0\.5 s"),
        ("raises", "failed at step 0: IndexError"),
        ("cancels", "failed at step 0: CancelledError"),
        ("goes round", "took 99 decisions without an end"),
        ("names an absent seat", r"'helper' is not in the team \(seats: distractor, main\)"),
        ("writes after its end", "through a view whose decision is taken"),
    ],
)
async def test_a_policy_that_breaks_its_contract_is_ended_and_the_other_episodes_go_on(
    bench: tuple[Bench, ScriptedServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    said: str,
) -> None:
    monkeypatch.setattr("collab.episode.side_questions.PATIENCE", 0.5)
    monkeypatch.setattr("collab.episode.engine.STEPS", 99)
    LEFT.clear()
    result = await bench[0].run(tmp_path / "run", Collaboration(), Unruly(does=does))
    ((case, error),) = result.failures.items()
    assert case == "one/0"
    assert re.search(f"Unruly .*{said}|{said}", error)
    assert {score.case for score in result.scores} == {"two/0", "three/0"}


@pytest.mark.parametrize("bench", [("html",)], indirect=True)
async def test_a_question_whose_solo_draws_fail_is_noted_and_left_out(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, _ = bench
    result = await made.run(tmp_path / "one", SoloScenario(samples=2), Alone())
    first, *others = (question.id for question in ranked(QUESTIONS))
    assert list(result.failures) == [f"{first}/main"]
    assert {score.question for score in result.scores} == set(others)


@pytest.mark.parametrize("bench", [("drop",)], indirect=True)
async def test_a_dead_server_stops_the_run_and_what_is_done_is_kept(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, server = bench
    with pytest.raises(Unreachable):
        await made.run(tmp_path / "run", Collaboration(), Alone())
    assert len(server.generating) == 1
    result = await made.run(tmp_path / "run", Collaboration(), Alone())
    assert len(result.scores) == 3


async def test_the_control_at_insertion_point_0_is_never_a_sample_of_the_bank(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, server = bench
    scenario = Recoverability(samples=2, points=(0.0,))
    await made.run(tmp_path / "run", SoloScenario(samples=2), Alone())
    bank = _generations(tmp_path / "run")
    result = await made.run(tmp_path / "twin", scenario, Distractor())
    controls = _generations(tmp_path / "twin", {s.case for s in result.scores if "none" in s.case})
    assert len(bank) == 6
    assert len(controls) == 4
    assert not bank & controls
    prompts = {key.rpartition("-")[0] for key in bank}
    for key in controls:
        digest, _, draw = key.rpartition("-")
        assert digest in prompts  # the very same prompt …
        assert int(draw) >= BANK  # … and another draw of it
    seeds = [
        (tuple(r.body["prompt"]), r.body["seed"] + i)
        for r in server.generating
        for i in range(r.body["n"])
    ]
    assert len(set(seeds)) == len(seeds)


def _generations(path: Path, cases: set[str] | None = None) -> set[str]:
    return {
        key
        for episode, _ in RunFolder(path).episodes()
        for unit in episode.trajectory.generated
        for key in unit.generations
        if cases is None or episode.case in cases
    }


async def test_two_questions_with_one_id_are_refused_before_any_is_played(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    made, server = bench
    twice = [*QUESTIONS, QUESTIONS[0]]
    with pytest.raises(ConfigError, match="1 question ids occur twice, such as 'one'"):
        await made.run(tmp_path / "run", Collaboration(), Alone(), questions=twice)
    assert server.generating == []


class Repeating(Collaboration):
    """Makes each case twice."""

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        async for made in super().cases(bank, policy):
            yield made
            yield made


async def test_two_cases_with_one_id_are_refused(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"two cases of id '.*/0'"):
        await bench[0].run(tmp_path / "run", Repeating(), Alone())


class Telling(Counting):
    """Stages that tell when the first episode is done."""

    def __init__(self) -> None:
        super().__init__()
        self.played = asyncio.Event()

    def step(self, stage: str, *, stored: bool = False) -> None:
        super().step(stage, stored=stored)
        if stage == "episodes":
            self.played.set()


async def test_an_episode_is_played_before_the_bank_is_whole(
    bench: tuple[Bench, ScriptedServer],
    letters: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _ = bench
    stages = Telling()
    last = ranked(QUESTIONS)[-1].id
    draw = made.endpoint.complete

    async def patient(request: Request, draws: range, **rest: Any) -> list[Generation]:
        assert isinstance(request.prompt, tuple)
        if f"{last}?" in letters.decode(request.prompt):
            await stages.played.wait()
        return await draw(request, draws, **rest)

    monkeypatch.setattr(made.endpoint, "complete", patient)
    async with asyncio.timeout(60):
        await made.run(tmp_path / "run", SoloScenario(samples=2), Alone(), stages)
    assert stages.totals == stages.steps == {"solo draws of main": 3, "episodes": 6}


class Handing(SoloScenario):
    """Wants solo draws of a seat that only has a recording."""

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case]:
        async for _ in bank.ready():
            raise AssertionError
            yield


async def test_solo_draws_of_a_recording_are_refused_by_seat(
    bench: tuple[Bench, ScriptedServer], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"seat 'distractor' needs solo draws"):
        await bench[0].run(tmp_path / "run", Handing(main="distractor"), Alone())


def played(finish: str, answer: str = "") -> Episode:
    log = [Closed("main"), Wrote(Unit("main", answer, "generated", phase="answer", tokens=4))]
    return Episode("c", Trajectory.replay(log), finish)  # type: ignore[arg-type]  # of its literals


def case(answer: str | None = "1", rival: str | None = None) -> Case:
    asked = Question("q", (Message("user", "q?"),), answer)
    return Case("c", asked, Alone(), design=Design(at=0.2), rival=rival)


async def test_an_answer_is_judged_and_what_it_cost_is_noted(grader: MathsGrader) -> None:
    score = await grade(grader, case(), played("answered", "so \\boxed{1}"))
    assert (score.verdict, score.strict, score.lenient, score.extracted) == (
        "correct",
        True,
        True,
        "1",
    )
    assert (score.tokens, score.design, score.said_rival) == (4, Design(at=0.2), None)


@pytest.mark.parametrize(("said", "rival"), [("\\boxed{2}", True), ("\\boxed{3}", False)])
async def test_whether_the_steers_answer_was_given_is_noted(
    grader: MathsGrader, said: str, rival: bool
) -> None:
    score = await grade(grader, case(rival="2"), played("answered", said))
    assert (score.verdict, score.said_rival) == ("wrong", rival)


async def test_what_stands_behind_the_last_close_tag_is_graded(grader: MathsGrader) -> None:
    episode = played("answered", "It is \\boxed{9}.</think>No: \\boxed{1}.")
    assert (await grade(grader, case(), episode)).extracted == "1"


async def test_an_open_thought_is_not_graded(grader: MathsGrader) -> None:
    score = await grade(grader, case(), played("never closed", "\\boxed{1}"))
    assert score.verdict == "thinking never closed"
    assert not score.correct


async def test_a_question_without_a_known_answer_has_no_answer(grader: MathsGrader) -> None:
    assert (await grade(grader, case(None), played("answered", "1"))).verdict == "no answer"


async def test_no_more_than_the_allowed_number_is_under_way() -> None:
    under_way: set[int] = set()
    most: list[int] = []

    async def work(item: int) -> None:
        under_way.add(item)
        most.append(len(under_way))
        await asyncio.sleep(0)
        under_way.remove(item)

    await each(range(10), work, 3)
    assert len(most) == 10
    assert max(most) == 3


async def test_the_first_error_stops_all_and_comes_out_bare() -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        if item == 2:
            raise Rejected("no")
        await asyncio.sleep(0)
        done.append(item)

    with pytest.raises(Rejected, match="no"):
        await each(range(100), work, 2)
    assert len(done) < 5
