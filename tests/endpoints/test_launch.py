import asyncio
import fcntl
import json
import os
import sys
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from collab.endpoints.client import Endpoint
from collab.endpoints.launch import Launcher
from collab.endpoints.owner import LOCK, OWNER, RunningServer, folder, locked, outer, owning
from collab.endpoints.request_format import Completions
from collab.endpoints.spec import PocketSpec, Serves, Spec, VllmSpec
from collab.endpoints.vllm_log import failure, stage
from collab.errors import LaunchError, Rejected

INTERPRETER = """\
#!/bin/sh
"exec" "{python}" "$0" "$@"
import http.server, json, os, socket, sys, threading

class Health(http.server.BaseHTTPRequestHandler):
    looks = 0

    def do_GET(self):
        Health.looks += 1
        self.send_response(200 if Health.looks > 1 else 503)
        self.end_headers()

args = dict(zip(sys.argv[1:], sys.argv[2:]))
print("Starting to load model", args["--served-model-name"], flush=True)
if "--fail" in args:
    print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
    sys.exit(5)
phone = socket.create_connection(("127.0.0.1", int(args["--phone"])))
hello = {{"argv": sys.argv[1:], "key": os.environ["VLLM_API_KEY"], "session": os.getsid(0)}}
phone.sendall(json.dumps(hello).encode() + b"\\n")
if "--deaf" not in args:
    server = http.server.HTTPServer(("127.0.0.1", int(args["--port"])), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
phone.recv(1)
os._exit(3)
"""
"""Stands in for the interpreter of vLLM's environment: serves /health, and holds a line to us."""
COMMAND = """\
import asyncio, sys
from collab.endpoints.launch import Launcher
from collab.endpoints.owner import owning
from collab.endpoints.spec import Serves, VllmSpec

async def main():
    async with Launcher() as launcher:
        await launcher.start(VllmSpec.model_validate_json(sys.argv[1]), Serves(model="m", name="m"))
        print("ready", flush=True)
        await launcher.watch()

with owning():
    asyncio.run(main())
"""
"""A command that starts a server and works on, in a process of its own."""
WHAT = Serves(model="org/tiny", name="tiny")


@dataclass
class Line:
    """A line to the server process: its end is the process's end."""

    hello: dict[str, Any]  # JSON
    reader: StreamReader
    writer: StreamWriter

    async def ended(self) -> None:
        assert await self.reader.read() == b""
        self.writer.close()

    def hang_up(self) -> None:
        """Let the server die."""
        self.writer.write(b"x")


@dataclass
class Exchange:
    """Where server processes call."""

    port: int
    calls: "asyncio.Queue[tuple[StreamReader, StreamWriter]]"

    async def call(self) -> Line:
        reader, writer = await self.calls.get()
        return Line(json.loads(await reader.readline()), reader, writer)


