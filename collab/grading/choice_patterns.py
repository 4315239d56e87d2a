"""How replies to multiple choice state an option: patterns as data, each with its reason.

A pattern has a group `letter`. All are searched without regard to case, but a letter is a capital,
except where a pattern says otherwise: small ones are mostly words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LETTER = r"(?<![A-Za-z0-9_])[(\[{\"“'‘]*(?P<letter>(?-i:[A-Z]))(?![A-Za-z0-9_]|['’]\w)[)\]}\"”'’]*"
"""An option's letter, in brackets or quotes or without; not the start of a word such as `I'm`."""
SMALL_LETTER = r"(?<!\w)[(\[{\"“'‘]*(?P<letter>[a-z])(?![A-Za-z0-9_]|['’]\w)[)\]}\"”'’]*"
ANSWER = (
    r"(?:\b(?:answer|choice|option|solution|letter|pick|vote|guess|selection|antwort|lösung|réponse"
    r"|respuesta|opción|resposta|risposta|antwoord|svar|svaret|odpowiedź|odpowiedzią|cevap|yanıt"
    r"|đáp án|jawaban(?:nya)?|răspunsul|vastaus)\b"
    r"|ответ|вариант|відповідь|答案|答え|答|正解|选项|選項|정답|답|الإجابة|الجواب|उत्तर|תשובה|απάντηση)"
)
"""The word for an answer in several languages."""
IS = (
    r"(?>(?:\s*+(?:[:：=→]|\b(?:is|be|was|ist|lautet|est|es|è|é|är|er|to|jest|là|adalah|este|on)\b"
    r"|是|为|為|は|은|는|هي|هو|है|היא|είναι|–|—|-)"
    r"(?:\s*+(?:la|le|die|der|das|de|a letra|letra|opção|lettre|lettera|buchstabe|optie|therefore"
    r"|thus|then|clearly|definitely|indeed|simply|just|the|option|choice|letter|answer|选项|also"
    r"|most likely|probably)\b,?+)*+\s*+[:：]?+\s*+)+)"
)
"""The verb or the colon between the word and the letter; atomic, so that no text takes long."""
END = r"(?=\s*(?:[.!,:;)]|$))"
STOP = r"(?=\s*(?:[.!]|$))"


@dataclass(frozen=True, slots=True)
class Statement:
    """One way to state the answer."""

    pattern: re.Pattern[str]
    why: str


def _statement(pattern: str, why: str) -> Statement:
    return Statement(re.compile(pattern, re.MULTILINE | re.IGNORECASE), why)


STATEMENTS = (
    _statement(
        rf"{ANSWER}[^\n.;:：]{{0,40}}?{IS}{LETTER}", "`The answer (to this) is (C)`, any language"
    ),
    _statement(
        rf"{ANSWER}[^\n.;:：]{{0,40}}?{IS}{SMALL_LETTER}{END}",
        "a small letter right after `answer is` is no article where nothing follows it",
    ),
    _statement(rf"{ANSWER}\W{{0,4}}{LETTER}\s*(?:[.!]?\s*$|[.!]\s)", "`Answer C.`"),
    _statement(
        rf"{LETTER}(?:\s[^\n.,;]{{1,30}}?)?\s(?:is|was|must be|has to be)"
        r"(?:\s\w+ly|\sindeed|\sthus)?\s(?:the\s|my\s)?(?:only\s)?"
        r"(?:correct|right|true|best|valid|answer|one|choice|pick)\b",
        "`C is (the) correct (answer)`",
    ),
    _statement(
        r"\b(?:choose|chose|pick|select|say|go(?:ing)? (?:with|for)|settle (?:on|for)"
        r"|opt for|vote for|elijo|wähle|nehme|kies|wybieram)\s"
        rf"(?:(?:option|choice|answer|letter)\s)?{LETTER}",
        "`I choose C`, `I'd say C`",
    ),
    _statement(rf"(?:选择?|選擇?)\s*[:：]?\s*{LETTER}", "Chinese: `choose C`"),
    _statement(
        rf"{LETTER}\s*(?:の選択肢|が正しい|が正解|です|입니다|是正确|正确|对)",
        "`C is right` in Japanese, Korean and Chinese",
    ),
    _statement(
        rf"\b(?:mich für|würde|werde|je prends|j['’]opte pour|me quedo con)\s{LETTER}",
        "`I take C` in German, French and Spanish",
    ),
    _statement(
        rf"\bonly\s(?:(?:option|choice)\s)?{LETTER}\s(?:works|fits|remains|holds|is left)\b",
        "`only C works`",
    ),
    _statement(
        rf"\bleav(?:es|ing)\s(?:(?:us|only|with|option|choice)\s)*{LETTER}", "`which leaves C`"
    ),
    _statement(
        r"\b(?:it|that|this)(?:['’]s|\sis|\smust be|\shas to be|\sshould be)"
        rf"\s(?:(?:therefore|thus|option|choice|letter|clearly)\s)*{LETTER}"
        r"(?=\s*(?:[.!,:;)]|$)|\s(?:because|since|as|for|\())",
        "`it must be C`",
    ),
    _statement(
        r"\b(?:so|hence|thus|therefore|donc|also|also:)\W{1,3}(?:(?:option|choice)\s)?"
        rf"{LETTER}{STOP}",
        "`So (C).`",
    ),
    _statement(
        r"\b(?:no|wait|actually|rather|correction|i mean|scratch that|oops|sorry|hmm?)\b[\W_]{1,4}"
        rf"(?:(?:no|it['’]s|it is|option|choice)\b[\W_]{{1,3}})*{LETTER}{END}",
        "a correction: `Wait, no: C`",
    ),
    _statement(
        rf"{LETTER}\s(?:is|seems|looks|sounds|fits)\s(?:clearly\s)?(?:better|best)\b",
        "`A is better`",
    ),
    _statement(
        rf"\bleft with\s(?:only\s|just\s|(?:option|choice)\s)*{LETTER}", "`we are left with C`"
    ),
    _statement(
        rf"\b(?:option|choice|answer|letter)\s{SMALL_LETTER}{STOP}", "`Option b.` has no article"
    ),
    _statement(rf"{LETTER}\s?\?\s*(?:yes|correct|right|true)\b", "`C? Yes.`"),
    _statement(
        rf"\b(?:right|correct|best|true)\s(?:one|thing|statement)(?:\s\w+)?{IS}{LETTER}",
        "`the right one is D`",
    ),
    _statement(rf"(?:^|[.!?:;]\s+){LETTER}\s*[.!]?\s*\Z", "a letter as the last sentence"),
    _statement(rf"{LETTER},?\s(?:it is|for sure|i think|i guess|i['’]d say)\b", "`C it is`"),
    _statement(
        rf"\b(?:definitely|certainly|probably|surely|likely|maybe|perhaps)\s{LETTER}{END}",
        "`definitely C`",
    ),
)
"""How a reply states its answer. The last statement counts: it may correct an earlier one."""
ALTERNATIVE = re.compile(
    r"\s*,?\s*(?:\bor\b|\boder\b|\bou\b|/|或|か)\s*(?:option\s|choice\s)?[(\[]?[A-Z](?!\w)"
    r"|\s*(?:,|\band\b|&)\s*(?:option\s|choice\s)?[(\[]?[A-Z][)\]]?\s*(?:[.!?]|$)",
    re.MULTILINE,
)
"""A second letter after a stated one: `A or C.` states no single option."""
HEARSAY = re.compile(
    r"\b(?:(?:some|many|most|others|people|students|they|critics|someone)\b[^.\n]{0,40}?"
    r"\b(?:says?|thinks?|thought|believe|argue|claim|choose|pick|answer|guess|assume)"
    r"|(?:one|you|we|it) (?:might|may|could|can)\b[^.\n]{0,20}?"
    r"\b(?:say|think|believe|seem|guess|pick)"
    r"|it is not the case|it is (?:false|wrong|a mistake)"
    r"|a (?:common|typical) (?:mistake|error|trap)"
    r"|if (?:the answer|it) (?:were|was))\b[^.;\n]*?(?=,? but\b|[.;\n]|$)",
    re.IGNORECASE,
)
"""What the reply reports without saying it itself, up to the end of the clause."""
DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot be|rather than|instead of|unlike|nicht|pas|no es)\b"
    r"|n['’]t(?: be)?)\s+(?:(?:be|option|choice|answer|the|simply|just|either)\s+)*"
    r"[(\[\"']?[A-Z](?![\w'’])[)\]\"']?"
    r"(?:\s*(?:,|or|nor|and)\s*[(\[]?[A-Z](?![\w'’])[)\]]?)*(?:\s*,?\s*but(?:\s+rather)?)?"
)
"""Letters that the reply rules out: `not A but`, `isn't (B)`."""
NAMED = re.compile(
    r"(?:[Aa]nswer|ANSWER|[Oo]ption|[Cc]hoice)\W{0,4}([A-Z])(?![\w'’])"
    r"|^\W{0,6}([A-Z])(?:[).:*]|\s*$)",
    re.MULTILINE,
)
"""A letter that is called an option, or begins a line."""
BRACKETED = re.compile(r"(?<!\w)\([a-z]\)|\A\W{0,3}[a-z][).]?\W{0,3}\Z")
"""A small letter in brackets, or as the whole reply."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
ORDINAL = re.compile(
    rf"\bthe ({'|'.join(ORDINALS)}|last) (?:option|choice|answer|one)\b"
    r"|\b(?:option|choice|number) (?:no\.? ?)?([1-9])\b",
    re.IGNORECASE,
)
"""An option by its place: `the third option`, `option 3`."""
CYRILLIC = str.maketrans("АВСЕНКМОРТХ", "ABCEHKMOPTX")
"""Cyrillic capitals that look like Latin ones."""
