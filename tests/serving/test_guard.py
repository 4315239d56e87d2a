"""Requests from pages of other sites are refused, and other machines need the key."""

import pytest

from collab.endpoints.scripted import ScriptedServer
from collab.errors import ConfigError
from collab.serving import Guard, key_for, key_in, listen, serve
from tests.serving.conftest import CHAT, HEAD, error, request, sent

EVIL = "evil.example"


@pytest.mark.parametrize(
    ("status", "old", "new"),
    [
        (403, "Host: localhost", f"Host: {EVIL}"),
        (403, "Host: localhost", f"Host: localhost.{EVIL}"),
        (403, "Host: localhost", "Host: 192.168.0.1"),
        (403, "Host: localhost", "Host: 0.0.0.0"),
        (400, "Host: localhost", "Host: [::1"),
        (400, "Host: localhost", f"Host: localhost@{EVIL}"),
        (400, "Host: localhost", "Host: localhost:port"),
        (400, "Host: localhost", "Host: "),
        (400, "Host: localhost\r\n", ""),
        (403, "Host", f"Origin: http://{EVIL}\r\nHost"),
        (403, "Host", "Origin: null\r\nHost"),
        (403, "Host", "Origin: http://localhost:3000\r\nHost"),
        (403, "Host", "Origin: https://localhost\r\nHost"),
        (403, "Host", f"Origin: http://localhost\r\nOrigin: http://{EVIL}\r\nHost"),
        (403, "Host", "Sec-Fetch-Site: cross-site\r\nHost"),
        (403, "Host", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nHost"),
        (415, "application/json", "text/plain"),
        (415, "application/json", "application/x-www-form-urlencoded"),
        (415, "application/json", "multipart/form-data; boundary=application/json"),
        (400, "Content-Type: application/json\r\n", ""),
        (415, "Host", "Content-Encoding: gzip\r\nHost"),
    ],
)
def test_a_page_of_another_site_gets_no_answer(url: str, status: int, old: str, new: str) -> None:
    refused = sent(url, request(head=HEAD.replace(old.encode(), new.encode())))
    assert (refused.status, error(refused)["code"]) == (status, status)


@pytest.mark.parametrize(
    "line",
    [
        "Host: 127.0.0.1:8000",
        "Host: [::1]:8000",
        "Host: LOCALHOST",
        "Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin",
        "Host: localhost\r\nContent-Type: application/json; charset=utf-8",
    ],
)
def test_a_program_on_this_machine_is_answered(url: str, line: str) -> None:
    head = HEAD.replace(b"Host: localhost", line.encode(), 1)
    whole = b'{"messages":[{"role":"user","content":"3 + 4?"}],"max_completion_tokens":3}'
    assert sent(url, request(whole, head=head)).status == 200


def test_a_preflight_gets_no_permission(url: str) -> None:
    for origin in ("http://evil.example", "http://localhost"):
        head = HEAD.replace(b"POST", b"OPTIONS")
        asks = (f"Origin: {origin}", "Access-Control-Request-Method: POST")
        refused = sent(url, request(b"", *asks, head=head))
        assert refused.status >= 400
        assert not [name for name in refused.headers if name.startswith("access-control")]


def test_a_key_is_asked_for_in_every_api_and_whatever_the_path() -> None:
    with serve(Guard(ScriptedServer("x", api="sglang"), key="sesame")) as url:
        for path in ("/generate", "/v1/models", "/nothing"):
            head = HEAD.replace(b"/v1/chat/completions", path.encode())
            assert sent(url, request(head=head)).status == 401
            assert sent(url, request(CHAT, "Authorization: Bearer \xe4", head=head)).status == 401
            assert sent(url, request(CHAT, "Authorization: Basic sesame", head=head)).status == 401
            assert sent(url, request(CHAT, "Authorization: bearer sesame", head=head)).status != 401
        assert (
            sent(url, request(head=HEAD.replace(b"/v1/chat/completions", b"/health"))).status < 500
        )


def test_a_key_is_made_where_other_machines_can_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("0.0.0.0", 0) as here, listen("127.0.0.1", 0) as one, listen("localhost", 0) as two:
        keys = {key_for(here), key_for(here)}
        assert None not in keys
        assert len(keys) == 2
        assert (key_for(one), key_for(two)) == (None, None)
    monkeypatch.setenv("MY_KEY", "sesame")
    assert (key_in("MY_KEY"), key_in(None)) == ("sesame", None)
    monkeypatch.setenv("MY_KEY", "")
    with pytest.raises(ConfigError, match="'MY_KEY' is not set"):
        key_in("MY_KEY")


def test_a_port_that_cannot_be_had_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on '127.0.0.1', port {port}: "):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"cannot listen on 'no\.such\.host\.invalid', port 0: "):
        listen("no.such.host.invalid", 0)
    with pytest.raises(ConfigError, match="port 99999 is out of range"):
        listen("127.0.0.1", 99999)


def test_a_path_with_a_slash_too_many_leads_nowhere(url: str) -> None:
    head = HEAD.replace(b"completions", b"completions/")
    refused = sent(url, request(head=head))
    assert (refused.status, bool(error(refused))) == (404, True)
