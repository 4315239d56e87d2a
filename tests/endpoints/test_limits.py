import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace

import asyncio_throttle.throttler
import pytest
from pydantic import ValidationError

from collab.endpoints.limits import YEAR, Gate, Limits, Retryable, retry_after
from collab.endpoints.pace import throttler
from collab.errors import BadReply, Denied, EndpointError, PromptChanged, Rejected, Unreachable


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Longest(random.Random):
    """Chooses the longest pause that jitter may give."""

    def uniform(self, a: float, b: float) -> float:
        return b


def gate(clock: Clock, rng: random.Random | None = None, **limits: float) -> Gate:
    return Gate(Limits.model_validate(limits), rng=rng or Longest(), clock=clock, sleep=clock.sleep)


def failing(*failures: Exception) -> Callable[[], Awaitable[str]]:
    left = list(failures)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


BUSY = Unreachable("busy")


async def test_a_passing_failure_is_repeated_after_pauses_that_double() -> None:
    clock = Clock()
    assert await gate(clock).run(failing(*[Retryable(BUSY)] * 3)) == "done"
    assert clock.slept == [0.5, 1.0, 2.0]


async def test_pauses_are_drawn_from_zero_to_their_longest_and_the_longest_is_20_s() -> None:
    clock = Clock()
    await gate(clock, random.Random(1), retries=40, deadline=1e9).run(
        failing(*[Retryable(BUSY)] * 40)
    )
    assert all(0 <= pause <= min(20, 0.5 * 2**i) for i, pause in enumerate(clock.slept))
    assert len(set(clock.slept)) == 40


async def test_a_servers_own_wait_is_never_undercut() -> None:
    clock = Clock()
    await gate(clock).run(failing(Retryable(BUSY, after=7.0)))
    assert clock.slept == [7.5]


async def test_a_servers_wait_holds_for_all_requests_to_it() -> None:
    clock = Clock()
    one = gate(clock)
    sent: list[float] = []

    async def refused() -> str:
        sent.append(clock.now)
        if len(sent) == 1:
            raise Retryable(BUSY, after=7.0)
        return "done"

    await asyncio.gather(one.run(refused), *(one.run(refused) for _ in range(3)))
    assert [at for at in sent[1:] if at < 7.0] == []


async def test_waits_that_the_server_asks_for_are_no_retries_unless_none_are_wanted() -> None:
    clock = Clock()
    waits = [Retryable(BUSY, after=1.0)] * 9
    assert await gate(clock, retries=2).run(failing(*waits)) == "done"
    for refusal in (Retryable(BUSY, after=1.0), Retryable(BUSY, after=0.0)):
        with pytest.raises(Unreachable, match="busy"):
            await gate(clock, retries=0).run(failing(refusal))


async def test_a_wait_that_the_deadline_never_allows_is_told() -> None:
    with pytest.raises(
        Unreachable, match=r"busy; .* 900 s, longer than limits\.deadline=600 allows"
    ):
        await gate(Clock(), deadline=600).run(failing(Retryable(BUSY, after=900.0)))


async def test_after_the_last_retry_the_failure_itself_is_raised() -> None:
    clock = Clock()
    with pytest.raises(Unreachable, match="busy"):
        await gate(clock, retries=2).run(failing(*[Retryable(BUSY)] * 3))
    assert len(clock.slept) == 2


async def test_a_refusal_is_not_repeated() -> None:
    clock = Clock()
    with pytest.raises(Rejected):
        await gate(clock).run(failing(Rejected("no")))
    assert clock.slept == []


async def test_a_wait_past_the_deadline_is_not_begun() -> None:
    clock = Clock()
    with pytest.raises(Unreachable, match="busy"):
        await gate(clock, deadline=10).run(failing(Retryable(BUSY, after=30.0)))
    assert clock.slept == []


async def test_an_attempt_without_an_end_is_cut_off_at_the_deadline() -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unreachable, match=r"no answer within the deadline of 0\.01 s"):
        await gate(Clock(), deadline=0.01).run(endless)


async def test_an_attempt_that_takes_too_long_is_stopped_and_repeated() -> None:
    stopped: list[int] = []

    async def silent_once() -> str:
        if stopped:
            return "done"
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(1)
        raise AssertionError

    assert await gate(Clock(), timeout=0.01).run(silent_once) == "done"
    stopped.clear()
    with pytest.raises(Unreachable, match=r"no answer within the timeout of 0\.01 s"):
        await gate(Clock(), timeout=0.01, retries=0).run(silent_once)


