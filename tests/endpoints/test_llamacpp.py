"""llama.cpp: what it is sent, how its replies are read, and how its server is started."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collab.core.sampling import OpenTurn, Request, Sampling
from collab.core.trajectory import Message
from collab.endpoints.launch import Launcher
from collab.endpoints.llamacpp_log import failure, stage
from collab.endpoints.native import LlamaCompletion
from collab.endpoints.reply import Models
from collab.endpoints.request_format import EndpointRequest
from collab.endpoints.spec import LlamacppSpec, Serves
from collab.endpoints.vendors import DeepSeekPrefix, ReasoningField
from collab.errors import ConfigError, LaunchError
from tests.gguf_file import metadata, write

COMPLETED = {
    "model": "m",
    "content": "so",
    "tokens": [5],
    "stop_type": "limit",
    "tokens_evaluated": 7,
    "tokens_predicted": 1,
}
SERVER = """\
#!/bin/sh
"exec" "{python}" "$0" "$@"
import http.server, json, os, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

args = dict(zip(sys.argv[1:], sys.argv[2:]))
if "--fail" in args:
    print("error loading model: unknown model architecture: 'new'", flush=True)
    sys.exit(1)
with open(args["--told"], "w") as told:
    json.dump({{"argv": sys.argv[1:], "key": os.environ["LLAMA_API_KEY"]}}, told)
http.server.HTTPServer(("127.0.0.1", int(args["--port"])), Health).serve_forever()
"""
"""Stands in for llama-server: tells how it was started, and serves /health."""


@pytest.fixture(autouse=True)
def _place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the servers of these tests apart from all others."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def llama_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A llama-server on PATH."""
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text(SERVER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def body(sampling: Sampling = Sampling(), **fields: Any) -> dict[str, Any]:  # noqa: B008 - frozen
    request = Request("m", (1, 2, 3), sampling, 16)
    ask = EndpointRequest(request, "m", 1, 7, **fields)
    return dict(LlamaCompletion().body(ask))


def test_the_temperature_acts_first_and_penalties_see_the_whole_text() -> None:
    sent = body(Sampling(repetition_penalty=1.2, top_k=-1))
    assert sent["samplers"] == ["penalties", "temperature", "min_p", "top_k", "top_p"]
    assert (sent["repeat_penalty"], sent["repeat_last_n"], sent["top_k"]) == (1.2, 19, 0)
    assert body(context=12)["repeat_last_n"] == 12


def test_an_empty_list_of_stops_is_not_sent() -> None:
    assert "stop" not in body()
    assert body(stop=("x",))["stop"] == ["x"]


@pytest.mark.parametrize(
    ("timings", "cached"), [({}, None), ({"timings": {"cache_n": 4, "prompt_n": 3}}, 4)]
)
def test_the_cached_part_of_a_prompt_is_read(timings: dict[str, Any], cached: int | None) -> None:
    reply = json.dumps(COMPLETED | timings).encode()
    request = Request("m", (1, 2, 3), Sampling(), 16)
    usage = LlamaCompletion().parse("http://x", reply, request).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == cached


@pytest.mark.parametrize(
    ("said", "context"),
    [
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, 2048),
        ({"max_model_len": 64, "meta": {"n_ctx": 2048}}, 64),
        ({"meta": None}, None),
        ({}, None),
    ],
)
def test_the_context_of_a_slot_is_that_of_the_model(
    said: dict[str, Any], context: int | None
) -> None:
    models = Models.model_validate({"data": [{"id": "m", **said}]}).data
    assert models is not None
    (model,) = models
    assert model.context == context


