"""Untrusted chat templates render as in transformers, within limits."""

import datetime
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from collab import pocket
from collab.core.trajectory import Message
from collab.endpoints.scripted import TEMPLATE
from collab.errors import ConfigError
from collab.templates import renderer
from collab.templates.jinja import PINNED_DAY, Refused
from collab.templates.renderer import Renderer
from collab.templates.template import MAX_TEMPLATE, Template

ASKED = (Message("user", "Q"),)
TALKS = (
    ASKED,
    (Message("system", "Be brief.\n"), Message("user", " é … 你好 🙂 \ud800\n\n")),
    (*ASKED, Message("assistant", "<think>\nHm.\n</think>\n\nTwo."), Message("user", "<b> 'a'")),
)
POCKET = Path(pocket.__file__).with_name("models")
FAMILIES = sorted(Path(__file__).parents[1].joinpath("engines", "templates").glob("*.jinja"))
GROWING = (
    "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = HOW %}{% endfor %}"
)
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture(scope="module")
def caps() -> Iterator[None]:
    """Set short limits, so that an attack costs a tenth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer, "SECONDS", 0.1)
        patch.setattr(renderer, "_RENDERER", Renderer())
        yield
        renderer._RENDERER.close()


@pytest.fixture
def ours() -> Iterator[Renderer]:
    """Return a renderer with a process of its own."""
    it = Renderer()
    yield it
    it.close()


TOO_LONG = {
    "loops": ENDLESS,
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}"
    "{% endif %}{% endmacro %}{{ m(60) }}",
    "a block that is set": "{% set x %}" + ENDLESS + "{% endset %}",
    "joined lists": "{{ ([[1, 2, 3]] * 99999) | sum(start=[]) | length }}",
    "a quadratic method": "{% set x = 'a' * 2000000 %}{% set y = 'a' * 99999 ~ 'b' ~ 'a' * 99999 %}"
    "{% for i in range(999) %}{{ x.find(y) }}{% endfor %}",
    "a codec": "{{ ('ü' * 4000000).encode('punycode') }}",
    "random words": "{{ lipsum(n=9999, min=9999, max=99999) }}",
    "a list that holds itself twice": GROWING.replace("HOW", "[n.x, n.x]") + "{{ n.x | tojson }}",
}
TOO_LARGE = {
    "concatenation": GROWING.replace("HOW", "n.x ~ n.x"),
    "addition": GROWING.replace("HOW", "n.x + n.x"),
    "lists": GROWING.replace("HOW", "n.x | list + n.x | list"),
    "replacement": GROWING.replace("HOW", "n.x.replace('a', 'aaaaaaaa')"),
    "joining": GROWING.replace("HOW", "n.x.join(n.x)"),
    "center": "{{ 'a'.center(3000000000) }}",
    "zfill": "{{ messages[0].content.zfill(3000000000) }}",
    "a printf width": "{{ '%3000000000d' % messages | length }}",
    "a starred width": "{{ '%*d' % (3000000000, 1) }}",
    "a format width": "{{ '{:>999999999}'.format(1) }}",
    "the format filter": "{{ '%3000000000d' | format(1) }}",
    "a batch": "{{ [1] | batch(999999999, 'x') | list | length }}",
    "translation": "{{ ('x' * 1000000).translate({120: 'x' * 1000000}) }}",
    "bytes": "{{ (1).to_bytes(999999999, 'big') }}",
    "indentation": "{{ ('a\n' * 100000) | indent(999999) }}",
    "a constant that the compiler folds": "{{ 'a' | center(3000000000) | upper }}",
}
TOO_DEEP = {
    "a macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a recursive loop": "{% set x = [1] %}{% for a in x recursive %}{{ loop(x) }}{% endfor %}",
    "a block": "{% block a %}{{ self.a() }}{% endblock %}",
    "a value": "{% set n = namespace(x=[1]) %}{% for i in range(12000) %}{% set n.x = [n.x] %}"
    "{% endfor %}{{ n.x }}",
    "parentheses": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "negations": "{{ " + "not " * 50_000 + "1 }}",
    "sums": "{{ " + "1 + " * 2000 + "1 }}",
    "statements": "{% for a in [1] %}" * 5000 + "{% endfor %}" * 5000,
}
NOT_THERE = {
    "other templates": "{% include 'a' %}",
    "inheritance": "{% extends 'a' %}",
    "imports": "{% import 'a' as b %}",
    "powers": "{{ 10 ** 10 ** 10 }}",
    "repetition": "{{ 'x' * 1000000000 }}",
    "classes": "{{ ''.__class__.__mro__ }}",
    "classes in a format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "the machine": "{{ cycler.__init__.__globals__.os }}",
    "a key": "{{ '%(a)s' | format(1) }}",
    "an index": "{{ '{1}'.format(1) }}",
}


@pytest.mark.usefixtures("caps")
@pytest.mark.parametrize("source", (TOO_LONG | TOO_LARGE).values(), ids=TOO_LONG | TOO_LARGE)
def test_a_template_that_takes_too_much_is_stopped(source: str) -> None:
    with pytest.raises(ConfigError, match=r"the chat template needs more than [\d.]+ (s|MiB) of"):
        Template(source).render(ASKED)


@pytest.mark.parametrize("source", TOO_DEEP.values(), ids=TOO_DEEP)
def test_a_template_that_nests_too_deeply_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"nests too deeply|nested blocks"):
        Template(source).render(ASKED)


@pytest.mark.parametrize("source", NOT_THERE.values(), ids=NOT_THERE)
def test_a_template_is_refused_what_transformers_or_we_withhold(source: str) -> None:
    with pytest.raises(ConfigError, match="the chat template refused the messages: ") as error:
        Template(source).render(ASKED)
    assert "\n" not in str(error.value)


def test_a_reason_is_one_short_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^the chat template refused the messages: a b a b"
    ) as told:
        Template("{{ raise_exception('a\nb ' * 9999) }}").render(ASKED)
    assert len(str(told.value)) < 600


def test_messages_that_nest_too_deeply_are_refused() -> None:
    nested: Any = []  # any: JSON
    for _ in range(50_000):
        nested = [nested]
    with pytest.raises(ConfigError, match="the messages: they are nested too deeply"):
        Template("{{ messages }}").render_turns([{"content": nested}])


def test_a_template_that_reached_a_cap_is_refused_from_then_on(ours: Renderer) -> None:
    source = "{{ messages[0].center(3000000000 * (messages[0] == 'go') | int) }}"
    with pytest.raises(Refused, match="needs more than 256 MiB of memory"):
        ours.render(source, {"messages": ["go"]})
    with pytest.raises(Refused, match="needs more than 256 MiB of memory"):
        ours.render(source, {"messages": ["stay"]})
    assert ours.render(f"{source} ", {"messages": ["stay"]}) == "stay "


def test_long_messages_may_be_to_blame_for_a_cap(ours: Renderer) -> None:
    source = "{{ messages[0] | replace('', messages[0]) | length }}"
    with pytest.raises(Refused, match="needs more than"):
        ours.render(source, {"messages": ["a" * 100_000]})
    assert ours.render(source, {"messages": ["a"]}) == "3"
    with pytest.raises(Refused, match="9,000,018 characters of messages; at most 8,388,608"):
        ours.render(source, {"messages": ["a" * 9_000_000]})


def test_what_was_rendered_is_kept_by_template_and_messages(ours: Renderer) -> None:
    source = "{{ range(90000) | random }}"
    first = ours.render(source, {"messages": [1]})
    assert [ours.render(source, {"messages": [1]}) for _ in range(9)] == [first] * 9
    assert {ours.render(source, {"messages": [n]}) for n in range(9)} != {first}


def test_what_is_kept_is_bounded(ours: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "KEPT", 60)
    source = "{{ range(90000) | random }}{{ range(90000) | random }}"
    first = ours.render(source, {"n": 1})
    assert ours.render(source, {"n": 1}) == first
    ours.render(source, {"n": "x" * 50})
    assert ours.render(source, {"n": 1}) != first


def test_the_templates_that_ship_are_known_and_start_no_process(
    ours: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer, "_RENDERER", ours)
    shipped = {file.read_text() for file in POCKET.glob("*/chat_template.jinja")} | {TEMPLATE}
    assert {hashlib.sha256(text.encode()).hexdigest() for text in shipped} == renderer.SHIPPED
    for source in shipped:
        assert "Q" in Template(source).render(ASKED)
    assert ours._worker is None
    Template(f"{TEMPLATE} ").render(ASKED)
    assert ours._worker is not None


def test_a_process_that_died_is_replaced(ours: Renderer) -> None:
    assert ours.render("{{ 1 }}", {}) == "1"
    assert ours._worker is not None
    os.kill(ours._worker._process.pid, signal.SIGKILL)
    assert ours.render("{{ 2 }}", {}) == "2"


def test_a_process_that_does_not_answer_is_ended(
    ours: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ours.render("{{ 1 }}", {}) == "1"
    assert ours._worker is not None
    os.kill(ours._worker._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(renderer, "WALL", 0.1)
    with pytest.raises(Refused, match=r"needs more than 0\.1 s"):
        ours.render("{{ 2 }}", {})
    monkeypatch.undo()
    assert ours.render("{{ 3 }}", {}) == "3"


def test_a_process_that_cannot_start_is_no_templates_fault(
    ours: Renderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(renderer, "_RENDERER", ours)
    for executable, why in (("/nosuch/python", "No such file"), ("/bin/false", "exit code 1")):
        monkeypatch.setattr("sys.executable", executable)
        with pytest.raises(ConfigError, match=f"cannot start the process that renders.*{why}"):
            Template("{{ 1 }}").render(ASKED)
    monkeypatch.undo()
    assert ours.render("{{ 1 }}", {}) == "1"


def test_a_reply_that_was_interrupted_is_not_taken_for_the_next(ours: Renderer) -> None:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises((KeyboardInterrupt, Refused)):
            ours.render(ENDLESS, {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ours.render("{{ 1 }}", {}) == "1"


def transformers(source: str, **context: Any) -> str:  # any: what a template is given
    """Render like transformers 4.44 to 5."""

    def tojson(
        x: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["strftime_now"] = PINNED_DAY.strftime
    return environment.from_string(source).render(tools=None, documents=None, **context)


@pytest.mark.parametrize("messages", TALKS, ids=["question", "system", "talk"])
@pytest.mark.parametrize("generate", [True, False])
@pytest.mark.parametrize(
    "file", [POCKET / "plain" / "chat_template.jinja", *FAMILIES], ids=lambda file: file.stem
)
def test_a_text_is_the_one_that_transformers_renders(
    file: Path, generate: bool, messages: tuple[Message, ...]
) -> None:
    source, specials = file.read_text(encoding="utf-8"), {"bos_token": "<s>", "eos_token": "</s>"}
    spoken = [{"role": message.role, "content": message.content} for message in messages]
    given: dict[str, Any] = {"messages": spoken, "add_generation_prompt": generate}  # any: likewise
    try:
        theirs = transformers(source, **given, **specials)
    except jinja2.TemplateError as error:
        theirs = f"refused: {error}"
    try:
        text = Template(source, specials).render(messages, generate)
    except ConfigError as error:
        text = str(error).replace("the chat template refused the messages", "refused")
    assert text == theirs


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages | tojson(ensure_ascii=True) }}",
        "{{ messages | tojson(indent=2) }}",
        "{{ messages | tojson(separators=(',', ':'), sort_keys=True) }}",
        "{{ tools is none }} {{ strftime_now('%A, %d %B %Y %H:%M') }}",
        "a\n  {% if true %}\nb\n  {%- endif %}\n{# c #}\nd\n",
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m }}{% endfor %}",
        "{{ 3000000 * 3000000 }} {{ 2.5 * 4000000000 }} {{ [0] * 3 }} {{ -2 * 'a' }} {{ 2 * 'a' }}",
        "{{ messages[0].content.strip().title()[::-1] }}{{ messages[1].content }}{{ messages[9] }}",
    ],
)
def test_what_templates_use_is_as_transformers_has_it(source: str) -> None:
    spoken: list[dict[str, Any]] = [  # any: JSON
        {"role": "user", "content": " <é> 'a' 🙂 "},
        {"content": 1.5, "b": [None, True]},
    ]
    assert Template(source).render_turns(spoken) == transformers(source, messages=spoken)


def test_a_trainers_block_has_a_scope_of_its_own() -> None:
    source = "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}"
    assert Template(source).render(ASKED) == "21"


def test_a_text_does_not_depend_on_the_time_zone(
    ours: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    expected = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
    assert ours.render("{{ strftime_now('%s') }}", {}) == str(int(expected))


def test_a_jinja_in_the_working_folder_is_not_run(
    ours: Renderer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "jinja2.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ours.render("{{ 1 }}", {}) == "1"


Lay = Callable[[Path], object]


@pytest.mark.parametrize(
    ("lay", "why"),
    [
        (lambda file: file.write_text("{{ 1 / 0 }}"), "refused the .*: division by zero"),
        (lambda file: file.write_text("{% if %}"), "of '.*jinja' is not valid"),
        (lambda file: file.write_text("a" * (MAX_TEMPLATE + 1)), "has 262,145 characters"),
        (lambda file: file.write_text("a" * 2_000_000), "at most 1,048,576 bytes are accepted"),
        (lambda file: file.write_bytes(b"\xff"), "cannot be read: 'utf-8' codec"),
        (lambda file: os.mkfifo(file), "has no chat template"),
        (lambda file: file.mkdir(), "has no chat template"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_named_with_its_file(
    tmp_path: Path, lay: Lay, why: str
) -> None:
    lay(tmp_path / "chat_template.jinja")
    with pytest.raises(ConfigError, match=why) as told:
        Template.load(tmp_path).render(ASKED)
    assert str(tmp_path) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("[" * 100_000, "is not JSON"),
        ('{"chat_template": 3}', "has no chat template"),
        ('{"chat_template": ["a", {"name": "default", "template": 3}]}', "has no chat template"),
        ("[1]", "has no chat template"),
    ],
)
def test_a_config_that_holds_no_template_is_named(tmp_path: Path, config: str, why: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(config)
    with pytest.raises(ConfigError, match=why):
        Template.load(tmp_path)


def test_special_tokens_that_are_none_are_left_out(tmp_path: Path) -> None:
    config = {
        "chat_template": "{{ bos_token }}{{ eos_token }}",
        "bos_token": {},
        "eos_token": "</s>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert Template.load(tmp_path).render(ASKED) == "</s>"