@pytest.fixture(autouse=True)
def _place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the servers of these tests apart from all others."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv(OWNER, raising=False)


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    calls: asyncio.Queue[tuple[StreamReader, StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *call: calls.put_nowait(call), "127.0.0.1", 0)
    async with server:
        yield Exchange(server.sockets[0].getsockname()[1], calls)
    while not calls.empty():
        _, writer = calls.get_nowait()
        writer.close()


@pytest.fixture
def python(tmp_path: Path) -> str:
    path = tmp_path / "python"
    path.write_text(INTERPRETER.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def vllm(python: str, exchange: Exchange, *args: str, **fields: Any) -> VllmSpec:
    words = ("--phone", str(exchange.port), *args, "")
    return VllmSpec(python=python, args=words, **fields)


async def briefly(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.02))


def launcher(logs: Path | None = None, **fields: Any) -> Launcher:
    return Launcher(logs, sleep=briefly, **fields)


async def test_the_pocket_server_is_started_once_and_asks_for_its_key() -> None:
    async with Launcher() as here:
        server = await here.start(PocketSpec(), WHAT)
        assert await here.start(PocketSpec(), WHAT) is server
        assert server.api_key not in repr(server)
        form = Completions()
        async with Endpoint(server.url, "plain", form=form, api_key=server.api_key) as endpoint:
            assert "plain" in {model.id for model in await endpoint.models()}
        async with Endpoint(server.url, "plain", form=form) as endpoint:
            with pytest.raises(Rejected, match="401"):
                await endpoint.models()
        assert server.alive
    assert not server.alive
    assert not server.run.exists()


async def test_a_vllm_server_is_ready_when_it_is_healthy_and_gone_when_the_launcher_closes(
    python: str, exchange: Exchange
) -> None:
    said: list[str] = []
    async with launcher(tell=said.append) as here:
        server = await here.start(vllm(python, exchange, "--max-num-seqs", "8"), WHAT)
        line = await exchange.call()
        assert line.hello["key"] == server.api_key
        assert line.hello["session"] != os.getsid(0)
        told = dict(zip(line.hello["argv"], line.hello["argv"][1:], strict=False))
        assert told["--max-num-seqs"] == "8"
        assert server.url == f"http://127.0.0.1:{told['--port']}"
    await line.ended()
    assert said[-1] == ""
    assert any(each.startswith("vLLM for tiny: loading weights (") for each in said)


async def test_a_server_that_dies_while_it_starts_says_why_and_shows_the_end_of_its_log(
    python: str, exchange: Exchange, tmp_path: Path
) -> None:
    async with launcher(tmp_path / "logs") as here:
        with pytest.raises(LaunchError, match=r"exit code 5\): .*does not fit") as failed:
            await here.start(vllm(python, exchange, "--fail"), WHAT)
    assert "\nStarting to load model tiny\ntorch.OutOfMemoryError" in str(failed.value)
    (log,) = (tmp_path / "logs").glob("vllm-*.log")
    assert f"its log ({log}) ends with:" in str(failed.value)
    assert log.read_text().startswith("Starting to load model tiny\n")


async def test_a_server_that_is_never_ready_is_stopped_at_the_time_out(
    python: str, exchange: Exchange
) -> None:
    async with launcher() as here:
        with pytest.raises(LaunchError, match=r"not ready within 2 s; increase launch.startup"):
            await here.start(vllm(python, exchange, "--deaf", startup=2), WHAT)
        await (await exchange.call()).ended()


async def test_a_cancelled_start_leaves_no_process(python: str, exchange: Exchange) -> None:
    async with launcher() as here:
        start = asyncio.create_task(here.start(vllm(python, exchange, "--deaf"), WHAT))
        line = await exchange.call()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await line.ended()


async def test_a_server_that_dies_in_mid_run_ends_the_watch_and_the_next_start(
    python: str, exchange: Exchange
) -> None:
    async with launcher() as here:
        await here.start(vllm(python, exchange), WHAT)
        here.check()
        line = await exchange.call()
        watch = asyncio.create_task(here.watch())
        line.hang_up()
        await line.ended()
        with pytest.raises(LaunchError, match=r"vllm server stopped unexpectedly \(exit code 3\)"):
            await watch
        with pytest.raises(LaunchError, match="stopped unexpectedly"):
            await here.start(PocketSpec(), WHAT)


async def test_an_interpreter_that_is_not_there_is_named(exchange: Exchange) -> None:
    async with launcher() as here:
        with pytest.raises(LaunchError, match=r"exit code 127\): set launch.python to") as failed:
            await here.start(vllm("/no/python", exchange), WHAT)
    assert "its log ends with:\ncannot run '/no/python'" in str(failed.value)  # it is gone by now


async def test_the_jobs_of_a_command_share_a_server_and_it_outlives_each_of_them(
    python: str, exchange: Exchange
) -> None:
    spec = vllm(python, exchange)
    with owning():
        async with launcher() as first:
            server = await first.start(spec, WHAT)
        line = await exchange.call()
        assert server.alive
        async with launcher() as second:
            assert await second.start(spec, WHAT) == server
            other = await second.start(spec, WHAT.model_copy(update={"name": "other"}))
            assert other.url != server.url
            another = await exchange.call()
        assert (server.alive, other.alive) == (True, True)
    assert (server.alive, other.alive) == (False, False)
    await line.ended()
    await another.ended()
    assert outer() is None


async def test_a_server_whose_api_has_no_health_page_is_shared_too() -> None:
    spec = PocketSpec(api="deepseek", scripted="weak")
    with owning():
        async with Launcher() as here:
            first = await here.start(spec, WHAT)
        async with asyncio.timeout(60), Launcher() as there:
            assert (await there.start(spec, WHAT)).url == first.url


async def test_a_server_that_died_is_started_again_for_the_next_job(
    python: str, exchange: Exchange
) -> None:
    spec = vllm(python, exchange)
    with owning():
        async with launcher() as first:
            await first.start(spec, WHAT)
        line = await exchange.call()
        line.hang_up()
        await line.ended()
        async with launcher() as second:
            assert (await second.start(spec, WHAT)).alive
        line = await exchange.call()
    await line.ended()


async def test_a_server_that_runs_by_hand_serves_every_command(
    python: str, exchange: Exchange
) -> None:
    spec = vllm(python, exchange)
    async with launcher(by_hand=True) as hand:
        server = await hand.start(spec, WHAT)
        line = await exchange.call()
        async with launcher() as other:
            assert await other.start(spec, WHAT) == server
        assert server.alive
    await line.ended()


@pytest.mark.parametrize("args", [(), ("--deaf",)], ids=["ready", "starting"])
async def test_a_server_stops_when_its_owner_is_killed(
    python: str, exchange: Exchange, args: tuple[str, ...], tmp_path: Path
) -> None:
    spec = vllm(python, exchange, *args).model_dump_json()
    words = (sys.executable, "-c", COMMAND, spec)
    owner = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert owner.stdout is not None
    line = await exchange.call()
    if not args:
        assert await owner.stdout.readline() == b"ready\n"
    owner.kill()
    await owner.wait()
    await line.ended()
    (left,) = (tmp_path / "tmp").glob(f"*/*/{LOCK}")
    assert not locked(left)
    (run,) = left.parent.glob("*.run")
    with run.open("rb") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_SH)
    async with launcher() as here:
        await here.start(vllm(python, exchange), WHAT)  # which looks around, and cleans up
        line = await exchange.call()
    await line.ended()
    assert not left.exists()


