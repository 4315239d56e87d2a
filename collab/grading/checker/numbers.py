"""Numpy's comparisons of numbers: an empty result is close to nothing but an empty one."""

from __future__ import annotations

from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ANSWERS = ("allclose", "isclose", "array_equiv")
"""Functions that would say that an empty array is close to any number."""
ASSERTIONS = (
    *("assert_allclose", "assert_almost_equal", "assert_approx_equal", "assert_equal"),
    *("assert_array_almost_equal", "assert_array_equal", "assert_array_max_ulp"),
)


def guard(text: str) -> None:
    """Mend the comparisons that tests name."""
    if "close" not in text and "array_equiv" not in text and "assert_" not in text:
        return
    try:
        import numpy
    except ImportError:
        return
    for name in ANSWERS:
        setattr(numpy, name, _guarded(getattr(numpy, name), fails=False))
    if "assert_" in text:
        import numpy.testing

        for name in ASSERTIONS:
            setattr(numpy.testing, name, _guarded(getattr(numpy.testing, name), fails=True))


def _guarded(compare: Callable[..., Any], *, fails: bool) -> Callable[..., Any]:  # any: numpy's
    import numpy

    if hasattr(compare, "is_guarded"):
        return compare

    @wraps(compare)
    def guarded(one: Any, other: Any, *args: Any, **named: Any) -> Any:
        if (numpy.size(one) == 0) != (numpy.size(other) == 0):
            if fails:
                raise AssertionError(f"{one!r} is not like {other!r}: one of them is empty")
            return False
        return compare(one, other, *args, **named)

    guarded.is_guarded = True  # type: ignore[attr-defined]  # a mark of ours
    return guarded
