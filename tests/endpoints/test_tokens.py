import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer

import collab
from collab.core.trajectory import Message, Trajectory, Unit, Wrote
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError
from collab.templates import template as templates
from collab.templates.template import Template

ASKED = (Message("system", "Be brief."), Message("user", "1+1?"))
POCKET = Path(collab.__file__).parent / "pocket" / "models" / "plain"
_KNOWN: dict[str, Tokenizer] = {}
CORPUS = ["So we add 3 and 4.\n\nThe answer is 7. Wait, 日本 é 😀"] * 4


def byte_level() -> RawTokenizer:
    raw = RawTokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS, trainer)
    raw.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    return raw


def byte_fallback() -> RawTokenizer:
    """As SentencePiece models are: bytes that make no character are decoded one by one."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁So", "a", "漢"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    raw = RawTokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return raw


def saved(raw: RawTokenizer, folder: Path) -> Tokenizer:
    raw.save(str(folder / "tokenizer.json"))
    return Tokenizer.load(folder)


def as_qwen() -> RawTokenizer:
    """Words with a space or a mark before them, digits one by one, line breaks in one piece."""
    raw = byte_level()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    parts = pre_tokenizers.Split(Regex(pattern), "isolated")
    into_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.pre_tokenizer = pre_tokenizers.Sequence([parts, into_bytes])
    return raw


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return saved(byte_level(), tmp_path_factory.mktemp("bytes"))


@given(text=st.text())
def test_any_text_survives_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=st.text())
def test_any_text_survives_the_tokens_of_the_pocket_models(text: str) -> None:
    tokenizer = _KNOWN.setdefault("pocket", Tokenizer.load(POCKET))
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert (tokenizer.ends(ids) or (0,))[-1] == len(text)


@given(text=st.text(alphabet=st.sampled_from("So 3.\n日é😀�")))
def test_cutting_a_text_where_its_tokens_end_loses_nothing(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    ends = tokenizer.ends(ids)
    assert list(ends) == sorted(ends)
    assert len(ends) == len(ids)
    assert "".join(text[a:b] for a, b in zip((0, *ends), (*ends, len(text)), strict=True)) == text


@given(text=st.text(alphabet=st.sampled_from("So 3.\n日é😀")), data=st.data())
def test_the_tokens_up_to_a_characters_end_decode_to_the_text_up_to_it(
    tokenizer: Tokenizer, text: str, data: st.DataObject
) -> None:
    ids = tokenizer.encode(text)
    ends = tokenizer.ends(ids)
    count = data.draw(st.integers(0, len(ids)))
    last = count == len(ids) or count == 0 or ends[count] != ends[count - 1]
    if last:
        assert tokenizer.decode(ids[:count]) == text[: ends[count - 1] if count else 0]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
@settings(max_examples=50)
@given(data=st.data())
def test_ends_of_any_ids_rise_to_the_length_of_their_text(
    make: type, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    known = _KNOWN.setdefault(make.__name__, Tokenizer(make(), "x"))
    ids = data.draw(st.lists(st.integers(0, known.raw.get_vocab_size() - 1), max_size=12))
    ends = known.ends(ids)
    assert list(ends) == sorted(ends)
    assert (len(ends), ends[-1] if ends else 0) == (len(ids), len(known.decode(ids)))


def test_a_character_of_several_tokens_ends_where_the_last_of_them_does() -> None:
    raw = RawTokenizer(
        models.BPE(
            vocab={char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))},
            merges=[],
        )
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = Tokenizer(raw, "x")
    assert tokenizer.ends(tokenizer.encode("a日b")) == (1, 2, 2, 2, 3)
    raw.add_tokens([AddedToken("</think>", normalized=False)])
    begun = tokenizer.encode("日")[:2]  # a character that its author broke off
    assert tokenizer.ends((*begun, *tokenizer.encode("</think>b"))) == (1, 1, 9, 10)


def test_a_think_tag_is_one_token_and_an_end_token_is_no_part_of_a_text(
    tokenizer: Tokenizer,
) -> None:
    (tag,) = tokenizer.encode("<think>")
    (end,) = tokenizer.encode("<|end|>")
    assert tokenizer.end_ids == {end}
    assert tokenizer.decode((tag, end)) == "<think><|end|>"
    assert tokenizer.without_end((tag, end, end)) == (tag,)
    assert tokenizer.has_end("x<|end|>")
    assert not tokenizer.has_end("<think>")


def test_padding_and_truncation_of_the_file_are_off(tmp_path: Path) -> None:
    raw = byte_level()
    raw.enable_truncation(2)
    raw.enable_padding(length=64)
    tokenizer = saved(raw, tmp_path)
    assert tokenizer.decode(tokenizer.encode("a longer text")) == "a longer text"


def test_the_fingerprint_is_the_files_and_changes_with_it(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    again = saved(byte_level(), tmp_path)
    assert again.fingerprint == Tokenizer.load(tmp_path).fingerprint
    raw = byte_level()
    raw.add_tokens(["<tool>"])
    assert saved(raw, tmp_path).fingerprint != tokenizer.fingerprint


def test_a_folder_without_a_tokenizer_and_a_broken_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(ConfigError, match="is neither a folder nor a hub id: set the model's"):
        Tokenizer.load(tmp_path / "nothing")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot parse"):
        Tokenizer.load(tmp_path)


def test_an_id_without_the_hubs_client_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"'owner/name' is not a folder.*pip install '\.\[hf\]'"):
        Tokenizer.load("owner/name")


def with_template(folder: Path, **config: object) -> Template:
    byte_level().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Template.load(folder)


def test_a_template_is_rendered_with_its_blocks_lines_removed(tmp_path: Path) -> None:
    template = with_template(
        tmp_path,
        bos_token={"content": "<s>"},
        chat_template="{{ bos_token }}\n"
        "  {% for m in messages %}\n[{{ m.role }}] {{ m['content'] }}\n  {% endfor %}\n"
        "{% if add_generation_prompt %}[assistant]{% endif %}",
    )
    text = "<s>\n[system] Be brief.\n[user] 1+1?\n"
    assert template.render(ASKED) == text + "[assistant]"
    assert template.render(ASKED, add_generation_prompt=False) == text


def test_the_template_file_stands_before_the_one_in_the_config(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("file")
    assert with_template(tmp_path, chat_template="config").render(ASKED) == "file"


def test_the_default_of_several_templates_is_taken(tmp_path: Path) -> None:
    named = [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]
    assert with_template(tmp_path, chat_template=named).render(ASKED) == "d"


def test_a_folder_without_a_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no chat template"):
        with_template(tmp_path)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ messages[0] | tojson }}", '{"role": "system", "content": "Be brief."}'),
        ("{% generation %}{{ 1 }}{% endgeneration %}", "1"),
        ("{% for m in messages %}{{ loop.index }}{% break %}{% endfor %}", "1"),
        ("{{ strftime_now('%d %b %Y') }}", "01 Jan 2026"),
        ("{{ 'ab' * 2 }}{{ 3 * 4 }}", "abab12"),
    ],
)
def test_what_published_templates_use_is_there(source: str, text: str) -> None:
    assert Template(source).render(ASKED) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ messages.append(1) }}", "refused"),
        ("{{ ''.__class__.__mro__ }}", "refused"),
        ("{{ 9 ** 9 ** 9 }}", "may not compute"),
        ("{{ 'a' * 99999999 }}", "may not compute"),
        ("{% for i in range(9999999) %}{% endfor %}", "Range too big"),
        ("{% if %}", "not valid Jinja"),
        ("a" * 300_000, "at most 262,144"),
        ("{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}", "wrote more than"),
    ],
)
def test_a_template_that_refuses_or_misbehaves_is_an_error(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Template(source).render(ASKED)


def test_variables_reach_the_template_and_its_hash() -> None:
    off = Template("{{ enable_thinking }}", variables={"enable_thinking": False})
    on = Template("{{ enable_thinking }}", variables={"enable_thinking": True})
    assert (off.render(ASKED), on.render(ASKED)) == ("False", "True")
    assert off.hash != on.hash
    assert len(off.hash) == 12
    assert templates.PINNED_DAY.year == 2026


SPLITS = (" So", " we add", " x", "ing", "\n\n", "\n", " ", "  ", " \n ", "3", "12345", ".", "'s")
TAGS = (" é日", " Wait", "<think>", "</thi", "nk>", "<|end|>", " the answer is", "(", ").\n")
PIECES = st.sampled_from((*SPLITS, *TAGS))
KINDS = {"bytes": byte_level, "pieces": byte_fallback, "qwen": as_qwen}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    made = {name: saved(make(), tmp_path_factory.mktemp(name)) for name, make in KINDS.items()}
    return made | {"pocket": Tokenizer.load(POCKET)}


@given(
    text=st.lists(PIECES, min_size=90, max_size=140).map("".join),
    more=st.lists(PIECES, max_size=5).map("".join),
)
@settings(max_examples=60, deadline=None)
def test_a_text_that_grows_has_the_tokens_of_the_whole(
    kinds: dict[str, Tokenizer], text: str, more: str
) -> None:
    for name, known in kinds.items():
        assert known.grow(text, known.encode(text), more) == known.encode(text + more), name


@dataclass
class Counting:
    """Counts the characters that a tokenizer is given to encode."""

    raw: RawTokenizer
    given: int = 0

    def encode(self, text: str, **how: bool) -> object:
        self.given += len(text)
        return self.raw.encode(text, **how)

    def __getattr__(self, name: str) -> object:
        return getattr(self.raw, name)


@pytest.mark.parametrize("kind", ["bytes", "qwen", "pocket"])
def test_of_a_run_that_grows_the_end_alone_is_encoded(
    kinds: dict[str, Tokenizer], kind: str
) -> None:
    known, units = kinds[kind], [f" So we add {n} and see what that is.\n\n" for n in range(300)]
    counting = Counting(known.raw)
    raw = cast("RawTokenizer", counting)  # it passes on all that it lacks
    dialect = IdsDialect(Frame(Template("Q")), replace(known, raw=raw))
    trajectory = Trajectory()
    for text in units:
        trajectory = trajectory.add(Wrote(Unit("guide", text, "inserted")))
        laid = dialect.prompt(ASKED, trajectory, "thinking", "main")
    assert laid.prompt == known.encode("Q<think>\n") + known.encode("".join(units))
    whole = sum(len("".join(units[:n])) for n in range(300))
    assert counting.given < whole / 2