async def test_a_strange_reply_is_an_accident_of_a_server_that_has_answered_well() -> None:
    one = gate(Clock())
    strange = BadReply("a page")
    with pytest.raises(BadReply, match="a page"):
        await one.run(failing(strange))
    await one.run(failing())
    assert await one.run(failing(strange, strange)) == "done"
    with pytest.raises(PromptChanged):
        await one.run(failing(PromptChanged("other ids")))


@pytest.mark.parametrize("error", [Unreachable("gone"), Denied("no key")])
async def test_those_who_wait_while_a_server_is_given_up_meet_the_same_error(
    error: EndpointError,
) -> None:
    clock = Clock()
    one = gate(clock, concurrency=1)
    tries = 0

    async def dead() -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        raise error

    found = await asyncio.gather(*(one.run(dead) for _ in range(5)), return_exceptions=True)
    assert [str(each) for each in found] == [str(error)] * 5
    assert tries == 1
    assert await one.run(failing()) == "done"  # whoever comes later finds out anew


async def test_no_more_requests_are_under_way_than_allowed() -> None:
    under_way, most = 0, 0
    one = gate(Clock(), concurrency=3)

    async def attempt() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(one.run(attempt) for _ in range(10)))
    assert most == 3


async def test_a_cancelled_request_gives_its_place_back() -> None:
    one = gate(Clock(), concurrency=1)
    started = asyncio.Event()

    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(one.run(endless))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await one.run(failing()) == "done"


@pytest.fixture
def throttled(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the throttle library live in the clock's time."""
    clock = Clock()
    monkeypatch.setattr(asyncio_throttle.throttler, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(asyncio_throttle.throttler, "asyncio", SimpleNamespace(sleep=clock.sleep))
    return clock


@pytest.mark.parametrize(
    ("limits", "at"),
    [
        ({"requests_per_second": 2}, [0, 0, 1, 1, 2, 2]),
        ({"requests_per_minute": 30}, [0, 2, 4, 6]),
        ({"requests_per_minute": 90}, [0, 0.67, 1.33, 2]),
        ({"requests_per_second": 5, "requests_per_minute": 60}, [0, 1, 2]),
    ],
)
async def test_requests_are_spread_over_time_and_sent_in_order(
    throttled: Clock, limits: dict[str, float], at: list[float]
) -> None:
    one = Gate(Limits.model_validate(limits), clock=throttled, sleep=throttled.sleep)
    sent: list[tuple[int, float]] = []

    async def attempt(i: int) -> None:
        sent.append((i, throttled.now))

    await asyncio.gather(*(one.run(partial(attempt, i)) for i in range(len(at))))
    assert [i for i, _ in sent] == list(range(len(at)))
    assert [when for _, when in sent] == pytest.approx(at, abs=0.1)


async def test_a_repeated_attempt_counts_against_the_rate(throttled: Clock) -> None:
    one = gate(throttled, requests_per_minute=6)
    await one.run(failing(Retryable(BUSY)))
    assert throttled.now > 10


@pytest.mark.parametrize(
    ("read", "written", "at"),
    [
        (10, 0, [0, 0, 0, 0.5, 1, 1.5]),  # a second's share of 20 is saved up
        (0, 40, [0, 1, 3, 5, 7, 9]),
        (60, 0, [0, 2, 5, 8]),
    ],
)
async def test_tokens_are_spread_over_time(read: int, written: int, at: list[float]) -> None:
    clock = Clock()
    one = gate(clock, tokens_per_minute=1200, concurrency=1)
    sent: list[float] = []

    async def attempt() -> None:
        sent.append(clock.now)
        one.pace.charge(written)

    for _ in at:
        await one.run(attempt, read)
    assert sent == pytest.approx(at)


def test_no_rate_is_no_throttle() -> None:
    assert Limits().rate is None
    assert throttler(None) is None


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"concurrency": 0}, {"requests_per_second": 0}, {"retry": 3}):
        with pytest.raises(ValidationError):
            Limits.model_validate(wrong)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("-3", 0.0),
        ("0.5", 0.5),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", YEAR),
        ("Fri, 31 Dec 9999 23:59:59 GMT", YEAR),
        ("1e400", None),
        ("inf", None),
        ("nan", None),
        ("9" * 5_000, None),
        ("99999999999", YEAR),
        (", , ,", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(
    value: str | None, seconds: float | None
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert retry_after(value, now) == seconds
