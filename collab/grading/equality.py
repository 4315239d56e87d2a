"""Compare two maths answers: by a few rules, or else by math-verify.

A rule returns None if it does not apply. The first rule that decides names the judgement.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from collab.grading.normal_form import normal, plain
from collab.grading.quantity import clock, numeral, quantity, same, same_time
from collab.grading.ranges import as_interval
from collab.grading.structure import Group, group, sides, split

MATHS = "math-verify"
DEPTH = 4
"""How deep lists in lists are compared by their elements."""
FIGURES = re.compile(r"\d+(?:\.\d+)?")
SIMPLE = 2
"""Numbers in a text that math-verify may search for one where it cannot read the whole."""
CLOSE = 1e-4
EXACT = 1e-20
VOWELS = re.compile("[aeiou]", re.IGNORECASE)
DENIAL = re.compile(r"\b(?:wrong|incorrect|not|false|nor|isn't|cannot)\b", re.IGNORECASE)
UNEQUAL = re.compile(r"\w?\s*\\neq?(?![A-Za-z])[^,;]*")
PROSE = re.compile(r"(?<!\\)\b[^\W\d_]{3,}")
TEXTS = re.compile(r"«([^»]*)»")
EMPTY = re.compile(
    r"(?:there (?:is|are) )?(?:no (?:real |integer |such )?(?:solutions?|values?|roots?)"
    r"|(?:the )?empty set|none)(?: exists?)?",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_]+(?:[ '-]+[^\W\d_]+|,? \d{1,4}(?:st|nd|rd|th)?\b|\.)*")
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
DATE = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({MONTH})\b", re.IGNORECASE)
ARTICLE = re.compile(r"^(?:the|a|an) ")
OPTION = re.compile(r"\(?([A-Za-z])\)?")
CHOSEN = re.compile(r"(?:\(([A-Za-z])\)|([A-Z])[.):])\s*.*", re.DOTALL)
PRODUCT = set("abcdkmnpqrxyz")
"""Letters whose short strings are products of variables, not words."""
DOTS = re.compile(r"\\[lcd]?dots|\.\.\.")
NAME = (
    r"(?:\\?[A-Za-z]+(?:_\s*(?:\{[^{}]*\}|\w))?'?(?:\s*\([A-Za-z, ]+\))?"
    r"|\(\s*[a-z](?:\s*,\s*[a-z])*\s*\))"
)
TRIG = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
DEGREES = re.compile(r"(\d+\.?\d*)\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)")
ASSIGNED = re.compile(rf"\s*({NAME}(?:\s*:\s*{NAME})?)\s*=(?![=])\s*(.+)", re.DOTALL)
FUNCTION = re.compile(r"[a-zA-Z]\s*\([a-z]\)")


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer in its normal form, and with its texts set apart."""

    form: str
    plain: str

    @classmethod
    def of(cls, text: str) -> Reading:
        """Read a text."""
        form = normal(text)
        return cls(form, plain(form))


logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time limit

RuleVerdict = bool | None
Decider = Callable[[Reading, Reading, int], RuleVerdict]


def compare(gold: str, answer: str, depth: int = 0) -> tuple[bool, str]:
    """Return whether an answer equals the gold one, and the rule that decided; may run for ever."""
    one, other = Reading.of(gold), Reading.of(answer)
    if _tight(gold) == _tight(answer) != "":
        return True, "same text"
    for name, decide in DECIDERS.items():
        decided = decide(one, other, depth)
        if decided is not None:
            return decided, name
    return _math_verify(one, other), MATHS


def readable(gold: str) -> bool:
    """Return whether a gold answer can be read; may run for ever."""
    read = Reading.of(gold)
    if not read.form:
        return False
    by_rule = quantity(read.plain) or clock(read.plain) or numeral(read.plain) or _word(read.plain)
    return bool(by_rule) or bool(parsed(read.form))


def is_sure(text: str) -> bool:
    """Return whether a statement is an answer without prose: a value, a bound, a denial."""
    read = Reading.of(text)
    if quantity(read.plain) or as_interval(read.plain) or DENIAL.match(text):
        return True
    return PROSE.search(re.sub(r"\b(?:and|or|between)\b", "", read.plain)) is None


