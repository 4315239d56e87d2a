"""Multiple choice: the answer is the letter of an option, or its text.

The last box counts. Without one, the option that the reply states counts, before options that it
only names. A reply that states two options has stated none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from string import ascii_uppercase
from unicodedata import normalize

from collab.core.trajectory import Question
from collab.grading import Judgement
from collab.grading.choice_patterns import (
    ALTERNATIVE,
    ANSWER,
    BRACKETED,
    CYRILLIC,
    DENIED,
    HEARSAY,
    IS,
    NAMED,
    ORDINAL,
    ORDINALS,
    STATEMENTS,
)
from collab.grading.reply import boxes, marked

TAIL = 2_000
"""How many characters of a text without a box are searched: its end."""
FONT = re.compile(
    r"\\(?:text|math)?(?:bf|it|rm|tt|sf|sl|normal|up|md|cal)(?:series|shape|family)?\b"
)
GROUP = re.compile(r"\\(?:text\w*|math\w*|mbox|operatorname|emph|underline)\s*\{([^{}]*)\}")
SEVERAL = re.compile(
    r"\(?[A-Za-z]\)?(?:\s*(?:,|;|/|\bor\b|\band\b|&)+\s*\(?[A-Za-z]\)?(?![\w]))+\.?", re.IGNORECASE
)
"""A list of letters only: `A or C`, `A, C`."""
HEAD = re.compile(
    r"\(?(?:(?:option|choice|answer)\W{1,3})?([A-Za-z])(?:$|[).:,;\]\-–—]|\s*[-–—:=]\s)",
    re.IGNORECASE,
)
"""A letter at the beginning of a text, separated from the rest."""
HEAD_WORD = re.compile(r"\(?([A-Za-z])\)?\s+(\S.*)", re.DOTALL)
NEGATED = (
    r"\b(?:not|never|neither|nor|rather than|instead of|unlike|isn['’]t|aren['’]t|wasn['’]t)\s+"
    r"(?:\w+\s+)??(?:(?:the|an?)\s+)?"
)
"""Before the text of an option: the reply rules it out."""
WORDS = {"yes", "no", "true", "false"}
"""Options that are common words: they count only where they are the answer of a sentence."""


class ChoiceGrader:
    """Reads the option from the last box, or without a box from the end of the text."""

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking."""
        options = question.options
        letters = ascii_uppercase[: len(options)]
        box = _last_box(text)
        found, by = _option(box, options, letters) if box else None, "box"
        if found is None and not (box and SEVERAL.fullmatch(_plain(box))):
            around = text.replace(box, " ") if box else text  # the box itself names no option
            found, by = _unboxed(around[-TAIL:], options, letters)
        if found is None:
            return Judgement("no answer" if box is None else "wrong", None, False, box)
        right = found == question.answer
        strict = right and by == "box"
        return Judgement("correct" if right else "wrong", right, strict, found, by)


def _last_box(text: str) -> str | None:
    r"""Return the inside of the last closed `\boxed`, or else of the last frame."""
    found = [one for one in boxes(text) if one.closed]
    asked = [one for one in found if one.asked] or found
    return asked[-1].inside if asked else None


def _option(said: str, options: Sequence[str], letters: str) -> str | None:
    """Return the option that a box or a mark names: by its letter, or by its text."""
    text = _plain(said).translate(CYRILLIC)
    texts = [_plain(option) for option in options]
    if len(text) == 1 and text.upper() in letters and (text.isupper() or text not in texts):
        return text.upper()
    if by_text := _same_text(text, options, letters):
        return by_text
    if SEVERAL.fullmatch(text):
        return None
    head = HEAD.match(text)
    if head and head[1].upper() in letters:
        return head[1].upper()
    word = HEAD_WORD.match(text)  # `C carbon`, but not the article of `A blue sky`
    if word and word[1].upper() in letters:
        named = _plain(options[letters.index(word[1].upper())])
        rest = word[2].strip(" :.-")
        if word[1] not in "AaI" or rest.casefold() == named.casefold():
            return word[1].upper()
    return _stated(text, letters)[0]


def _same_text(text: str, options: Sequence[str], letters: str) -> str | None:
    """Return the only option with a text, with its number, or with the text and an article."""
    texts = [_closely(_plain(option)) for option in options]
    wanted = _closely(text)
    bare = re.sub(r"^(?:an?|the) ", "", wanted)
    for same in (wanted, bare):
        if texts.count(same) == 1:
            return letters[texts.index(same)]
    if re.fullmatch(r"-?[\d.,]+", wanted):
        near = [
            n
            for n, option in enumerate(texts)
            if re.match(rf"{re.escape(wanted)}(?![\d.,])", option)
        ]
        return letters[near[0]] if len(near) == 1 else None
    return None


def _closely(text: str) -> str:
    """Return a text without regard to case and, in a formula, to spaces."""
    return (re.sub(r"\s", "", text) if "\\" in text else text).casefold()


