"""The normal form of a maths answer: one way of writing, before anything is compared.

Each rule rewrites a text and says why. Rules apply in order; none changes the value of an answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

FRACTIONS = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5),
    "⅗": (3, 5), "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8),
    "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
SYMBOLS = {
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/",
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ",
    "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
    "≈": r"\approx ", "°": r"^{\circ}", "′": "'", "’": "'", "…": r"\ldots ", "∶": ":",
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "θ": r"\theta ",
    "λ": r"\lambda ", "μ": r"\mu ", "σ": r"\sigma ", "φ": r"\varphi ", "ω": r"\omega ",
    "µ": r"\mu ", "\u2061": "", "\u200b": "", "\ufeff": "",
}  # fmt: skip
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
COMMANDS = "dfrac|tfrac|cfrac|frac|sqrt|text|begin|end|pi|cdot|times|left|right|infty|theta"
TEXT = r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mathrm|mathbf|mathit|mathsf|operatorname|mbox|rm)\*?"
GROUP = re.compile(TEXT + r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
COLOUR = r"\\(?:text)?color\s*\{[\w!]+\}\s*(?:\{([^{}]*)\})?"
OLD_FONT = r"\\(?:rm|bf|it|sf|tt)\s+([A-Za-z]+|(?=\d))"
BOX = r"\\(?:boxed|fbox|framebox|underline)\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
LABEL = r"(?i)^\s*(?:\\text\s*\{)?\s*(?:the )?(?:final )?answer(?: is)?\s*:?\s*(?=[}\d$\\-])\}?"


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A rewriting that keeps the value."""

    name: str
    why: str
    rewrite: Callable[[str], str]


def _sub(pattern: str, by: str | Callable[[re.Match[str]], str]) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(by, text)


def _digits(text: str) -> str:
    if text.isascii():
        return text
    narrow = (chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in text)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in narrow)


def _symbols(text: str) -> str:
    if text.isascii():
        return text
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: "^{" + m[0].translate(RAISED) + "}", text)
    text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda m: "_{" + m[0].translate(LOWERED) + "}", text)
    return "".join(SYMBOLS.get(c, c) for c in text)


def _fractions(text: str) -> str:
    if text.isascii():
        return text
    for sign, (top, bottom) in FRACTIONS.items():
        text = text.replace(sign, rf"\frac{{{top}}}{{{bottom}}}")
    return text


