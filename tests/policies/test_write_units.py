from collections.abc import Callable

from collab import Sentence, Stop, View, Write
from collab.policies.write_units import WriteUnits

Look = Callable[..., View]
TWO = WriteUnits(writer="partner", until=Sentence(), total=2)


async def test_the_writer_writes_until_the_thinking_has_all_its_units(look: Look) -> None:
    decision = await TWO.decide(look(("main", "One.")))
    assert decision == Write("partner", Sentence(), why="partner writes this branch")
    assert isinstance(await TWO.decide(look(("main", "One."), ("partner", "Two."))), Stop)


async def test_a_closed_branch_stops_before_it_has_all_its_units(look: Look) -> None:
    assert isinstance(await TWO.decide(look(("partner", "One."), closed=True)), Stop)


def test_inserted_text_begins_on_a_line_of_its_own(look: Look) -> None:
    assert look().on_new_line("Wait.") == "Wait."
    assert look(("main", "One.\n")).on_new_line("Wait.") == "Wait."
    assert look(("main", "One.")).on_new_line("Wait.") == "\nWait."
    assert look(("main", "One.")).on_new_line("Plan.", gap="\n\n") == "\n\nPlan."