def test_the_folder_of_another_machine_or_a_dead_command_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(OWNER, str(tmp_path / "elsewhere"))
    assert outer() is None
    with folder() as here:
        monkeypatch.setenv(OWNER, str(here))
        assert outer() == here
    assert outer() is None
    assert not here.exists()


def test_a_place_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "tmp" / f"collab-servers-{os.getuid()}"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(LaunchError, match="belongs to or can be read by another user"), folder():
        pass


def test_a_note_is_read_only_while_its_server_runs(tmp_path: Path) -> None:
    note, run = tmp_path / "a.json", tmp_path / "a.run"
    server = RunningServer("http://127.0.0.1:1", "key", run, tmp_path / "log")
    server.note(note)
    assert note.stat().st_mode & 0o077 == 0
    assert RunningServer.noted(note) is None
    with run.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert RunningServer.noted(note) == server
        assert server.exit_code is None
    note.write_text("{}")
    assert RunningServer.noted(note) is None


def told(spec: VllmSpec, what: Serves = WHAT) -> dict[str, str]:
    words = spec.command(what, 80)
    return dict(pairwise(words))


def test_the_command_is_vllm_serve_with_what_exact_prompts_need() -> None:
    words = VllmSpec().command(WHAT, 80)
    assert words[0] == sys.executable
    assert words[2].endswith("serve_vllm.py")
    assert words[3] == "org/tiny"
    assert {"--enable-prefix-caching", "--enable-prompt-tokens-details"} < set(words)
    assert not any("reasoning" in word for word in words)
    given = told(VllmSpec())
    assert (given["--generation-config"], given["--host"]) == ("vllm", "127.0.0.1")
    assert {"--revision", "--dtype", "--max-model-len", "--gpu-memory-utilization"}.isdisjoint(
        words
    )


