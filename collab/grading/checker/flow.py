"""Iterators, generators and coroutines of the other process: read step by step, as they go."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

ENDS = (StopIteration, StopAsyncIteration)
"""The exceptions that end a loop; the program may not raise them into its tests."""
SINGLE = 1000
"""The number of items that are read one by one; the rest is read ahead in batches."""
BATCH = 200
MANY = 1_000_000
"""The number of items after which an iterator counts as endless."""


def on(remote: Any, verb: str, *args: object) -> Any:  # any: a handle, and whatever comes of it
    """Have the other process do something with the object of a handle."""
    return object.__getattribute__(remote, "_peer").ask(verb, remote, *args)


def generated(remote: Any) -> Any:  # any: a handle, and a generator
    """Read an iterator of the other process.

    Raises:
        OverflowError: It has too many items.
    """
    verb, given = "next", None
    for _ in range(SINGLE):
        more, item = on(remote, verb, given)
        if not more:
            return item
        try:
            verb, given = "next", (yield item)
        except GeneratorExit:
            raise
        except BaseException as error:
            verb, given = "throw", error
    return (yield from _batches(remote))


def _batches(remote: Any) -> Any:  # any: a value of the program
    read = SINGLE
    while read < MANY:
        items, more, last = on(remote, "take", BATCH)
        yield from items
        if not more:
            return last
        read += BATCH
    raise OverflowError(f"an iterator gave more than {MANY} items")


async def awaited(remote: Any) -> Any:  # any: a handle, and its result
    """Wait for a coroutine of the other process."""
    return on(remote, "await")


async def streamed(remote: Any) -> Any:  # any: a handle, and an asynchronous generator
    """Read an asynchronous generator of the other process."""
    while True:
        more, item = on(remote, "anext")
        if not more:
            return
        yield item


def step(read: Callable[[], Any]) -> list[Any]:  # any: an item
    """Read one item: whether there was one, and the item or the value at the end."""
    try:
        return [True, read()]
    except ENDS as end:
        return [False, getattr(end, "value", None)]


class Ahead:
    """Reads iterators ahead; an error that follows some items is raised at the next call."""

    def __init__(self) -> None:
        self._late: dict[int, Exception] = {}

    def take(self, it: Iterator[Any], count: int) -> list[Any]:  # any: items
        """Read some items: the items, whether more may follow, and the value at the end."""
        if id(it) in self._late:
            raise self._late.pop(id(it))
        items: list[Any] = []
        while len(items) < count:
            try:
                more, item = step(it.__next__)
            except Exception as error:
                if not items:
                    raise
                self._late[id(it)] = error
                break
            if not more:
                return [items, False, item]
            items.append(item)
        return [items, True, None]
