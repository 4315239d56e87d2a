import asyncio

from collab.core.trajectory import Message, Question, Recording
from collab.episode.engine import Case
from collab.policies.solo import Solo as Alone
from collab.scenarios.base import Bank, Plan
from collab.scenarios.solo import SoloScenario

ASKED = Question("q", (Message("user", "q?"),), "1", labels={"level": "easy"})


def solos(*outcomes: bool) -> tuple[Recording, ...]:
    return tuple(
        Recording("q", "Hm.", 2, generation=f"g{draw}", draw=draw, correct=correct)
        for draw, correct in enumerate(outcomes)
    )


def cases(bank: Bank) -> list[Case]:
    return list(asyncio.run(Plan.of(SoloScenario(samples=2).cases(bank, Alone()))).cases)


def test_each_draw_of_the_bank_is_a_case_that_reports_it() -> None:
    made = cases(Bank([ASKED], {"main": {"q": solos(True, False)}}))
    assert [(case.id, case.draw) for case in made] == [("q/solo/0", 0), ("q/solo/1", 1)]
    assert [case.factors for case in made] == [{"arm": "solo", "solved": 1, "level": "easy"}] * 2


def test_it_asks_for_a_bank_of_its_own_seat() -> None:
    assert SoloScenario(main="thinker", samples=3).solos() == {"thinker": 3}
    assert SoloScenario(samples=3).most(5, Alone()) == 15
