"""The servers that collab can start, and their commands."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from collab.core.gguf import Gguf, is_gguf
from collab.errors import ConfigError

POCKET_KEY = "COLLAB_SERVER_KEY"
"""The environment variable that hands a pocket server its key."""
SERVE_VLLM = str(Path(__file__).with_name("serve_vllm.py"))
SERVE_LLAMACPP = str(Path(__file__).with_name("serve_llamacpp.py"))
VLLM_OURS = {
    "host": "the server only listens on this machine",
    "port": "a free port is chosen",
    "api-key": "a random key is generated",
    "model": "set the model's checkpoint",
    "served-model-name": "set the model's served",
    "revision": "set the model's revision",
    "dtype": "set the model's dtype: it is part of the model's name",
    "quantization": "set the model's quantization: it is part of the model's name",
    "max-model-len": "set the model's context",
    "tensor-parallel-size": "set launch.tensor_parallel",
    "data-parallel-size": "set launch.data_parallel",
    "gpu-memory-utilization": "set launch.gpu_memory",
    "generation-config": "each request sends all sampling settings",
    "reasoning-parser": "it would remove the thinking from the text",
}
"""Arguments of vLLM that are not for `args`, each with its reason or the setting that it has."""
LLAMACPP_OURS = {
    "host": "the server only listens on this machine",
    "port": "a free port is chosen",
    **dict.fromkeys(("api-key", "api-key-file"), "a random key is generated"),
    **dict.fromkeys(
        ("model", "-m", "hf-repo", "-hf", "hf-file", "-hff", "model-url", "-mu"),
        "set the model's checkpoint",
    ),
    **dict.fromkeys(("alias", "-a"), "set the model's served"),
    **dict.fromkeys(("ctx-size", "-c"), "set the model's context: the tokens of each slot"),
    **dict.fromkeys(("parallel", "-np"), "set launch.slots"),
    **dict.fromkeys(("threads", "-t"), "set launch.threads"),
    **dict.fromkeys(("gpu-layers", "n-gpu-layers", "-ngl"), "set launch.gpu_layers"),
    **dict.fromkeys(
        ("reasoning-format", "reasoning-budget"), "it would remove the thinking from the text"
    ),
    **dict.fromkeys(("chat-template", "chat-template-file"), "prompts are not written there"),
    "context-shift": "it would drop the start of a trajectory silently",
}
"""Arguments of llama-server that are not for `args`, as in `VLLM_OURS`."""


class Serves(BaseModel):
    """The model that a server is started for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """A folder or a Hugging Face id."""
    name: str
    """The model's name in requests."""
    revision: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    context: int | None = None
    """Prompt and completion together (tokens); None: the model's own limit."""


