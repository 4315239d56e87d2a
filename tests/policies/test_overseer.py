from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from collab import Close, Decision, Edit, Repeats, Rewind, Says, Stop, View, Write
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.policies.overseer import Overseer, Rule

Look = Callable[..., View]
STEP = ("main", "So it is 8.\n\n")


@dataclass
class Strict:
    """Gives one verdict, and writes one correction."""

    verdict: str
    text: str = "So it is 7."
    asked: list[str] = field(default_factory=list)
    begun: list[tuple[Decision, ...]] = field(default_factory=list)

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        assert seat == "overseer"
        self.asked.append(inquiry.text)
        if not inquiry.options:
            return SideAnswer(self.text)
        return SideAnswer(
            self.verdict, {self.verdict: 1.0} if self.verdict in inquiry.options else {}
        )

    async def score(self, seat: str, text: str) -> Likelihood:
        raise AssertionError

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        self.begun.append(path)


async def test_an_accepted_unit_stands_and_main_writes_what_was_begun_meanwhile(
    look: Look,
) -> None:
    aside = Strict("accept")
    decision = await Overseer().decide(look(STEP, aside=aside))
    assert isinstance(decision, Write)
    assert decision.memo == [1, 0]
    ((begun,),) = aside.begun
    assert isinstance(begun, Write)
    assert (begun.seat, begun.until) == (decision.seat, decision.until)
    assert "So it is 8." in aside.asked[0]
    assert aside.asked[1:] == []


async def test_a_rewound_unit_is_written_anew_and_kept_after_so_many_vetoes(look: Look) -> None:
    policy, memo = Overseer(retries=2), None
    for veto in (1, 2):
        rewound = await policy.decide(look(STEP, memo=memo, aside=Strict("rewind")))
        assert isinstance(rewound, Rewind)
        assert (rewound.to, rewound.memo) == (0, [0, veto])
        anew = await policy.decide(look(memo=rewound.memo))
        assert isinstance(anew, Write)
        memo = anew.memo
    kept = await policy.decide(look(STEP, memo=memo, aside=Strict("rewind")))
    assert isinstance(kept, Write)
    strict = Overseer(retries=2, strict=True)
    assert isinstance(await strict.decide(look(STEP, memo=memo, aside=Strict("rewind"))), Stop)


async def test_a_corrected_unit_is_the_overseers_and_is_not_looked_at_again(look: Look) -> None:
    edited = await Overseer().decide(look(STEP, aside=Strict("correct")))
    assert isinstance(edited, Edit)
    assert (edited.unit, edited.text, edited.seat) == (0, "So it is 7.\n\n", "overseer")
    on = await Overseer().decide(look(("overseer", "So it is 7.\n\n"), memo=edited.memo))
    assert isinstance(on, Write)


async def test_a_correction_that_says_nothing_strikes_the_unit(look: Look) -> None:
    edited = await Overseer().decide(look(STEP, aside=Strict("correct", text=" ")))
    assert isinstance(edited, Edit)
    assert (edited.text, edited.memo) == (None, [0, 0])


async def test_an_overseer_may_stop_and_one_that_gives_no_verdict_keeps_the_unit(
    look: Look,
) -> None:
    assert isinstance(await Overseer().decide(look(STEP, aside=Strict("stop"))), Stop)
    assert isinstance(await Overseer().decide(look(STEP, aside=Strict("well"))), Write)


async def test_the_written_policy_stands_before_every_question(look: Look) -> None:
    aside = Strict("correct")
    await Overseer(charter="No names.").decide(look(STEP, aside=aside))
    assert [text.startswith("This policy holds:\nNo names.") for text in aside.asked] == [True] * 2


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (Rule(when=Says(pattern="8"), then="rewind"), Rewind),
        (Rule(when=Says(pattern="8"), then="stop"), Stop),
        (Rule(when=Says(pattern="8"), then="correct", text="So 7."), Edit),
        (Rule(when=Says(pattern="9"), then="stop"), Write),
    ],
)
async def test_rules_need_nobody(look: Look, rule: Rule, kind: type) -> None:
    decision = await Overseer(overseer=None, rules=(rule,)).decide(look(STEP))
    assert isinstance(decision, kind)


async def test_a_rule_comes_before_the_overseer(look: Look) -> None:
    policy = Overseer(rules=(Rule(when=Says(pattern="8"), then="accept"),))
    assert isinstance(await policy.decide(look(STEP)), Write)
    asked = Strict("stop")
    await Overseer(rules=(Rule(when=Repeats(), then="stop"),)).decide(look(STEP, aside=asked))
    assert asked.asked


async def test_the_last_unit_is_looked_at_before_main_answers(look: Look) -> None:
    rewound = await Overseer().decide(look(STEP, closed=True, aside=Strict("rewind")))
    assert isinstance(rewound, Rewind)
    closed = await Overseer().decide(look(STEP, closed=True, aside=Strict("accept")))
    assert isinstance(closed, Close)
