"""Multiple choice: the answer is the letter of an option, or its text.

The last box counts. Without one, the letter that the reply states counts, before letters that it
only names. The rules below are tried in order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from unicodedata import normalize

from collab.core.trajectory import Question
from collab.grading import Judgement
from collab.grading.maths import last_box
from collab.grading.reply import marked

END = 2_000
"""How many characters of a text without a box are searched: its end."""
FONT = re.compile(
    r"\\(?:text|math)?(?:bf|it|rm|tt|sf|sl|normal|up|md|cal)(?:series|shape|family)?\b"
)
GROUP = re.compile(r"\\(?:text\w*|math\w*|mbox|operatorname|emph|underline)\s*\{([^{}]*)\}")
LETTER = r"(?<![A-Za-z0-9_])[(\[{\"“'‘]*(?P<letter>(?-i:[A-Z]))(?![A-Za-z0-9_'’])[)\]}\"”'’]*"
ANSWER = (
    r"(?:\b(?:answer|choice|option|solution|letter|antwort|lösung|réponse|respuesta|opción|resposta"
    r"|risposta|svar|odpowiedź|cevap)\b|ответ|вариант|答案|答え|答|正解|选项|選項|정답|답)"
)
IS = (
    r"(?:\s*(?:[:：=→]|\b(?:is|be|was|ist|lautet|est|es|è|é|is:)\b|是|为|為|は|은|는)"
    r"(?:\s*(?:la|le|die|der|das|o|therefore|thus|then|clearly|definitely|indeed|simply|just|the|option|choice|letter"
    r"|answer|选项|also)\b,?)*\s*[:：]?\s*)+"
)
STATED = [
    rf"{ANSWER}[^\n.;:：]{{0,40}}?{IS}{LETTER}",  # the answer (to this) is (C)
    rf"{ANSWER}\W{{0,4}}{LETTER}\s*(?:[.!]?\s*$|[.!]\s)",  # Answer C.
    rf"{LETTER}(?:\s[^\n.,;]{{1,30}}?)?\s(?:is|was|must be|has to be)(?:\s\w+ly|\sindeed|\sthus)?"
    r"\s(?:the\s)?(?:only\s)?(?:correct|right|true|best|valid|answer|one)\b",  # C is correct
    r"\b(?:choose|chose|pick|select|go(?:ing)? (?:with|for)|settle (?:on|for)|opt for|elijo|wähle)"
    rf"\s(?:(?:option|choice|answer|letter)\s)?{LETTER}",  # I choose C
    rf"(?:选择?|選擇?)\s*{LETTER}",
    rf"\bonly\s(?:(?:option|choice)\s)?{LETTER}\s(?:works|fits|remains|holds|is left)\b",
    rf"\bleav(?:es|ing)\s(?:(?:us|only|with|option|choice)\s)*{LETTER}",
    r"\b(?:it|that|this)(?:['’]s|\sis|\smust be|\shas to be|\sshould be)"
    rf"\s(?:(?:therefore|thus|option|choice|letter|clearly)\s)*{LETTER}(?=\s*(?:[.!,:;)]|$)|\s(?:because|since|as|for|\())",
    rf"\b(?:so|hence|thus|therefore|donc|also|also:)\W{{1,3}}(?:(?:option|choice)\s)?{LETTER}"
    r"(?=\s*(?:[.!]|$))",  # So (C).
]
"""How a reply states its answer. The last statement counts: it may correct an earlier one."""
STATES = [re.compile(form, re.MULTILINE | re.IGNORECASE) for form in STATED]
DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot be|rather than|instead of|unlike)\b|n['’]t(?: be)?)\s+"
    r"(?:(?:be|option|choice|answer|the|simply|just|either)\s+)*[(\[\"']?[A-Z](?![\w'’])[)\]\"']?"
    r"(?:\s*(?:,|or|nor|and)\s*[(\[]?[A-Z](?![\w'’])[)\]]?)*(?:\s*,?\s*but(?:\s+rather)?)?"
)
"""Letters that the reply rules out: `not A but`, `isn't (B)`."""
SMALL = re.compile(r"(?<!\w)\([a-z]\)")
"""A small letter in brackets: (c)."""
NAMED = re.compile(
    r"(?:[Aa]nswer|ANSWER|[Oo]ption|[Cc]hoice)\W{0,4}([A-Z])(?![\w'’])"
    r"|^\W{0,6}([A-Z])(?:[).:*]|\s*$)",
    re.MULTILINE,
)
"""A letter that is called an option, or begins a line."""


class ChoiceGrader:
    """Reads the option from the last box, or without a box from the end of the text."""

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking."""
        options = question.options
        letters = ascii_uppercase[: len(options)]
        box = last_box(text)
        found, by = _option(box, options, letters) if box else None, "box"
        if found is None:
            found, by = _unboxed(text[-END:], options, letters)
        if found is None:
            return Judgement("no answer" if box is None else "wrong", None, False, box)
        right = found == question.answer
        strict = right and by == "box"
        return Judgement("correct" if right else "wrong", right, strict, found, by)