def _letters(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Texts that are the same but for spaces are one answer."""
    return _tight(gold.form) == _tight(answer.form) or None


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _denied(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """A box that denies its own content gives no answer: `5 is wrong`."""
    said = " ".join(TEXTS.findall(answer.plain)) or answer.plain
    known = " ".join(TEXTS.findall(gold.plain)) or gold.plain
    if UNEQUAL.fullmatch(answer.form) and r"\ne" not in gold.form:
        return False
    return False if DENIAL.search(said) and not DENIAL.search(known) else None


def _clock(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Times of day are equal by hour and minute: 20:34 is 8:34 p. m., 10:20 is not 5:10."""
    one, other = clock(gold.plain), clock(answer.plain)
    if one is None or other is None:
        rest = answer if one else gold
        return False if (one or other) and quantity(rest.plain) else None
    return same_time(one, other)


def _numeral(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Digits in a base are equal by value, or as digits where a side leaves the base out."""
    one, other = numeral(gold.plain), numeral(answer.plain)
    if one and other:
        return one == other or (one.value is not None and one.value == other.value)
    if not (named := one or other):
        return None
    if "_" in gold.plain and "_" in answer.plain:
        return False
    bare = (answer if one else gold).plain
    if bare.strip("() ").lstrip("0").upper() == named.digits:
        return True
    read = quantity(bare)
    return None if read is None else read.value == named.value


def _number(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Numbers and quantities are equal by value, a decimal within a relative 1e-4."""
    one = quantity(gold.plain)
    other = quantity(answer.plain)
    if one is None or other is None:
        comma = _decimal_comma(gold.form, answer.form)
        return comma or (False if one and other is None and _word(answer.plain) else None)
    return same(one, other)


def _decimal_comma(gold: str, answer: str) -> RuleVerdict:
    """Read 1,22 as 1.22 where the other side is that number; 1,2 is two numbers."""
    pairs = ((gold, answer, r"-?(?:0,\d+|\d+,(?:\d\d|\d{4,}))"), (answer, gold, r"-?\d+,\d+"))
    for comma, point, form in pairs:
        if re.fullmatch(form, comma) and re.fullmatch(r"-?\d+\.\d+", point):
            return comma.replace(",", ".") == point or None
    return None


def _option(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """A letter followed by an option's text is that letter: (C) Plane."""
    wanted = OPTION.fullmatch(_words(gold.plain))
    if wanted is None:
        return None
    said = TEXTS.sub(r"\1", answer.plain).strip()
    if (bare := OPTION.fullmatch(said)) is not None:
        return bare[1].lower() == wanted[1].lower() or None
    chosen = CHOSEN.fullmatch(said)
    return None if chosen is None else (chosen[1] or chosen[2]).lower() == wanted[1].lower()


def _empty(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """No solution is the empty set."""
    one, other = (_is_empty(side) for side in (gold, answer))
    return True if one and other else None


def _is_empty(side: Reading) -> bool:
    return side.form == r"\emptyset" or EMPTY.fullmatch(_words(side.plain)) is not None


def _spelt(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Words are equal letter by letter: tea is not eat."""
    one, other = _word(gold.plain), _word(answer.plain)
    if one is None or other is None:
        return None
    if one == other:
        return True
    return None if _variables(gold) and _variables(answer) else False


def _word(text: str) -> str | None:
    """Return the words that a text consists of, small and without articles; else None."""
    said = DATE.sub(r"\2 \1", _words(text))
    if not WORD.fullmatch(said) or (len(said) < 2 or (said.isascii() and _is_product(text, said))):
        return None
    said = re.sub(r"[.,]", "", said).lower().replace("-", " ")
    said = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", said)
    return ARTICLE.sub("", re.sub(r"\s+", " ", said)).strip()


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("«", " ").replace("»", " ")).strip(" .!\"'")


def _is_product(text: str, said: str) -> bool:
    return "«" not in text and (len(said) < 3 or (len(said) == 3 and not VOWELS.search(said)))


def _variables(side: Reading) -> bool:
    return "«" not in side.plain and len(side.form) <= 3 and set(side.form) <= PRODUCT


def _dots(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """An open list is equal term by term: 1, 2, ... is not 1, 3, ..."""
    if not (DOTS.search(gold.form) and "," in gold.form):
        return None
    one, other = split(gold.form), split(answer.form)
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(_alike(*pair, depth) for pair in pairs)


def _alike(gold: str, answer: str, depth: int) -> bool:
    if DOTS.fullmatch(gold.strip()):
        return DOTS.fullmatch(answer.strip()) is not None
    return compare(gold, answer, depth + 1)[0]


def _interval(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Bounds and inequalities of one variable are intervals: 5 or more is [5, oo)."""
    one, other = as_interval(gold.plain), as_interval(answer.plain)
    if one is None and other is None:
        return None
    if one and other and one.variable and other.variable and one.variable != other.variable:
        return None
    left = one.form if one else gold.form
    right = other.form if other else answer.form
    if not (re.match(r"\s*[(\[]", left) and re.match(r"\s*[(\[]", right)):
        return False if quantity(gold.plain) or quantity(answer.plain) else None
    return compare(left, right, depth + 1)[0] or None


def _sides(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Of `a + b = c` the last side counts, and a name before `=` is no part of the answer."""
    if depth >= DEPTH:
        return None
    one, other = ASSIGNED.fullmatch(gold.form), ASSIGNED.fullmatch(answer.form)
    if one and "=" not in answer.form and not re.search(r"[=<>]|\\[lg]e ", one[2]):
        return compare(one[2], answer.form, depth + 1)[0] or None
    if one and other and _named_alike(one[1], other[1]):
        return compare(one[2], other[2], depth + 1)[0] or None
    if "=" in gold.form or "approx" in gold.form:
        return None
    found = sides(answer.form)
    return any(compare(gold.form, side, depth + 1)[0] for side in found) or None


def _named_alike(one: str, other: str) -> bool:
    left, right = _tight(one), _tight(other)
    functions = [name == "y" or FUNCTION.fullmatch(name) is not None for name in (left, right)]
    return left == right or (all(functions) and ("y" in (left, right) or left[0] == right[0]))


def _elements(gold: Reading, answer: Reading, depth: int) -> RuleVerdict:
    """Lists and sets are equal in any order, tuples and intervals in theirs."""
    if depth >= DEPTH:
        return None
    one, other = group(gold.form), group(answer.form)
    if one is None or other is None:
        return None
    fits = _fits(one, other)
    if fits and len(one.parts) == len(other.parts):
        matched = _matched if one.unordered else _in_order
        if matched(one, other, depth):
            return True
    elif not fits and not (one.closing and other.closing):
        return None
    numbers = all(quantity(plain(part)) for part in (*one.parts, *other.parts))
    return False if numbers else None


def _fits(one: Group, other: Group) -> bool:
    if one.unordered or other.unordered:
        return one.unordered and other.unordered
    return (one.opening, one.closing) == (other.opening, other.closing)


def _in_order(one: Group, other: Group, depth: int) -> bool:
    return all(
        compare(left, right, depth + 1)[0]
        for left, right in zip(one.parts, other.parts, strict=True)
    )


def _matched(one: Group, other: Group, depth: int) -> bool:
    left = list(other.parts)
    for part in one.parts:
        equal = (nth for nth, said in enumerate(left) if compare(part, said, depth + 1)[0])
        if (found := next(equal, None)) is None:
            return False
        left.pop(found)
    return True


DECIDERS: dict[str, Decider] = {
    "same text": _letters,
    "denial": _denied,
    "time of day": _clock,
    "number base": _numeral,
    "number": _number,
    "option": _option,
    "empty set": _empty,
    "words": _spelt,
    "continued list": _dots,
    "interval": _interval,
    "sides": _sides,
    "elements": _elements,
}
"""The rules in their order; math-verify comes last."""


@lru_cache(maxsize=512)
def parsed(form: str) -> tuple[Any, ...]:  # any: sympy has no types
    """Read a normal form with math-verify."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    if TRIG.search(form):
        form = DEGREES.sub(r"\\frac{\1\\pi}{180}", form)
    kinds = [LatexExtractionConfig(), ExprExtractionConfig()]
    if len(FIGURES.findall(form)) > SIMPLE:  # else an unreadable text has any value
        kinds.pop()
    found = parse(f"${form}$", kinds, parsing_timeout=None)
    return tuple(one for one in found if not isinstance(one, str) or _is_whole(one))


def _is_whole(text: str) -> bool:
    """Return whether math-verify kept all of a text that it cannot read."""
    return text.count("{") == text.count("}")


def _math_verify(gold: Reading, answer: Reading) -> bool:
    from math_verify import verify

    expected, said = parsed(gold.form), parsed(answer.form)
    if not expected or not said:
        return False
    near = _near(expected[0], said[0], gold.form, answer.form)
    return verify([*expected], [*said], timeout_seconds=None) if near is None else near


def _complex(value: Any) -> Any:  # any: sympy has no types
    """Read the letter i of a value that has no other letter as the imaginary unit."""
    from sympy import I  # type: ignore[import-untyped]  # it has no stubs

    names = {symbol.name: symbol for symbol in value.free_symbols}
    return value.subs(names["i"], I).expand() if set(names) == {"i"} else value


def _near(gold: Any, answer: Any, one: str, other: str) -> RuleVerdict:  # any: sympy has no types
    """Compare two values of any size with a relative error, None where a side is no number.

    math-verify rounds to 6 places and to 15 digits, so that all tiny values are one.
    """
    try:
        real = not (gold.free_symbols or answer.free_symbols)
        gold, answer = _complex(gold), _complex(answer)
        if not (gold.is_number and answer.is_number) or gold.is_infinite or answer.is_infinite:
            return None
        if gold == answer:
            return True
        left, right = gold.doit().evalf(30), answer.doit().evalf(30)
        decimal = re.search(r"\d\.\d|\.\d", one + " " + other) is not None
        inexact = decimal and re.fullmatch(r"-?\d+", one) is None
        gap = abs(left - right) / max(abs(left), abs(right))
        if gap > (CLOSE if inexact else EXACT):
            return False
        return None if real and not inexact else True
    except Exception:  # math-verify judges what sympy cannot evaluate
        return None