def _roots(text: str) -> str:
    text = re.sub(r"∛\s*\(([^()]*)\)|∛\s*(\w+)", lambda m: rf"\sqrt[3]{{{m[1] or m[2]}}}", text)
    text = re.sub(r"√\s*\(([^()]*)\)|√\s*(\d+|\w)", lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text)
    return re.sub(r"(?<![\\a-z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)


def _thousands(text: str) -> str:
    """Join groups of three digits, where all of a number is grouped."""
    mark = r"(?:,|\{,\}|\{ \}|\\[,;:! ]|~|'|[ \u00a0\u2009\u202f])(?:\\!)?"
    spaced = re.sub(r"(?<=\d)(?:\\!)+,|(?<=\d),(?:\\!)+ ?", ",", text)
    return re.sub(
        rf"(?<![\d.,^_\\])([1-9]\d{{0,2}})((?:{mark}\d{{3}})+)(?![\d])(?!,\d)",
        lambda m: m[1] + re.sub(r"\D", "", m[2]) if _is_grouped(m) else m[0],
        spaced,
    )


def _is_grouped(match: re.Match[str]) -> bool:
    """Return whether one mark separates all groups, and no bracket makes them a tuple."""
    marks = set(re.findall(r"\D+", match[2]))
    before = match.string[: match.start()]
    listed = sum(before.count(one) for one in "([") > sum(before.count(one) for one in ")]")
    return len(marks) == 1 and not (marks == {","} and (listed or before.rstrip().endswith(r"\{")))


def _money(text: str) -> str:
    text = re.sub(r"\\?\$\s*,\s*\\?\$", ", ", text)  # $a$,$b$ without the outer marks
    if len(re.findall(r"(?<!\\)\$", text)) % 2 == 0:  # they mark maths
        return re.sub(r"(?<!\\)\$", " ", text)
    return re.sub(r"\\\$|\$(?=\d)|(?<=\d)\$", " ＄ ", text).replace("$", "").replace("＄", r"\$")


def _words(match: re.Match[str]) -> str:
    inside = match[1].strip()
    if re.fullmatch(r"[A-Za-z]", inside) and inside not in UNIT_LETTERS:
        return f" {inside} " if match.string[match.end() : match.end() + 1] not in "^_}" else inside
    return rf"\text{{{match[1]}}}"


UNIT_LETTERS = "mgsLlNJWVAKCFhd"
"""Letters that, upright, may be units; `quantity` decides."""
SPACES = r"\\(?:displaystyle|textstyle|limits|bigl?|bigr?|Bigl?|Bigr?|left|right|quad|qquad|hfill)"

RULES = (
    Rewriting("digits", "full-width and other scripts' digits are digits", _digits),
    Rewriting("marks in text", r"\text{,} and \text{-} are what they hold",
         _sub(TEXT + r"\s*\{([^A-Za-z{}]*)\}", r"\1")),
    Rewriting("dashes", "a dash before a number is a minus", _sub("[−–—‒﹣－]", "-")),
    Rewriting("roots", r"√2 and sqrt(2) are \sqrt{2}", _roots),
    Rewriting("fraction signs", r"½ is \frac{1}{2}", _fractions),
    Rewriting("symbols", "a sign and its command are one", _symbols),
    Rewriting("escapes", "a text taken from JSON may double its backslashes",
         _sub(rf"(?<!\\)\\\\(?=(?:{COMMANDS})\b)", r"\\")),
    Rewriting("colours", "a colour changes nothing",
         _sub(COLOUR, r"\1")),
    Rewriting("labels", "`Answer:` names what follows",
         _sub(LABEL, "")),
    Rewriting("emphasis", "stars and ticks mark an answer and are no part of it",
         _sub(r"^\s*(?:\*\*|__|`|\*(?=[^*]))+(.*?)(?:\*\*|__|`|(?<=[^*])\*)+[.\s]*$", r"\1")),
    Rewriting("frames", "a box in a box frames the same answer", _sub(BOX, r"\1")),
    Rewriting("thousands", "1,200 and 1\\,200 are 1200; 1,2 is two numbers", _thousands),
    Rewriting("currency", "a dollar sign is a unit or marks maths", _money),
    Rewriting("delimiters", "what marks maths is no part of it",
         _sub(r"\\[()\[\]](?![\d.]+pt)", " ")),
    Rewriting("spacing", "spaces and sizes change nothing",
         _sub(rf"(?:{SPACES})(?![A-Za-z])|\\[,;:!]|(?<!\\)\\ |~|\s+", " ")),
    Rewriting("fractions", r"\dfrac, \tfrac, \cfrac and \frac are one",
         _sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac")),
    Rewriting("short fractions", r"\frac34 is \frac{3}{4}", lambda text: _short(text)),
    Rewriting("old fonts", r"{\rm two} is \text{two}",
         _sub(OLD_FONT, lambda m: rf"\text{{{m[1]}}}" if m[1] else "")),
    Rewriting("subscripts", "a word below a letter is part of its name",
         _sub(r"_\s*\{?\s*" + TEXT + r"\s*\{\s*(\w+)\s*\}\s*\}?", r"_{\1}")),
    Rewriting("upright letters", r"\mathrm{i} is i", lambda text: GROUP.sub(_words, text)),
    Rewriting("imaginary unit", "a factor next to i leaves it a letter of its own",
         _sub(r"(?<=[\d}])i(?![A-Za-z])", " i")),
    Rewriting("relations", r"\leq, \leqslant and <= are \le",
         lambda text: _relations(text)),
    Rewriting("empty set", r"\varnothing, \{\} and \emptyset are one",
         _sub(r"\\varnothing|\\O(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset ")),
    Rewriting("decimal mark", "{,} holds a decimal comma together", _sub(r"\{,\}", ",")),
    Rewriting("named values", r"infinity is \infty, all real numbers are an interval",
         lambda text: _named(text)),
    Rewriting("e-notation", r"3e8 is 3\times 10^{8}",
         _sub(r"(?<![\w.\\])(\d+\.?\d*|\.\d+)[eE]([+-]?)(\d+)(?![\w.]\d|\w)",
              lambda m: rf"{m[1]}\times 10^{{{m[2].replace('+', '')}{m[3]}}}")),
    Rewriting("mixed numbers", r"3 1/2 is 3\frac{1}{2}",
         _sub(r"(?<![\d./^_])(\d+)(?: +| *\+ *(?=\d+/\d+$)|-(?=\d+/\d+$))(\d+) ?/ ?(\d+)(?![\d.])",
              lambda m: rf"{m[1]}\frac{{{m[2]}}}{{{m[3]}}}" if int(m[2]) < int(m[3]) else m[0])),
    Rewriting("full stop", "the end of a sentence is no part of its answer",
         lambda text: _bare(text)),
)  # fmt: skip


def _named(text: str) -> str:
    said = re.sub(r"\s+", " ", GROUP.sub(r"\1", text)).strip(" .").lower()
    if said in ("all real numbers", "real numbers", "all reals", r"\r", "ℝ", r"\mathbb{r}"):
        return r"(-\infty,\infty)"
    return r"\infty" if said == "infinity" else text


def _short(text: str) -> str:
    text = re.sub(r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text)
    return re.sub(r"\\sqrt\s*(\d)", r"\\sqrt{\1}", text)


def _relations(text: str) -> str:
    text = re.sub(r"\\colon(?![A-Za-z])|\{:\}", ":", text)
    text = re.sub(r"\\(?:leqslant|leqq|leq|le)(?![A-Za-z])|<=|=<", r"\\le ", text)
    text = re.sub(r"\\(?:geqslant|geqq|geq|ge)(?![A-Za-z])|>=", r"\\ge ", text)
    text = re.sub(r"\\lt(?![A-Za-z])", "<", re.sub(r"\\gt(?![A-Za-z])", ">", text))
    return re.sub(r"\\(?:approxeq|approx|simeq|thickapprox)(?![A-Za-z])", r"\\approx ", text)


def _bare(text: str) -> str:
    text = text.strip()
    if text.endswith("\\") and not text.endswith("\\\\"):
        text = text[:-1]
    text = re.sub(r"(?<!\\)[.,;:。，；]\s*$", "", text) if not text.endswith("...") else text
    return re.sub(r"\s+", " ", text).strip()


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """Return the normal form of an answer."""
    for rule in RULES:
        text = rule.rewrite(text)
    return text


def plain(text: str) -> str:
    """Return a normal form with the words of its texts set apart by marks, for `quantity`."""
    return re.sub(r" {2,}", " ", GROUP.sub(r" «\1» ", text)).strip()
