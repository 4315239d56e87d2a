import io
import json
import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.app import trust
from collab.app.trust import may_send
from collab.endpoints.scripted import attentive
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError
from collab.serving import serve

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
    monkeypatch.setattr(
        trust, "_shipped_pairs", lambda: frozenset({("VENDOR_KEY", "api.vendor.example")})
    )
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
    trust._shipped_pairs.cache_clear()
    assert all(host and variable.isupper() for variable, host in trust._shipped_pairs())


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


ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
FORMS = {
    "plain": KEY,
    "json": ESCAPED,
    "one letter": "\\u0073" + KEY[1:],
    "percent": "".join(f"%{ord(letter):02X}" for letter in KEY),
    "percent twice": quote("".join(f"%{ord(letter):02x}" for letter in KEY)),
}


class Repeating:
    """A server that writes the key somewhere into what another one says."""

    def __init__(self, app: ASGIApp, where: str, form: str, ids: list[int]) -> None:
        self._app, self._where, self._form, self._ids = app, where, FORMS[form], ids
        self._drawn = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        draws = scope["path"].endswith("/completions")
        self._drawn += draws
        names = self._where in ("model", "system_fingerprint")
        if not draws or (self._drawn == 1 and not names):  # the check at the start passes
            await self._app(scope, receive, send)
            return
        whole = b""

        async def keep(message: Message) -> None:
            nonlocal whole
            whole += message.get("body", b"")

        await self._app(scope, receive, keep)
        status, headers, body = self._altered(json.loads(whole))
        length = (b"content-length", str(len(body)).encode())
        head = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
        await send(head)
        await send({"type": "http.response.body", "body": body})

    def _altered(self, said: Any) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if self._where == "error":
            return 400, [], b'{"error": {"message": "Bad %s"}}' % self._form.encode()
        if self._where == "location":
            return 302, [(b"location", b"/?" + self._form.encode())], b""
        if self._where == "cookie":
            cookie = (b"set-cookie", b"k=" + self._form.encode() + b"; expires=never")
            return 200, [cookie], json.dumps(said).encode()
        if self._where == "ids":
            said["choices"][0]["token_ids"] = self._ids
        elif self._where == "text":
            del said["choices"][0]["token_ids"]
            said["choices"][0]["text"] = "@@"
        else:
            said[self._where] = "@@"
        return 200, [], json.dumps(said).replace("@@", self._form).encode()


@pytest.mark.parametrize(
    ("where", "form"),
    [
        *((where, "one letter") for where in ("model", "system_fingerprint")),
        *(("error", form) for form in ("json", "percent twice")),
        *(("text", form) for form in ("plain", "json", "percent")),
        *((where, "plain") for where in ("ids", "cookie")),
        ("location", "percent"),
    ],
)
def test_a_key_that_a_server_repeats_is_in_no_file_of_a_run(
    where: str,
    form: str,
    command: Command,
    scripted: Scripted,
    letters: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    runs = tmp_path / "runs"
    small = ["questions.count=1", "scenario=solo", "scenario.samples=2", "policy=solo"]
    with (
        scripted(attentive) as bench,
        serve(Repeating(bench.server, where, form, list(letters.encode(KEY)))) as url,
    ):
        words = [*bench.words, *small, "team=solo", "budget=100", f"runs={runs}"]
        words += ["team.main.api_key_env=MY_KEY", f"team.main.base_url={url}"]
        if where == "text":
            words += ["team.main.dialect=text", "strict_prefill=false"]
        said = command("run", *words, "+team.main.limits.retries=0")
    assert said.status == (0 if where in ("model", "system_fingerprint", "cookie") else 1), said
    assert "Traceback" not in said.out + said.err
    found = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert any(path.name == "run.log" for path in found)
    texts = [*found.values(), said.out.encode(), said.err.encode(), *unpacked(runs)]
    for spelled in (*FORMS.values(), KEY[:16]):
        assert not [text for text in texts if spelled.lower().encode() in text.lower()]


def unpacked(runs: Path) -> list[bytes]:
    """Return what the store holds, unpacked."""
    with sqlite3.connect(runs / "store.sqlite") as store:
        rows = store.execute("SELECT body, served, model FROM generations").fetchall()
    store.close()
    return [zlib.decompress(body) + f"{served} {model}".encode() for body, served, model in rows]


def test_no_secret_of_the_command_line_is_kept(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    small = ["questions.count=1", "scenario=solo", "scenario.samples=1", "policy=solo"]
    extra = ["+team.main.extra.api_key=hush-1", "+team.main.extra.h={authorization: hush-2}"]
    with scripted("Hm.</think>4") as bench:
        said = command("run", *bench.words, *small, "team=solo", f"runs={runs}", *extra)
        sent = [request.body.get("api_key") for request in bench.server.requests]
    assert "api_key: Extra inputs are not permitted" in said.error
    assert "hush-1" in sent
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hush-" in path.read_bytes()]
    (manifest,) = (path for path in files if path.name == "manifest.json")
    assert "+team.main.extra.api_key=***" in manifest.read_text()