async def test_the_server_on_path_is_started_with_the_context_of_every_slot(
    llama_server: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    spec = LlamacppSpec(slots=3, threads=2, gpu_layers=0, args=("--told", str(told)))
    file = write(tmp_path / "a.gguf", metadata())
    async with Launcher(tmp_path / "logs") as launcher:
        server = await launcher.start(spec, Serves(model=str(file), name="tiny"))
        assert await launcher.start(spec, Serves(model=str(file), name="tiny")) is server
        hello = json.loads(told.read_text())
        assert server.alive
    assert not server.alive
    given = dict(zip(hello["argv"], hello["argv"][1:], strict=False))
    assert hello["key"] == server.api_key
    assert server.api_key not in hello["argv"]
    assert (given["--model"], given["--alias"]) == (str(file), "tiny")
    assert (given["--ctx-size"], given["--parallel"]) == (str(3 * 2048), "3")
    assert (given["--threads"], given["--gpu-layers"]) == ("2", "0")
    assert given["--host"] == "127.0.0.1"
    assert "--no-context-shift" in hello["argv"]


def test_without_a_server_on_path_the_package_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("llama-server") is None
    what = Serves(model="a.gguf", name="tiny", context=64)
    command = LlamacppSpec().command(what, 1)
    assert command[:2] == [sys.executable, "-P"]
    assert command[2].endswith("serve_llamacpp.py")
    assert LlamacppSpec(python="/x/python").command(what, 1)[0] == "/x/python"
    assert LlamacppSpec(server="/x/llama").command(what, 1)[:2] == ["/x/llama", "--model"]


def test_what_is_no_gguf_file_is_not_served() -> None:
    with pytest.raises(ConfigError, match=r"not 'a/folder': set the model's checkpoint"):
        LlamacppSpec(server="x").command(Serves(model="a/folder", name="tiny"), 1)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("-c 512", "set the model's context"),
        ("--parallel=2", r"set launch\.slots"),
        ("--n_gpu_layers 3", r"set launch\.gpu_layers"),
        ("--api-key x", "a random key is generated"),
        ("--reasoning-format deepseek", "remove the thinking from the text"),
        ("--context-shift", "drop the start of a trajectory"),
    ],
)
def test_arguments_that_have_a_setting_are_refused(args: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LlamacppSpec.model_validate({"args": args})


async def test_a_start_that_fails_says_why(llama_server: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", metadata())
    spec = LlamacppSpec(args=("--fail", "now"))
    async with Launcher(tmp_path / "logs") as launcher:
        with pytest.raises(LaunchError, match="does not know the model's architecture"):
            await launcher.start(spec, Serves(model=str(file), name="tiny"))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "starting"),
        ("srv init: loading model", "loading weights"),
        ("loading model\nload_model: initializing, n_slots = 4", "warming up"),
        ("initializing, n_slots = 4\nlistening on http://127.0.0.1:1", "answering soon"),
    ],
)
def test_how_far_a_start_is_is_read_off_the_log(log: str, said: str) -> None:
    assert stage(log) == said


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        ("ModuleNotFoundError: No module named 'xllamacpp'", 1, "no llama-server on PATH"),
        ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer", 1, "fit"),
        ("tensor 'x' data is not within the file bounds", 1, "no whole GGUF file"),
        ("xllamacpp: error: unrecognized arguments: --x", 2, "launch.args"),
        ("error: invalid argument: --x", 1, "launch.args"),
        ("something else", -9, "ran out of memory"),
    ],
)
def test_the_usual_failures_are_explained(log: str, code: int, said: str) -> None:
    found = failure(log, code)
    assert found is not None
    assert said in found
    assert failure("all is well", 1) is None


def test_a_chat_with_llamacpp_names_the_penalty_as_it_does() -> None:
    turn = OpenTurn("reasoning_field", messages=(Message("user", "Q"),), thought="So")
    ask = EndpointRequest(Request("m", turn, Sampling(repetition_penalty=1.3), 4), "m", 1, 0)
    assert ReasoningField(None, "<think>", "</think>").body(ask)["repeat_penalty"] == 1.3
    assert "repeat_penalty" not in DeepSeekPrefix(None, "<think>", "</think>").body(ask)
