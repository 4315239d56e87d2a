import struct
from pathlib import Path

import pytest

from collab.core import gguf
from collab.core.gguf import Gguf, is_gguf
from collab.errors import ConfigError
from tests.gguf_file import TOKENS, metadata, write


def test_metadata_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    values = metadata()
    found = Gguf.load(write(tmp_path / "a.gguf", values))
    assert {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in found.values.items()
    } == values
    assert found.context == 2048
    assert found.specials == {"eos_token": "<|end|>"}
    assert found.texts("tokenizer.ggml.tokens") == tuple(TOKENS)
    assert found.numbers("tokenizer.ggml.tokens") == ()
    assert (found.text("nothing"), found.number("general.architecture")) == (None, None)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", metadata())
    assert Gguf.load(file).context == 2048
    write(file, metadata() | {"qwen3.context_length": 64, "more": "x"})
    assert Gguf.load(file).context == 64


def test_special_tokens_beyond_the_list_are_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", metadata(eos_token_id=len(TOKENS)))
    assert Gguf.load(file).specials == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends within its metadata"),
        (b"PK\x03\x04" + bytes(40), "does not begin with 'GGUF'"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "its version is 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40), "more than"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "longer than"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + bytes(3), "ends within"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99), "type 99"),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1),
            "type 9",
        ),
    ],
)
def test_what_is_no_gguf_file_is_refused_in_one_line(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refused:
        Gguf.load(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_metadata_beyond_the_bound_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "MOST_BYTES", 500)
    with pytest.raises(ConfigError, match="longer than the 500 bytes"):
        Gguf.load(write(tmp_path / "a.gguf", metadata()))


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("models/a.gguf", True),
        ("owner/name/a.gguf@main", True),
        ("a.gguf/config", False),
        ("owner/name-gguf", False),
        ("owner/name@x.gguf/y", False),
    ],
)
def test_a_gguf_file_is_known_by_the_end_of_its_name(source: str, named: bool) -> None:
    assert is_gguf(source) is named
