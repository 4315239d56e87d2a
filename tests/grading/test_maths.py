import asyncio
import json
import multiprocessing
import resource
import sys
from collections.abc import AsyncIterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import pytest_asyncio
from pebble import ProcessPool

from collab.errors import GradingError
from collab.grading import Judgement
from collab.grading.maths import MathsGrader, MathsSettings, _judge, last_box

ENDLESS = r"\boxed{9^{9^{9^{9}}}}"
CASES = Path(__file__).parents[3] / "shared" / "data" / "answer_equivalence.jsonl"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[MathsGrader]:
    async with MathsGrader(MathsSettings(workers=2, seconds=60)) as grader:
        yield grader


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("gold", "text", "verdict", "strict", "extracted"),
    [
        ("12", r"So the answer is \boxed{12}.", "correct", True, "12"),
        ("12", r"\boxed{13}", "wrong", False, "13"),
        ("12", "The answer is 12.", "correct", False, "12"),
        ("12", "", "no answer", False, None),
        ("12", "I cannot say.", "no answer", False, None),
        ("12", r"\boxed{}", "no answer", False, None),
        ("7", r"At first \boxed{5}, but \boxed{7}", "correct", True, "7"),
        ("5", r"At first \boxed{5}, but \boxed{7}", "wrong", False, "7"),
        ("5", r"\boxed{5} and then \boxed{7", "correct", True, "5"),
        (r"\frac{1}{2}", r"\boxed{0.5}", "correct", True, "0.5"),
        ("$\\frac{1}{2}$", r"\boxed{\dfrac12}", "correct", True, r"\dfrac12"),
        (r"\$10", r"\boxed{10}", "correct", True, "10"),
        (r"10\%", r"\boxed{10}", "correct", True, "10"),
        (r"\text{Evelyn}", r"\boxed{\text{Evelyn}}", "correct", True, r"\text{Evelyn}"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"\boxed{(3,\pi/2)}", "correct", True, r"(3,\pi/2)"),
        ("-12", r"\boxed{12}", "wrong", False, "12"),
    ],
)
async def test_answers_are_judged(
    grader: MathsGrader, gold: str, text: str, verdict: str, strict: bool, extracted: str | None
) -> None:
    found = await grader.compare(gold, text)
    assert (found.verdict, found.strict, found.extracted) == (verdict, strict, extracted)
    assert found == _judge(gold, text)
    assert found.lenient == {"correct": True, "wrong": False, "no answer": None}[verdict]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_end_of_a_long_text_is_read(grader: MathsGrader) -> None:
    text = r"Perhaps \boxed{1}. " + "Hm. " * 20_000 + r"It is \boxed{2}."
    assert (await grader.compare("2", text)).strict


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pair_is_judged_once(grader: MathsGrader) -> None:
    one, other = await asyncio.gather(*(grader.compare("3", r"\boxed{3}") for _ in range(2)))
    assert one is other is await grader.compare("3", r"\boxed{3}")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_waiter_that_is_cancelled_takes_nothing_from_the_others(
    grader: MathsGrader,
) -> None:
    first, second = (asyncio.create_task(grader.compare("4", r"\boxed{4}")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).verdict == "correct"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_gold_answer_that_cannot_be_read_is_an_error(grader: MathsGrader) -> None:
    with pytest.raises(GradingError, match="'' cannot be read; give it in LaTeX or digits"):
        await grader.compare("", r"\boxed{4}")


@pytest.mark.asyncio(loop_scope="module")
async def test_judging_works_outside_the_main_thread() -> None:
    async def grade() -> Judgement:
        async with MathsGrader(MathsSettings(workers=1, seconds=60)) as grader:
            return await grader.compare("4", r"\boxed{2+2}")

    assert (await asyncio.to_thread(asyncio.run, grade())).strict


async def test_endless_answers_are_stopped_and_their_neighbours_judged() -> None:
    async with (
        MathsGrader(MathsSettings(workers=2, seconds=3)) as grader,
        asyncio.TaskGroup() as group,
    ):
        endless = [group.create_task(grader.compare(gold, ENDLESS)) for gold in ("1", "2")]
        good = [group.create_task(grader.compare(str(n), rf"\boxed{{{n}}}")) for n in range(8)]
    for task in endless:
        assert task.result() == Judgement("grader timeout", None, False, "9^{9^{9^{9}}}")
    assert [task.result().verdict for task in good] == ["correct"] * 8


@pytest.mark.parametrize("noticed", [False, True])
async def test_workers_that_were_killed_are_replaced(noticed: bool) -> None:
    before = set(multiprocessing.active_children())
    async with MathsGrader(MathsSettings(workers=2, seconds=60)) as grader:
        assert (await grader.compare("1", r"\boxed{1}")).strict
        pool = await grader._running()
        for worker in set(multiprocessing.active_children()) - before:
            worker.kill()
        if noticed:
            await asyncio.to_thread(_wait_until_broken, pool)
        assert (await grader.compare("2", r"\boxed{2}")).strict


async def test_workers_that_cannot_start_are_an_error() -> None:
    async with MathsGrader(MathsSettings.model_construct(memory="much")) as grader:  # type: ignore[arg-type]  # the fault
        with pytest.raises(GradingError, match="died 3 times"):
            await grader.compare("1", r"\boxed{1}")


@pytest.mark.skipif(sys.platform != "linux", reason="address space is capped on Linux alone")
async def test_an_answer_that_needs_too_much_memory_is_wrong_and_the_worker_lives() -> None:
    async with MathsGrader(MathsSettings(workers=1, seconds=60, memory=2**20)) as grader:
        assert (await grader.compare("1", r"\boxed{300000!}")).verdict == "wrong"
        assert (await grader.compare("1", r"\boxed{1}")).verdict == "correct"


async def test_leaving_with_judgements_under_way_stops_them() -> None:
    before = set(multiprocessing.active_children())
    async with MathsGrader(MathsSettings(workers=1, seconds=600)) as grader:
        task = asyncio.create_task(grader.compare("1", ENDLESS))
        assert (await asyncio.to_thread(_one_child, before)).is_alive()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(multiprocessing.active_children()) <= before


def _wait_until_broken(pool: ProcessPool) -> None:
    while pool.active:
        pass


def _one_child(before: set[BaseProcess]) -> BaseProcess:
    while not (new := set(multiprocessing.active_children()) - before):
        pass
    return new.pop()


async def test_a_workers_memory_is_capped() -> None:
    async with MathsGrader(MathsSettings(workers=1, memory=2**30)) as grader:
        pool = await grader._running()
        future = pool.schedule(resource.getrlimit, args=[resource.RLIMIT_AS])
        assert await asyncio.wrap_future(future) == (2**30, 2**30)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("", None),
        (r"\boxed{1} \boxed{ 2 }", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{1} \boxed{2", "1"),
        (r"\boxed{1\}", None),
    ],
)
def test_the_last_closed_box_is_found(text: str, box: str | None) -> None:
    assert last_box(text) == box


@pytest.mark.skipif(not CASES.exists(), reason="the collected grading cases are not there")
@pytest.mark.asyncio(loop_scope="module")
async def test_published_grading_cases_are_judged_as_published(grader: MathsGrader) -> None:
    rows = [json.loads(line) for line in CASES.read_text().splitlines()]
    rows = [
        row
        for row in rows
        if row["kind"] == "extract_and_compare" and row["review"] == "ok" and row["pred"]
    ]
    verdicts = await asyncio.gather(*(grader.compare(row["gold"], row["pred"]) for row in rows))
    agreed = sum(
        (verdict.verdict == "correct") == row["match"]
        for verdict, row in zip(verdicts, rows, strict=True)
    )
    assert agreed / len(rows) > 0.95
