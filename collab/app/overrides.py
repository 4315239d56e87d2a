"""Parse the words of a command line that change a config, in Hydra's grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from warnings import catch_warnings, filterwarnings

from hydra import initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from collab.app.unknown_setting import explain_unknown
from collab.errors import ConfigError

CONF = "collab.conf"
PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE | re.ASCII)
"""Text that Hydra reads as text without quotes."""


def override_words(
    overrides: Sequence[str], settings: Mapping[str, object], policy: object = None
) -> list[str]:
    """Return overrides and settings by keyword as words of the command line.

    Args:
        overrides: Words, which stay as they are.
        settings: Values by key; those of a mapping are settings below the key.
        policy: The name of a policy in `conf/policy`; a policy value adds no word.

    Raises:
        ConfigError: A word is not text.
    """
    for word in overrides:
        if not isinstance(word, str):
            raise ConfigError(f"{word!r} is not text: an override is KEY=VALUE, as in 'budget=600'")
    named = {"policy": policy} if isinstance(policy, str) else {}
    given = {**named, **settings}.items()
    return [*overrides, *(word for key, value in given for word in _words(key, value))]


def _words(key: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _words(f"{key}.{name}", inner)
    else:
        yield f"{key}={_spell(value)}"


def _spell(value: object) -> str:
    """Write a value in Hydra's grammar."""
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(map(_spell, value))}]"
        case Mapping():
            return "{" + ",".join(f"{key}:{_spell(inner)}" for key, inner in value.items()) + "}"
    text = str(value)
    return text if PLAIN.fullmatch(text) else QuotedString(text, Quote.single).with_quotes()


def parsed(words: Iterable[str]) -> list[Override]:
    """Parse words.

    Raises:
        OverrideParseException: A word is not in Hydra's grammar.
    """
    found: list[Override] = OverridesParser.create().parse_overrides(list(words))
    return found


def values_of(word: Override) -> list[str]:
    """Return a word once for each value that it sweeps over; itself if it has one value."""
    if not word.is_discrete_sweep():
        return [str(word.input_line)]
    return [f"{word.get_key_element()}={value}" for value in word.sweep_string_iterator()]


def key_of(word: Override) -> str:
    """Return the dotted key that a word sets."""
    return str(word.package or word.key_or_group.replace("/", "."))


def is_group(word: Override) -> bool:
    """Tell whether a word chooses an option of a group rather than sets a value."""
    known = (files(CONF) / word.key_or_group).is_dir()
    return (known and isinstance(word.value(), str)) or word.package is not None


def is_ours(word: Override) -> bool:
    """Tell whether a word sets nothing hidden: a value, or an option of collab's own conf."""
    option = files(CONF) / word.key_or_group / f"{word.value()}.yaml"
    return not is_group(word) or option.is_file()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Hydra's warning that a launcher's own schema has the name of our file."""
    with catch_warnings():
        filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against", UserWarning)
        yield


@contextmanager
def composing(words: Sequence[str] = ()) -> Iterator[None]:
    """Let Hydra find the conf files, and raise its errors in one line.

    Args:
        words: What is composed; an error then names the setting that was meant.

    Raises:
        ConfigError: The words do not compose.
    """
    with quiet(), initialize_config_module(CONF, version_base="1.3"):
        try:
            yield
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain_unknown(error, words) or one_line(error)) from None


def one_line(error: BaseException) -> str:
    """Shorten an error of Hydra to one line, with the allowed values."""
    if isinstance(error, OverrideParseException):
        key, is_set, value = error.override.partition("=")
        fix = f"""a value with signs goes in quotes of its own: "{key}='{value}'\""""
        plain = "a setting is key=value, and a text with spaces goes in quotes"
        return f"cannot read {error.override!r}; {fix if is_set else plain}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept: list[str] = []
    for line in lines:
        if line.startswith(("Config search path", "Set the environment variable", "full_key")):
            break
        kept.append(line)
    return " ".join(kept) or type(error).__name__


def is_seat(word: Override) -> bool:
    """Tell whether a word puts a model in a seat."""
    return re.match(r"\+*(model@)?team\.", word.get_key_element()) is not None
