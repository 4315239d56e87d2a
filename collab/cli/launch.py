"""`collab launch model=…`: start a model's server by hand, for all runs that need it."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

from rich.console import Console

from collab.app.compose import add_config_arguments, config_of, expand_model_words
from collab.app.model_identity import serves
from collab.config.config import ModelConfig
from collab.endpoints.launch import Launcher
from collab.errors import ConfigError
from collab.report.starting import StartProgress

KEY = "COLLAB_LAUNCH_KEY"
"""The environment variable that the printed commands put the server's key in."""


def main(argv: list[str]) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="collab launch",
        description=__doc__,
        epilog="examples: collab launch model=vllm_launch model.id=Qwen/Qwen3-1.7B "
        "model.launch.tensor_parallel=2 · collab launch team=pair (every model in it)",
    )
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    config = config_of(expand_model_words(asked.overrides), asked.config_dir, trust=asked.trust)
    models = [model for model in config.team.values() if isinstance(model, ModelConfig)]
    with suppress(KeyboardInterrupt):  # the usual end
        asyncio.run(_serve(models, Console(soft_wrap=True, highlight=False)))
    return 0


async def _serve(models: list[ModelConfig], console: Console) -> None:
    asked = [(model, model.launch) for model in models if model.launch is not None]
    if not asked:
        names = ", ".join(repr(model.id) for model in models) or "no model"
        raise ConfigError(f"nothing to launch ({names}): add model.launch=vllm")
    async with Launcher(tell=StartProgress(console), by_hand=True) as launcher:
        for model, spec in asked:
            server = await launcher.start(spec, serves(model))
            name = model.served or model.id
            console.print(f"{name} is served at {server.url}/v1 (log: {server.log})", markup=False)
            console.print(
                f"  for other programs: export {KEY}={server.api_key}; base_url={server.url} "
                f"api_key_env={KEY}",
                markup=False,
            )
        console.print("your runs on this machine use it instead of their own, until Ctrl-C here")
        await launcher.watch()