class PocketSpec(BaseModel):
    """The embedded models: one server serves them all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pocket"] = "pocket"
    api: str = "vllm"
    """The API of the server: one of those that the scripted server speaks."""
    scripted: Literal["weak", "strong", "splitting", "relaying", "planning"] | None = None
    """A script to serve in their place."""
    startup: float = Field(default=120.0, gt=0)
    """How long it may take to be ready (seconds)."""

    def command(self, serves: Serves, port: int) -> list[str]:
        """Return the command line; the server takes any free port and says which."""
        module = [sys.executable, "-m", "collab.pocket", "--port", "0"]
        coder = [] if self.scripted is None else ["--scripted", self.scripted]
        return [*module, *coder, "--api", self.api, "--api-key-env", POCKET_KEY]

    def environment(self, key: str) -> dict[str, str]:
        """Return the additional environment variables of the server."""
        return {POCKET_KEY: key}


class LaunchedSpec(BaseModel):
    """What all servers that load a checkpoint have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ours: ClassVar[Mapping[str, str]]
    """Arguments that are not for `args`, each with its reason or the setting that it has."""

    python: str | None = None
    """The interpreter of the environment that the server is installed in; None: the one we run
    in."""
    args: tuple[str, ...] = ()
    """Further arguments for the server: a list of words, or one string."""
    env: tuple[tuple[str, str], ...] = ()
    """Further environment variables; a mapping is taken too."""
    startup: float = Field(default=1800.0, gt=0)
    """How long it may take to be ready (seconds)."""

    @field_validator("args", mode="before")
    @classmethod
    def _words(cls, args: object) -> object:
        if isinstance(args, str):
            return tuple(shlex.split(args))
        return tuple(map(str, args)) if isinstance(args, list | tuple) else args

    @field_validator("args")
    @classmethod
    def _not_ours(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        for word in args:
            given = word.partition("=")[0]
            name = given.removeprefix("--").replace("_", "-")
            if given.startswith("-") and name in cls.ours:
                raise ValueError(f"launch.args cannot hold {word!r}: {cls.ours[name]}")
        return args

    @field_validator("env", mode="before")
    @classmethod
    def _pairs(cls, env: object) -> object:
        if isinstance(env, Mapping):
            return tuple((name, str(value)) for name, value in env.items())
        return env

    @property
    def program(self) -> str:
        """The program that is started."""
        return self.python or sys.executable


class VllmSpec(LaunchedSpec):
    """A checkpoint behind vLLM's own server."""

    ours: ClassVar[Mapping[str, str]] = VLLM_OURS

    kind: Literal["vllm"] = "vllm"
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that hold one copy of the model together."""
    data_parallel: int = Field(default=1, ge=1)
    """Copies of the model behind the one address."""
    gpu_memory: float | None = Field(default=None, gt=0, le=1)
    """Share of each GPU's memory that it may take; None: vLLM's own."""

    def command(self, serves: Serves, port: int) -> list[str]:
        """Return the command line; the model's own sampling defaults stay out of force."""
        options = {
            "served-model-name": serves.name,
            "host": "127.0.0.1",
            "port": port,
            "generation-config": "vllm",
            "tensor-parallel-size": self.tensor_parallel,
            "data-parallel-size": self.data_parallel,
            "gpu-memory-utilization": self.gpu_memory,
            "revision": serves.revision,
            "tokenizer-revision": serves.revision,
            "dtype": serves.dtype,
            "quantization": serves.quantization,
            "max-model-len": serves.context,
        }
        given = {name: str(value) for name, value in options.items() if value is not None}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        flags = ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
        run = [self.program, "-P", SERVE_VLLM]
        return [*run, serves.model, *words, *flags, *self.args]

    def environment(self, key: str) -> dict[str, str]:
        """Return the additional environment variables of the server."""
        return {"VLLM_API_KEY": key, "VLLM_MAX_STOP_STRINGS": "64", **dict(self.env)}


class LlamacppSpec(LaunchedSpec):
    """A GGUF file behind llama.cpp's own server: `llama-server`, or the one in `xllamacpp`."""

    ours: ClassVar[Mapping[str, str]] = LLAMACPP_OURS

    kind: Literal["llamacpp"] = "llamacpp"
    server: str | None = None
    """The `llama-server` to run; None: the one on PATH, else the one in the package xllamacpp."""
    slots: int = Field(default=4, ge=1)
    """Trajectories that are computed at once."""
    threads: int | None = Field(default=None, ge=1)
    """Threads that compute; None: llama.cpp's own choice."""
    gpu_layers: int | None = Field(default=None, ge=0)
    """Layers of the model that a GPU holds; None: llama.cpp's own choice."""
    startup: float = Field(default=600.0, gt=0)
    """How long it may take to be ready (seconds)."""

    @property
    def program(self) -> str:
        """The program that is started."""
        return self._llama_server or super().program

    @property
    def _llama_server(self) -> str | None:
        return self.server or (None if self.python else shutil.which("llama-server"))

    def command(self, serves: Serves, port: int) -> list[str]:
        """Return the command line: each slot has the whole context.

        Raises:
            ConfigError: The model is no GGUF file.
        """
        if not is_gguf(serves.model):
            raise ConfigError(
                f"llama.cpp loads GGUF files, not {serves.model!r}: set the model's checkpoint to "
                "a .gguf file, or to owner/name/file.gguf of the hub"
            )
        context = serves.context or Gguf.load(Path(serves.model)).context or 0
        options = {
            "model": serves.model,
            "alias": serves.name,
            "host": "127.0.0.1",
            "port": port,
            "ctx-size": context * self.slots,
            "parallel": self.slots,
            "threads": self.threads,
            "gpu-layers": self.gpu_layers,
        }
        given = {name: str(value) for name, value in options.items() if value is not None}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        ours = [] if self._llama_server else ["-P", SERVE_LLAMACPP]
        return [self.program, *ours, *words, "--metrics", "--no-context-shift", *self.args]

    def environment(self, key: str) -> dict[str, str]:
        """Return what the server's environment holds besides ours."""
        return {"LLAMA_API_KEY": key, **dict(self.env)}


Spec = Annotated[PocketSpec | VllmSpec | LlamacppSpec, Field(discriminator="kind")]
