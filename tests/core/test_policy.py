from types import ModuleType
from typing import Annotated, ClassVar

import pytest
from pydantic import Field

import collab
from collab.core.decision import Decision, Stop
from collab.core.policy import Adviser, Policy, Role, View, Writer, reseated, seats_of
from collab.core.settings import Settings
from collab.errors import PolicyError
from collab.policies.alternate import Alternate
from collab.policies.overseer import Overseer
from collab.policies.until import Until


class Base(Settings):
    async def decide(self, view: View) -> Decision:
        return Stop("enough")


class Everyone(Base):
    main: Writer = "main"
    judge: Adviser = "judge"
    helpers: Annotated[tuple[Writer, ...], Field(min_length=1)] = ("one", "two")
    panel: tuple[Adviser, ...] = ()
    deputy: Writer | None = None
    critic: Annotated[Adviser | None, Field(description="asked last")] = None
    note: str = "main"
    times: int = 1


WRITER, ADVISER = Role("writer"), Role("adviser")


def test_seats_are_found_in_single_tuple_and_optional_fields() -> None:
    assert seats_of(Everyone()) == {
        "main": WRITER,
        "judge": ADVISER,
        "one": WRITER,
        "two": WRITER,
    }
    full = seats_of(Everyone(panel=("three",), deputy="four", critic="five"))
    assert (full["three"], full["four"], full["five"]) == (ADVISER, WRITER, ADVISER)


@pytest.mark.parametrize(
    "policy", [Everyone(judge="main"), Everyone(panel=("two",)), Everyone(critic="main")]
)
def test_one_seat_cannot_be_a_writer_and_an_adviser(policy: Everyone) -> None:
    with pytest.raises(PolicyError, match="both a writer and an adviser"):
        seats_of(policy)


def test_one_seat_may_be_named_twice_for_one_role() -> None:
    assert seats_of(Everyone(deputy="main", helpers=("main", "main"))) == {
        "main": WRITER,
        "judge": ADVISER,
    }


def test_a_policy_that_is_no_settings_value_is_one_all_the_same() -> None:
    class Plain:
        needs: ClassVar[frozenset[str]] = frozenset()

        async def decide(self, view: View) -> Decision:
            return Stop("enough")

    plain = Plain()
    assert isinstance(plain, Policy)
    assert seats_of(plain) == {}
    assert isinstance(Everyone(), Policy)
    assert not isinstance(Settings(), Policy)


def test_a_policy_is_put_on_other_seats_wherever_it_names_them() -> None:
    policy = Until(policy=Alternate(seats=("main", "partner", "third")), answerer="partner")
    moved = reseated(policy, {"main": "small", "partner": "big"})
    assert moved == Until(policy=Alternate(seats=("small", "big", "third")), answerer="big")
    assert reseated(Overseer(overseer=None), {"main": "x"}) == Overseer(main="x", overseer=None)
    assert Alternate() == Alternate(seats=("main", "partner"))


def test_every_public_name_is_there_and_they_are_sorted() -> None:
    assert collab.__all__ == sorted(collab.__all__)
    assert all(hasattr(collab, name) for name in collab.__all__)
    here = {name for name, value in vars(collab).items() if not isinstance(value, ModuleType)}
    public = {name for name in here if not name.startswith("_")} - {"TYPE_CHECKING"}
    assert public == set(collab.__all__)