def _plain(text: str) -> str:
    """Take off fonts, dollars, emphasis and outer marks."""
    text = FONT.sub(" ", normalize("NFKC", text)).replace("\\dfrac", "\\frac")
    text = text.replace("\\tfrac", "\\frac")
    while (inner := GROUP.sub(r"\1", text)) != text:
        text = inner
    return " ".join(re.sub(r"[$*`{}]|\\[,;! ]", " ", text).strip(" .").split())


def _unboxed(text: str, options: Sequence[str], letters: str) -> tuple[str | None, str]:
    """Return the option of a text without a box, and the rule that found it."""
    if (tagged := marked(text)) and (found := _option(tagged, options, letters)):
        return found, "mark"
    lines = [_plain(line) for line in text.splitlines()]
    text = BRACKETED.sub(lambda found: found[0].upper(), "\n".join(lines).strip())
    text = HEARSAY.sub(" ", re.sub(r"(?<!\w)[АВСЕНКМОРТХ](?!\w)", _latin, text))
    text = DENIED.sub(" ", text)
    if SEVERAL.fullmatch(text.strip()):
        return None, "stated"
    found, several = _stated(text, letters)
    if found or several:
        return found, "stated"
    if found := _texted(text, options, letters):
        return found, "option text"
    named = [one or other for one, other in NAMED.findall(text)]
    last = next((letter for letter in reversed(named) if letter in letters), None)
    if last is None and (places := [*_places(text, letters)]):
        last = places[-1]
    return last, "named" if last else ""


def _latin(found: re.Match[str]) -> str:
    return found[0].translate(CYRILLIC)


def _stated(text: str, letters: str) -> tuple[str | None, bool]:
    """Return the letter of the last statement, and whether that statement has several."""
    found = [
        (one.start("letter"), one.end("letter"), one["letter"].upper())
        for statement in STATEMENTS
        for one in statement.pattern.finditer(text)
        if one["letter"].upper() in letters
    ]
    if not found:
        return None, False
    _, end, letter = max(found)
    if ALTERNATIVE.match(text, end + len(re.match(r"[)\]}\"”'’]*", text[end:])[0])):  # type: ignore[index]  # matches always
        return None, True
    return letter, False


def _places(text: str, letters: str) -> Iterator[str]:
    """Yield the letters of options that are named by their place."""
    for found in ORDINAL.finditer(text):
        word = (found[1] or "").lower()
        number = int(found[2]) - 1 if found[2] else len(letters) - 1
        if word in ORDINALS:
            number = ORDINALS.index(word)
        if number < len(letters):
            yield letters[number]


def _texted(text: str, options: Sequence[str], letters: str) -> str | None:
    """Return the option whose text the reply states, or the only one in its last sentence."""
    if NAMED.search(text):
        return None
    texts = [_plain(option) for option in options]
    if {option.casefold() for option in texts} <= WORDS and len(texts) == 2:
        return _worded(text, texts, letters)
    longest = sorted(zip(texts, letters, strict=False), key=lambda pair: -len(pair[0]))
    one_of = "|".join(re.escape(option) for option, _ in longest if option)
    stated = [
        *re.finditer(
            rf"{ANSWER}[^\n.;:：]{{0,40}}?{IS}\W{{0,3}}(?:(?:an?|the)\s)?({one_of})(?!\w)",
            text,
            re.IGNORECASE,
        )
    ]
    by_text = {option.casefold(): letter for option, letter in longest}
    if stated:
        return by_text.get(stated[-1][1].casefold())
    sentences = [one for one in re.split(r"(?<=[.!?。])\s+|\n", text) if one.strip()]
    last = re.sub(
        rf"{NEGATED}(?:{one_of})(?:(?:\s*,)?\s*(?:or|nor|and|,)\s(?:{one_of}))*(?!\w)",
        " ",
        sentences[-1] if sentences else "",
        flags=re.IGNORECASE,
    )
    found = []
    for option, letter in longest:
        if option and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", last, re.IGNORECASE):
            found.append(letter)
            last = re.sub(rf"(?<!\w){re.escape(option)}(?!\w)", " ", last, flags=re.IGNORECASE)
    return found[0] if len(found) == 1 else None


def _worded(text: str, texts: Sequence[str], letters: str) -> str | None:
    """Return the option of a yes-or-no reply, or of `is (not) true`."""
    one_of = "|".join(map(re.escape, texts))
    verbs = r"(?:is|are|was|were|it['’]s|that['’]s|be|ist|est|es)"
    after_verb = one_of if "no" not in map(str.casefold, texts) else r"(?!)"  # `there is no way`
    pattern = re.compile(
        rf"(?:^|(?<=[.!?]\s)|{ANSWER}\W{{0,3}}(?:{IS})?)\W{{0,3}}(?P<first>{one_of})"
        r"(?=\W*(?:$|[.!,;:]|because|since))"
        rf"|\b{verbs}\s+(?P<no>(?:not|never)\s+)?(?:\w+ly\s+)?(?P<said>{after_verb})(?!\w)",
        re.IGNORECASE | re.MULTILINE,
    )
    found = None
    for one in pattern.finditer(text):
        word = (one["first"] or one["said"]).casefold()
        place = [option.casefold() for option in texts].index(word)
        found = letters[1 - place if one["no"] else place]
    return found
