"""A tool in a seat computes what the thinking asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from pydantic import ValidationError

from collab import Close, Decision, Insert, Message, Question, Regex, Settings, Stop, Unit, View
from collab.core.boundary import Sentence
from collab.core.decision import Write
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.errors import PolicyError
from collab.policies.tool import UseTool
from collab.reasoners.tool import MOST, Tool, tool_text
from collab.sandbox import ProgramLimits, ProgramResult
from collab.sandbox.bubblewrap import Bubblewrap
from collab.sandbox.unsafe import UnsafeSubprocess
from collab.store.store import Store
from collab.testing import check_policy

Look = Callable[..., View]
QUESTION = Question("q", (Message("user", "12 * 12?"),))
CODE = Unit("main", "<code>\n12 * 12\n</code>", "signal")
SUM = UseTool(
    until=Regex(pattern=r"\d+ plus \d+ is"),
    asks=r"(\d+ plus \d+) is",
    program='eval("{}".replace("plus", "+"))',
    shows=" {}",
)


@dataclass
class Computing:
    """Says one thing, and keeps what it was asked."""

    asked: list[str] = field(default_factory=list)

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        assert seat == "tool"
        self.asked.append(inquiry.text)
        return SideAnswer("144")

    async def score(self, seat: str, text: str) -> Likelihood:
        raise AssertionError

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        raise AssertionError


async def test_what_stands_in_the_tags_is_computed_and_the_result_is_inserted(look: Look) -> None:
    aside = Computing()
    decision = await UseTool().decide(look(("main", "So "), CODE, aside=aside))
    assert isinstance(decision, Insert)
    assert (decision.seat, decision.text) == ("tool", "\n<output>\n144\n</output>\n")
    assert aside.asked == ["\n12 * 12\n"]


async def test_a_sum_before_its_result_is_computed(look: Look) -> None:
    aside = Computing()
    decision = await SUM.decide(look(("main", "Mia has 3. 3 plus 4 is"), aside=aside))
    assert isinstance(decision, Insert)
    assert decision.text == " 144"
    assert aside.asked == ['eval("3 plus 4".replace("plus", "+"))']


async def test_main_writes_on_where_nothing_is_asked_for(look: Look) -> None:
    shown = Unit("tool", "\n<output>\n144\n</output>\n", "inserted")
    for written in ([], [("main", "So.")], [CODE, shown], [("other", "<code>1</code>")]):
        decision = await UseTool().decide(look(*written))
        assert isinstance(decision, Write)
        assert decision.seat == "main"
    assert isinstance(await UseTool(calls=1).decide(look(CODE, shown, CODE)), Write)
    assert isinstance(await UseTool().decide(look(CODE, closed=True)), Close)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"asks": "<code>.*</code>"}, "has no group"),
        ({"asks": "("}, "is not a regular expression"),
        ({"shows": "So:"}, "has no {} to be replaced"),
        ({"shows": "{} "}, "ends in a space"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(setting: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        UseTool.model_validate(setting)


def test_calls_are_answered_one_after_the_other() -> None:
    inserted = 0
    for episode in check_policy(UseTool()):
        units = episode.trajectory.units
        for before, unit in pairwise(units):
            if unit.author == "tool":
                assert (before.kind, unit.kind) == ("signal", "inserted")
                inserted += 1
    assert inserted


class Asking(Settings):
    """Ask the tool once, and stop with what it says."""

    program: str

    async def decide(self, view: View) -> Decision:
        return Stop(await view.ask("tool", self.program))


async def asked(tool: Tool, program: str) -> Episode:
    case = Case("case", QUESTION, Asking(program=program))
    return await play_case(case, Team({"tool": tool}), until=Sentence(), budget=99)


async def said(tool: Tool, program: str) -> str:
    return str(getattr((await asked(tool, program)).trajectory.log[-1], "why", None))


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("12 * 12", "144"),
        ("```python\nx = 3\nprint(x)\nx + 4\n```", "3\n7"),
        ("x = 3", "(it printed nothing)"),
        ("print(1)\n1 / 0", "1\nZeroDivisionError: division by zero"),
        ("while True: pass", "(stopped: it took too long)"),
        ("print('x' * 10**6)", "(stopped: it printed too much)"),
        ("2 +", "SyntaxError: invalid syntax"),
    ],
)
async def test_a_program_is_run_as_a_notebook_does(
    store: Store, program: str, printed: str
) -> None:
    limits = ProgramLimits(seconds=1, output=10_000)
    text = await said(Tool(UnsafeSubprocess(), store, limits=limits), program)
    assert text == printed or text.endswith(f" more characters)\n{printed}")


async def test_a_program_is_run_once_and_its_output_is_stored(store: Store) -> None:
    tool = Tool(UnsafeSubprocess(), store)
    first = await asked(tool, "import random; random.random()")
    again = await asked(tool, "import random; random.random()")
    assert again.trajectory == first.trajectory
    assert (first.sampled, again.sampled) == (1, 0)


@pytest.mark.usefixtures("bwrap")
async def test_in_the_sandbox_a_program_finds_nothing_of_ours(store: Store) -> None:
    tool = Tool(Bubblewrap(), store)
    assert await said(tool, "import os; 'home' in os.listdir('/'), len(os.environ) < 12") == (
        "(False, True)"
    )


def test_of_a_long_output_the_begin_is_passed_on() -> None:
    text = tool_text(ProgramResult(0, "x" * (MOST + 5), ""))
    assert text == "x" * MOST + "\n(5 more characters)"
    assert tool_text(ProgramResult(3, "", "")) == "(ended with exit code 3)"


@pytest.mark.parametrize("decide", ["write", "score"])
async def test_a_tool_holds_no_pen_and_scores_nothing(store: Store, decide: str) -> None:
    class Misusing(Settings):
        async def decide(self, view: View) -> Decision:
            if decide == "score":
                await view.score("7", "tool")
            return Write("tool")

    case = Case("case", QUESTION, Misusing())
    team = Team({"tool": Tool(UnsafeSubprocess(), store)})
    with pytest.raises(PolicyError, match="is a tool"):
        await play_case(case, team, until=Sentence(), budget=9)
