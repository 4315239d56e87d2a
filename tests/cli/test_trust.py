import io
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab.cli import trust
from collab.cli.trust import may_send
from collab.endpoints.scripted import attentive
from collab.errors import ConfigError

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
STRANGE = "https://api.strange.example/v1"
KEY = "sk-live-0123456789abcdef"


class Terminal(io.StringIO):
    """Somebody at the keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(trust, "_ours", lambda: frozenset({("VENDOR_KEY", "api.vendor.example")}))
    return tmp_path / "config" / "collab" / "keys.json"


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("VENDOR_KEY", "https://api.vendor.example/beta"),
        ("VENDOR_KEY", "http://127.0.0.1:8000/v1"),
        ("ANY_KEY", "http://localhost:8000/v1"),
    ],
)
def test_a_key_goes_where_our_conf_sends_it_and_to_this_machine(variable: str, url: str) -> None:
    may_send(variable, url)


def test_a_known_key_to_a_strange_host_is_questioned(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as refused:
        may_send("VENDOR_KEY", STRANGE)
    assert str(refused.value) == (
        "the key in VENDOR_KEY, which collab's own conf sends to api.vendor.example, would go to "
        "'api.strange.example'; if that is right, set COLLAB_TRUST=VENDOR_KEY@api.strange.example"
    )
    monkeypatch.setenv("COLLAB_TRUST", "OTHER@x.example, VENDOR_KEY@api.strange.example")
    may_send("VENDOR_KEY", STRANGE)


def test_an_answer_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setattr("sys.stdin", Terminal("no\ny\n"))
    with pytest.raises(ConfigError, match="you said no"):
        may_send("MY_KEY", STRANGE)
    may_send("MY_KEY", STRANGE)
    assert shown.getvalue().count("would go to 'api.strange.example'") == 2
    assert json.loads(home.read_text()) == [["MY_KEY", "api.strange.example"]]
    may_send("MY_KEY", STRANGE)
    monkeypatch.setattr("sys.stdin", Terminal(""))
    with pytest.raises(ConfigError):
        may_send("MY_KEY", "https://other.example")


def test_the_pairs_of_our_own_conf_are_read_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    trust._ours.cache_clear()
    assert all(host and variable.isupper() for variable, host in trust._ours())


def test_a_run_whose_conf_sends_a_known_key_to_a_strange_host_stops_before_any_request(
    command: Command, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)
    with scripted("Hm.</think>4") as bench:
        said = command(
            "play",
            *bench.words,
            f"team.main.base_url={STRANGE}",
            "team.main.api_key_env=VENDOR_KEY",
            f"runs={tmp_path / 'runs'}",
        )
    assert "would go to 'api.strange.example'" in said.error


@pytest.mark.parametrize("failures", [[], ["unauthorized"] * 99])
def test_a_key_appears_nowhere(
    command: Command,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    failures: list[str],
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    runs = tmp_path / "runs"
    said = []
    with scripted(attentive, failures) as bench:
        words = [*bench.words, "team.main.api_key_env=MY_KEY", f"runs={runs}"]
        said.append(command("doctor", *words))
        said.append(command("play", *words, "question=What is 1 + 1?"))
        small = ["questions.count=1", "scenario=solo", "scenario.samples=2", "policy=solo"]
        said.append(command("run", *words, *small, "budget=100", "team=solo"))
        said.append(command("run", *words, "--cfg", "job"))
        sent = {request.headers["authorization"] for request in bench.server.requests}
    assert sent == {f"Bearer {KEY}"}
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert any(path.name == "manifest.json" for path in files) or failures
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert not [each for each in said if KEY in each.out + each.err]
    assert not failures or "Incorrect API key provided: Bearer [key]" in said[0].err
    assert os.environ["MY_KEY"] == KEY