def _option(said: str, options: Sequence[str], letters: str) -> str | None:
    """Return the option that a box or a mark names: by its letter, or by its text."""
    text = _plain(said)
    texts = [_plain(option) for option in options]
    if text.casefold() in (folded := [option.casefold() for option in texts]):
        return letters[folded.index(text.casefold())]
    head = re.match(
        r"\(?(?:(?:option|choice|answer)\W{1,3})?([A-Za-z])(?:\W|$)", text, re.IGNORECASE
    )
    return head[1].upper() if head and head[1].upper() in letters else None


def _plain(text: str) -> str:
    """Take off fonts, dollars, emphasis and outer marks."""
    text = FONT.sub(" ", normalize("NFKC", text))
    while (inner := GROUP.sub(r"\1", text)) != text:
        text = inner
    return " ".join(re.sub(r"[$*`{}]|\\[,;! ]", " ", text).strip(" .").split())


def _unboxed(text: str, options: Sequence[str], letters: str) -> tuple[str | None, str]:
    """Return the option of a text without a box, and the rule that found it."""
    if (tagged := marked(text)) and (found := _option(tagged, options, letters)):
        return found, "mark"
    lines = [_plain(line) for line in text.splitlines()]
    text = SMALL.sub(lambda found: found[0].upper(), "\n".join(lines))
    text = DENIED.sub(" ", text)
    if found := _stated(text, letters):
        return found, "stated"
    if found := _texted(text, options, letters):
        return found, "option text"
    named = [one or other for one, other in NAMED.findall(text)]
    last = next((letter for letter in reversed(named) if letter in letters), None)
    return last, "named" if last else ""


def _stated(text: str, letters: str) -> str | None:
    """Return the letter of the last statement."""
    found = [
        (one.start("letter"), one["letter"])
        for form in STATES
        for one in form.finditer(text)
        if one["letter"] in letters
    ]
    return max(found)[1] if found else None


def _texted(text: str, options: Sequence[str], letters: str) -> str | None:
    """Return the only option whose text is in the last sentence, where no letter is."""
    sentences = [one for one in re.split(r"(?<=[.!?。])\s+|\n", text) if one.strip()]
    last = sentences[-1] if sentences else ""
    if NAMED.search(text):
        return None
    found = []
    for option, letter in sorted(zip(options, letters, strict=False), key=lambda p: -len(p[0])):
        wanted = re.escape(_plain(option))
        if wanted and re.search(rf"(?<!\w){wanted}(?!\w)", last, re.IGNORECASE):
            found.append(letter)
            last = re.sub(rf"(?<!\w){wanted}(?!\w)", " ", last, flags=re.IGNORECASE)
    return found[0] if len(found) == 1 else None