def test_what_the_model_and_the_launch_say_reaches_the_command() -> None:
    spec = VllmSpec(python="/py", tensor_parallel=4, data_parallel=2, gpu_memory=0.8)
    what = Serves(
        model="o/m", name="m", revision="abc", dtype="bfloat16", quantization="fp8", context=4096
    )
    given = told(spec, what)
    assert spec.command(what, 80)[0] == "/py"
    assert (given["--tensor-parallel-size"], given["--data-parallel-size"]) == ("4", "2")
    assert (given["--gpu-memory-utilization"], given["--max-model-len"]) == ("0.8", "4096")
    assert given["--revision"] == given["--tokenizer-revision"] == "abc"
    assert (given["--dtype"], given["--quantization"]) == ("bfloat16", "fp8")


def test_words_and_variables_may_be_given_as_yaml_reads_them() -> None:
    given = {"args": ["--max-num-seqs", 64], "env": {"VLLM_CPU_KVCACHE_SPACE": 1}}
    spec = VllmSpec.model_validate(given)
    assert spec.command(WHAT, 80)[-2:] == ["--max-num-seqs", "64"]
    assert VllmSpec.model_validate({"args": "--max-num-seqs 64"}).args == spec.args
    assert (
        spec.environment("k").items()
        >= {"VLLM_API_KEY": "k", "VLLM_CPU_KVCACHE_SPACE": "1"}.items()
    )
    assert VllmSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert TypeAdapter(Spec).validate_python({"kind": "vllm"}) == VllmSpec()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"arg": []}, "Extra inputs"),
        ({"args": "--reasoning-parser qwen3"}, "it would remove the thinking from the text"),
        ({"args": ["--max-model-len=5"]}, "set the model's context"),
        ({"args": ["--tensor_parallel_size", 2]}, r"set launch\.tensor_parallel"),
        ({"tensor_parallel": 0}, "greater than or equal to 1"),
    ],
)
def test_what_a_launch_cannot_take_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        VllmSpec.model_validate(given)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "starting"),
        ("non-default args: {}\nInitializing a V1 LLM engine (v0)", "starting the engine"),
        ("Starting to load model x\nshards:  50% Completed | 1/2", "loading weights"),
        ("checkpoint shards:   0% Completed\ncheckpoint shards:  50% Completed", "weights, 50 %"),
        ("Loading weights took 3 s\nCPU KV cache size: 9 tokens", "allocating the KV cache"),
    ],
)
def test_how_far_a_start_is_is_read_off_the_log(log: str, said: str) -> None:
    assert said in stage(log)


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        ("ModuleNotFoundError: No module named 'vllm'", 1, "vLLM is not installed"),
        ("RuntimeError: Failed to infer device type, please", 1, "no GPU"),
        ("RuntimeError: No CUDA GPUs are available", 1, "no GPU"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", 1, "does not fit into memory"),
        ("ValueError: No available memory for the cache blocks.", 1, "does not fit"),
        (
            "o/m is not a local folder and is not a valid model identifier",
            1,
            "the model does not exist",
        ),
        ("We couldn't connect to 'https://huggingface.co' to", 1, "cannot be reached"),
        ("Access to model o/m is restricted", 1, "HF_TOKEN"),
        ("vllm serve: error: unrecognized arguments: --x", 2, r"launch\.args"),
        ("something else", 137, "ran out of memory"),
    ],
)
def test_the_usual_failures_are_explained(log: str, code: int, said: str) -> None:
    found = failure(log, code)
    assert found is not None
    assert said.replace("\\", "") in found
    assert failure("all is well", 1) is None
