import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from collab.errors import ConfigError
from collab.pocket import kernel
from collab.pocket.__main__ import main
from collab.pocket.server import PocketBackend, find
from collab.serving import build_app, serve

QUESTION = {"role": "user", "content": "How many?"}


@pytest.fixture
async def client(checkpoint: Path) -> AsyncIterator[httpx2.AsyncClient]:
    with serve(build_app(PocketBackend([checkpoint]))) as url:
        async with httpx2.AsyncClient(
            base_url=url, trust_env=False, timeout=60, verify=False
        ) as client:
            yield client


@contextmanager
def process(*args: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Start a server for the time of the context."""
    command = [sys.executable, "-m", "collab.pocket", *args]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ | env
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def ready(child: subprocess.Popen[str]) -> dict[str, Any]:  # Any: JSON
    assert child.stdout is not None
    line: dict[str, Any] = json.loads(child.stdout.readline())
    return line


async def test_a_chat_and_its_rendered_prompt_have_the_same_tokens(
    client: httpx2.AsyncClient,
) -> None:
    asked = {"temperature": 0, "max_tokens": 12, "return_token_ids": True}
    chat = await client.post("/v1/chat/completions", json={"messages": [QUESTION], **asked})
    prompt = "<|user|>\nHow many?<|end|>\n<|assistant|>\n<think>\n"
    text = await client.post("/v1/completions", json={"prompt": prompt, **asked})
    ids = text.json()["choices"][0]["prompt_token_ids"]
    again = await client.post("/v1/completions", json={"prompt": ids, **asked})
    assert chat.json()["prompt_token_ids"] == ids
    choices = [reply.json()["choices"][0] for reply in (chat, text, again)]
    assert len({tuple(choice["token_ids"]) for choice in choices}) == 1


async def test_every_reply_and_every_event_of_a_stream_names_the_kernel(
    client: httpx2.AsyncClient,
) -> None:
    text: dict[str, object] = {"prompt": "a", "max_tokens": 3}
    chat: dict[str, object] = {"messages": [QUESTION], "max_tokens": 3}
    for place, body in (("completions", text), ("chat/completions", chat)):
        whole = await client.post(f"/v1/{place}", json=body)
        assert whole.json()["system_fingerprint"] == kernel.name()
        streamed = await client.post(f"/v1/{place}", json=body | {"stream": True})
        lines = streamed.text.removesuffix("data: [DONE]\n\n").split("\n\n")
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
        assert {event["system_fingerprint"] for event in events} == {kernel.name()}


async def test_a_cached_prefix_shows_in_the_usage(client: httpx2.AsyncClient) -> None:
    body = {"prompt": "x" * 100, "max_tokens": 1}
    cached = [
        (await client.post("/v1/completions", json=body)).json()["usage"]["prompt_tokens_details"]
        for _ in range(2)
    ]
    assert cached == [{"cached_tokens": 0}, {"cached_tokens": 96}]


async def test_special_tokens_are_in_the_text_only_where_asked(client: httpx2.AsyncClient) -> None:
    ids = (await client.post("/tokenize", json={"prompt": "<|end|><think>a"})).json()["tokens"]
    text = (await client.post("/detokenize", json={"tokens": ids})).json()["prompt"]
    assert (len(ids), text) == (3, "<|end|><think>a")


async def test_the_checkpoints_own_sampling_is_the_default(client: httpx2.AsyncClient) -> None:
    body = {"prompt": "a", "seed": 1, "max_tokens": 30}
    own = await client.post("/v1/completions", json=body)
    said = await client.post("/v1/completions", json=body | {"temperature": 0.6, "top_p": 0.95})
    other = await client.post("/v1/completions", json=body | {"temperature": 2.0, "top_p": 1.0})
    texts = [reply.json()["choices"][0]["text"] for reply in (own, said, other)]
    assert texts[0] == texts[1] != texts[2]


def test_a_process_says_where_it_is_and_stops_with_its_parent(checkpoint: Path) -> None:
    with process(str(checkpoint), "--stop-with-parent") as child:
        where = ready(child)
        assert where["pid"] == child.pid
        assert httpx2.get(f"{where['url']}/health", trust_env=False).status_code == 200
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait() == 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_a_process_computes_in_one_thread(checkpoint: Path) -> None:
    with process(str(checkpoint)) as child:
        ready(child)
        assert len(list(Path(f"/proc/{child.pid}/task").iterdir())) == 1


def test_a_process_serves_on_a_unix_socket_and_removes_it(checkpoint: Path, tmp_path: Path) -> None:
    uds = tmp_path / "s"
    with process(str(checkpoint), "--uds", str(uds), "--stop-with-parent") as child:
        where = ready(child)
        assert where["uds"] == str(uds)
        with httpx2.Client(trust_env=False, transport=httpx2.HTTPTransport(uds=str(uds))) as client:
            assert client.get(f"{where['url']}/v1/models").status_code == 200
            assert client.get("http://any.name/v1/models").status_code == 200
        assert uds.stat().st_mode & 0o077 == 0
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait() == 0
    assert not uds.exists()


def test_a_process_asks_for_the_key_it_was_given(checkpoint: Path) -> None:
    with process(str(checkpoint), "--api-key-env", "MY_KEY", MY_KEY="sesame") as child:
        url = f"{ready(child)['url']}/v1/models"
        assert httpx2.get(url, trust_env=False).status_code == 401
        headers = {"authorization": "Bearer sesame"}
        assert httpx2.get(url, headers=headers, trust_env=False).status_code == 200


@pytest.mark.parametrize("api", ["vllm", "deepseek"])
def test_a_process_that_other_machines_reach_makes_a_key(checkpoint: Path, api: str) -> None:
    with process(str(checkpoint), "--host", "0.0.0.0", "--api", api) as child:
        where = ready(child)
        url = where["url"].replace("/beta", "") + "/v1/models"
        assert httpx2.get(url, trust_env=False).status_code == 401
        headers = {"authorization": f"Bearer {where['api_key']}"}
        for host, status in (("0.0.0.0", 200), (socket.gethostname(), 200), ("evil.example", 403)):
            asked = headers | {"host": f"{host}:8000"}
            said = httpx2.get(url, headers=asked, trust_env=False)
            assert said.status_code == status


def test_a_socket_that_somebody_else_serves_stays(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place))
        assert main([str(checkpoint), "--uds", str(place)]) == 2
    assert "already in use" in capsys.readouterr().err
    assert place.exists()


def test_an_interrupted_process_ends_whoever_is_connected(checkpoint: Path) -> None:
    with process(str(checkpoint)) as child, ExitStack() as stack:
        url = ready(child)["url"]
        at = (httpx2.URL(url).host, httpx2.URL(url).port or 0)
        body = json.dumps({"messages": [QUESTION], "stream": True, "ignore_eos": True, "n": 64})
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        head += f"application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        for sends in ("", "GET / HT", head, head + body):
            client = stack.enter_context(socket.create_connection(at))
            client.sendall(sends.encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate()
        assert (child.returncode, errors) == (130, "")


def test_an_interrupted_process_stops(checkpoint: Path) -> None:
    with process(str(checkpoint)) as child:
        ready(child)
        child.terminate()
        assert child.wait() != 0


def test_an_unknown_model_is_refused_and_the_shipped_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plane"]) == 2
    said = capsys.readouterr().err
    assert "'plane' is neither shipped" in said
    with pytest.raises(ConfigError):
        find("plane")


def test_a_key_variable_that_is_not_set_is_an_error(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), "--api-key-env", "COLLAB_NO_SUCH_KEY"]) == 2
    assert "'COLLAB_NO_SUCH_KEY' is not set" in capsys.readouterr().err


def test_two_models_of_one_name_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="two models"):
        PocketBackend([checkpoint, checkpoint])


def test_a_model_can_be_served_in_another_apis_form(checkpoint: Path) -> None:
    turn = {"role": "assistant", "prefix": True, "content": "", "reasoning_content": "3"}
    with process("--api", "deepseek", str(checkpoint)) as child:
        url = ready(child)["url"]
        assert url.endswith("/beta")
        body = {"messages": [QUESTION, turn], "max_tokens": 4, "temperature": 0}
        reply = httpx2.post(f"{url}/chat/completions", json=body, timeout=60, trust_env=False)
    assert reply.json()["choices"][0]["message"]["reasoning_content"]
