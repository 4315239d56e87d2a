import asyncio
import json
import os
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collab.endpoints.child import Child
from collab.endpoints.client import Endpoint
from collab.endpoints.launch import SUPERVISED, Launcher, PocketSpec, VllmSpec
from collab.errors import LaunchError, Rejected, Unreachable

INTERPRETER = """\
#!{python}
import http.server, json, os, socket, sys, threading

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

args = dict(zip(sys.argv[1:], sys.argv[2:]))
print("loading", args["--model"], flush=True)
if "--fail" in args:
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


@dataclass
class Line:
    """A line to the server process: its end is the process's end."""

    hello: dict[str, Any]  # JSON
    reader: StreamReader
    writer: StreamWriter

    async def ended(self) -> None:
        assert await self.reader.read() == b""
        self.writer.close()


@dataclass
class Exchange:
    """Where server processes call."""

    port: int
    calls: "asyncio.Queue[tuple[StreamReader, StreamWriter]]"

    async def call(self) -> Line:
        reader, writer = await self.calls.get()
        return Line(json.loads(await reader.readline()), reader, writer)


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
    return VllmSpec(model="org/tiny", python=python, args=words, **fields)


async def briefly(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.02))


async def test_the_pocket_server_is_started_once_and_asks_for_its_key() -> None:
    async with Launcher() as launcher:
        server = await launcher.start(PocketSpec())
        assert await launcher.start(PocketSpec()) is server
        assert server.api_key not in repr(server)
        async with Endpoint(server.url, "plain", api_key=server.api_key) as endpoint:
            assert "plain" in {model.id for model in await endpoint.models()}
        async with Endpoint(server.url, "plain") as endpoint:
            with pytest.raises(Rejected, match="401"):
                await endpoint.models()
        async with Endpoint(server.url, "plain") as endpoint:
            await launcher.close()
            with pytest.raises(Unreachable):
                await endpoint.models()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_a_vllm_server_is_ready_when_it_is_healthy_and_gone_when_the_launcher_closes(
    python: str, exchange: Exchange
) -> None:
    async with Launcher(sleep=briefly) as launcher:
        server = await launcher.start(vllm(python, exchange, "--dtype", "float32"))
        line = await exchange.call()
        assert line.hello["key"] == server.api_key
        assert line.hello["session"] != os.getsid(0)
        assert line.hello["argv"][:2] == ["-m", "vllm.entrypoints.openai.api_server"]
        told = dict(zip(line.hello["argv"], line.hello["argv"][1:], strict=False))
        assert told["--served-model-name"] == told["--model"] == "org/tiny"
        assert told["--generation-config"] == "vllm"
        assert told["--dtype"] == "float32"
        assert server.url == f"http://127.0.0.1:{told['--port']}"
    await line.ended()


async def test_a_server_that_dies_while_it_starts_shows_the_end_of_its_log(
    python: str, exchange: Exchange, tmp_path: Path
) -> None:
    async with Launcher(tmp_path / "logs", sleep=briefly) as launcher:
        with pytest.raises(LaunchError, match=r"exit code 5\).*\nloading org/tiny"):
            await launcher.start(vllm(python, exchange, "--fail"))
    assert (tmp_path / "logs" / "vllm-0.log").read_text() == "loading org/tiny\n"


async def test_a_server_that_is_never_ready_is_stopped_at_the_time_out(
    python: str, exchange: Exchange
) -> None:
    async with Launcher(sleep=briefly) as launcher:
        with pytest.raises(LaunchError, match=r"not ready within 0\.5 s; set launch.startup"):
            await launcher.start(vllm(python, exchange, "--deaf", startup=0.5))


async def test_a_cancelled_start_leaves_no_process(python: str, exchange: Exchange) -> None:
    async with Launcher(sleep=briefly) as launcher:
        start = asyncio.create_task(launcher.start(vllm(python, exchange, "--deaf")))
        line = await exchange.call()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await line.ended()


async def test_a_server_that_dies_in_mid_run_ends_the_watch_and_the_next_start(
    python: str, exchange: Exchange
) -> None:
    async with Launcher(sleep=briefly) as launcher:
        await launcher.start(vllm(python, exchange))
        launcher.check()
        line = await exchange.call()
        watch = asyncio.create_task(launcher.watch())
        line.writer.write(b"x")
        await line.ended()
        with pytest.raises(LaunchError, match=r"vllm server stopped by itself \(exit code 3\)"):
            await watch
        with pytest.raises(LaunchError, match="stopped by itself"):
            await launcher.start(PocketSpec())


async def test_an_interpreter_that_is_not_there_is_named(exchange: Exchange) -> None:
    async with Launcher(sleep=briefly) as launcher:
        with pytest.raises(LaunchError, match="cannot run '/no/python'"):
            await launcher.start(vllm("/no/python", exchange))


async def test_a_supervised_server_stops_when_its_owner_is_no_more(
    python: str, exchange: Exchange, tmp_path: Path
) -> None:
    command = vllm(python, exchange, "--deaf").command(0)
    assert command[: len(SUPERVISED)] == list(SUPERVISED)
    env = os.environ | {"VLLM_API_KEY": "k"}
    child = await Child.spawn("vllm", command, env, tmp_path / "log", False)
    line = await exchange.call()
    assert child.process.stdin is not None
    child.process.stdin.close()
    await line.ended()
    await child.process.wait()


async def test_a_command_that_is_not_there_and_a_server_that_says_nothing_are_errors(
    tmp_path: Path,
) -> None:
    with pytest.raises(LaunchError, match="cannot run '/no/such'"):
        await Child.spawn("pocket", ["/no/such"], {}, tmp_path / "log", True)
    command = [sys.executable, "-c", "raise SystemExit('no weights')"]
    silent = await Child.spawn("pocket", command, dict(os.environ), tmp_path / "log", True)
    with pytest.raises(LaunchError, match=r"exit code 1.*\nno weights"):
        await silent.line()
    await silent.stop()


def test_words_and_variables_may_be_given_as_yaml_reads_them() -> None:
    given = {"model": "m", "args": ["--max-model-len", 1024], "env": {"VLLM_CPU_KVCACHE_SPACE": 1}}
    spec = VllmSpec.model_validate(given)
    assert spec.command(80)[-2:] == ["--max-model-len", "1024"]
    assert (
        spec.environment("k").items()
        >= {"VLLM_API_KEY": "k", "VLLM_CPU_KVCACHE_SPACE": "1"}.items()
    )
    assert spec in {VllmSpec.model_validate(given)}
    assert VllmSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_vllm_server_runs_in_our_own_interpreter_unless_told_otherwise() -> None:
    assert VllmSpec(model="m").command(80)[len(SUPERVISED)] == sys.executable
    assert VllmSpec(model="m", python="/no/python").command(80)[len(SUPERVISED)] == "/no/python"


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        VllmSpec.model_validate({"model": "m", "arg": []})
