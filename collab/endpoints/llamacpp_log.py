"""What the log of a llama.cpp server says: how far its start is, and why it failed."""

from __future__ import annotations

from collab.core.release import extra
from collab.endpoints import server_log

STAGES: server_log.StartStages = (
    (r"server is listening|listening on http", "answering soon"),
    (r"warming up|initializing, n_slots|initializing slots", "warming up"),
    (r"loading model|llama_model_loader|load_tensors", "loading weights"),
)
"""The latest line of a log that is one of these says how far it is."""
FAILURES: server_log.UsualFailures = (
    (
        r"^cannot run '",
        "set launch.server to a llama-server, or launch.python to the interpreter of an "
        "environment that has xllamacpp",
    ),
    (
        r"No module named '?xllamacpp",
        f"there is no llama-server on PATH and no xllamacpp: {extra('llamacpp')}, or set "
        "launch.server",
    ),
    (
        r"unknown model architecture",
        "this version of llama.cpp does not know the model's architecture: take a newer one",
    ),
    (
        r"failed to allocate|out of memory|cudaMalloc failed|unable to allocate|std::bad_alloc|"
        r"failed to create context|failed to initialize the context",
        "the model does not fit into memory: set a smaller context, fewer launch.slots, fewer "
        "launch.gpu_layers or a smaller quantization",
    ),
    (
        r"invalid magic|tensor .* not within the file|data is not within the file|"
        r"corrupted or incomplete|failed to read|wrong number of tensors|gguf_init_from_file",
        "the file is no whole GGUF file: fetch it again",
    ),
    (r"couldn't bind|Address already in use", "another process took the port meanwhile"),
    (
        r"error: invalid argument|unrecognized arguments|error: argument ",
        "this server does not take one of launch.args; a llama-server takes more than xllamacpp",
    ),
)
"""The usual failures, each with what helps; the first that a log shows is taken."""


def stage(log: str) -> str:
    """Say how far a starting server is."""
    return server_log.stage(STAGES, log)


def failure(log: str, exit_code: int | None) -> str | None:
    """Explain why a server stopped, where that is a usual failure."""
    return server_log.failure(FAILURES, log, exit_code)
