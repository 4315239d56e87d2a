"""Run the llama.cpp server in xllamacpp: `python -P serve_llamacpp.py --model FILE ...`.

It takes the words of `llama-server` that `launch: llamacpp` sends, and a few more. Run by its path:
nothing of collab is in that environment.
"""

import argparse
import os
import threading
from typing import Any

KEY = "LLAMA_API_KEY"
PLACES = {
    "ctx_size": "n_ctx",
    "parallel": "n_parallel",
    "gpu_layers": "n_gpu_layers",
    "batch_size": "n_batch",
    "ubatch_size": "n_ubatch",
    "cache_ram": "cache_ram_mib",
}
"""The fields of xllamacpp's settings that hold whole numbers, by our words for them."""


def main() -> None:
    """Serve until the process is ended."""
    words = _words().parse_args()
    import xllamacpp

    settings = xllamacpp.CommonParams()
    _fill(settings, words)
    server = xllamacpp.Server(settings)
    print(f"server is listening on {server.listening_address}", flush=True)
    threading.Event().wait()


def _words() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xllamacpp", allow_abbrev=False)
    for name in ("model", "alias", "host"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--threads-batch", type=int)
    for name in PLACES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--no-context-shift", action="store_true")
    return parser


def _fill(settings: Any, words: argparse.Namespace) -> None:  # any: a class of xllamacpp
    """Write the words into xllamacpp's settings."""
    settings.model.path = words.model
    settings.model_alias = [words.alias]
    settings.hostnames, settings.port = [words.host], words.port
    settings.api_keys = [os.environ[KEY]] if KEY in os.environ else []
    settings.endpoint_slots = settings.endpoint_props = True
    settings.endpoint_metrics = words.metrics
    settings.ctx_shift = not words.no_context_shift
    settings.ui = False
    for word, field in PLACES.items():
        if (value := getattr(words, word)) is not None:
            setattr(settings, field, value)
    if words.threads is not None:
        settings.cpuparams.n_threads = words.threads
    if (batch := words.threads_batch or words.threads) is not None:
        settings.cpuparams_batch.n_threads = batch


if __name__ == "__main__":
    main()
