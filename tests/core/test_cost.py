import asyncio

import pytest
from pydantic import ValidationError

from collab.core.cost import Account, Caps, Cost, Ledger, Prices, Rates
from collab.core.sampling import Generation
from collab.errors import CapReached

DRAW = Generation(
    "text",
    None,
    "stop",
    prompt_tokens=1000,
    completion_tokens=200,
    cached_tokens=600,
    seconds=2.5,
)
RATES = Rates(Prices(prompt=1.0, cached=0.1, completion=10.0), parameters=7)


def test_a_draw_costs_what_was_read_and_written_at_each_price() -> None:
    cost = RATES.cost(DRAW)
    assert (cost.draws, cost.prompt, cost.cached, cost.completion) == (1, 1000, 600, 200)
    assert cost.seconds == 2.5
    assert cost.money == pytest.approx((400 * 1.0 + 600 * 0.1 + 200 * 10.0) / 1e6)


def test_a_cache_that_has_no_price_of_its_own_is_paid_as_the_rest() -> None:
    assert Rates(Prices(prompt=2.0)).cost(DRAW).money == pytest.approx(1000 * 2.0 / 1e6)


def test_a_computed_token_takes_two_flops_a_parameter_and_a_cached_one_none() -> None:
    assert RATES.cost(DRAW).flops == pytest.approx(2 * 7e9 * (400 + 200))
    assert Rates().cost(DRAW).flops == 0


def test_costs_add_up_field_by_field() -> None:
    both = Cost(1, 2, 3, 4, 5.0, 6.0, 7.0) + Cost(10, 20, 30, 40, 50.0, 60.0, 70.0)
    assert both == Cost(11, 22, 33, 44, 55.0, 66.0, 77.0)
    assert Cost.of([]) == Cost()


def test_a_ledger_adds_up_the_accounts_of_its_seats() -> None:
    ledger = Ledger()
    main, guide = ledger.account("main", RATES), ledger.account("guide", Rates())
    main.pay([DRAW, DRAW])
    guide.pay([DRAW])
    assert ledger.accounts["main"].spent.draws == 2
    assert ledger.spent.completion == 600
    assert ledger.spent.money == pytest.approx(2 * RATES.cost(DRAW).money)


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        (Caps(money=0.004), r"caps.money=0\.004 is reached \(0\.00492 so far\)"),
        (Caps(tokens=400), r"caps.tokens=400 is reached \(400 so far\)"),
        (Caps(seconds=30), r"caps.seconds=30 is reached \(31 so far\)"),
    ],
)
async def test_a_cap_that_is_reached_stops_the_next_request_and_says_how_to_go_on(
    caps: Caps, said: str
) -> None:
    now = [0.0]
    account = Ledger(caps, clock=lambda: now[0]).account("main", RATES)
    for _ in range(2):
        async with account.request():
            account.pay([DRAW])
    now[0] = 31.0
    with pytest.raises(CapReached, match=f"{said}: .* run the same command with a higher cap"):
        await account.request().__aenter__()


async def test_what_earlier_starts_spent_counts_towards_the_cap() -> None:
    account = Ledger(Caps(tokens=400), Cost(completion=399)).account("main", RATES)
    async with account.request():
        account.pay([DRAW])
    with pytest.raises(CapReached):
        await account.request().__aenter__()


async def test_an_account_without_a_ledger_or_without_caps_has_no_end() -> None:
    for account in (Account(RATES), Ledger().account("main", RATES)):
        account.pay([DRAW] * 1000)
        async with account.request():
            assert account.spent.draws == 1000


async def test_what_is_under_way_at_a_cap_is_waited_for_and_counted() -> None:
    account = Ledger(Caps(tokens=200)).account("main", RATES)
    async with account.request():
        account.pay([DRAW])
        late = asyncio.create_task(account.request().__aenter__())
        await asyncio.sleep(0)
        assert not late.done()
        account.pay([DRAW])
    with pytest.raises(CapReached, match=r"caps\.tokens=200 is reached \(400 so far\)"):
        await late


async def test_nothing_is_waited_for_when_the_time_is_up() -> None:
    now = [0.0]
    account = Ledger(Caps(seconds=1), clock=lambda: now[0]).account("main", RATES)
    async with account.request():
        now[0] = 2.0
        with pytest.raises(CapReached, match=r"caps\.seconds=1"):
            await account.request().__aenter__()


def test_a_cap_or_a_price_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"money": 0}, {"tokens": -1}, {"minutes": 3}):
        with pytest.raises(ValidationError):
            Caps.model_validate(wrong)
    with pytest.raises(ValidationError):
        Prices(prompt=-1)
