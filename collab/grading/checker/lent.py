"""The things that one process has lent to the other, by number."""

from __future__ import annotations


class Lent:
    """A list in which each object has one number."""

    def __init__(self) -> None:
        self._things: list[object] = []
        self._numbers: dict[int, int] = {}
        self._mark = 0

    def number(self, it: object) -> int:
        """Return the number of an object; it is kept, so that its id stays its own."""
        number = self._numbers.setdefault(id(it), len(self._things))
        if number == len(self._things):
            self._things.append(it)
        return number

    def thing(self, number: int) -> object:
        """Return what has a number.

        Raises:
            ValueError: Nothing was lent under it.
        """
        if type(number) is not int or not 0 <= number < len(self._things):
            raise ValueError(f"nothing was lent as {number!r}")
        return self._things[number]

    def mark(self) -> int:
        """Mark the end of the list, and return its length."""
        self._mark = len(self._things)
        return self._mark

    def rewind(self) -> int:
        """Forget what was lent since the mark, and return the length that is left."""
        del self._things[self._mark :]
        self._numbers = {id(it): number for number, it in enumerate(self._things)}
        return self._mark
