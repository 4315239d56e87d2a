"""The interpreter of an engine's environment; without one the tests that want it are skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = Path(__file__).with_name("install.py")


def interpreter(engine: str) -> str:
    """Return the interpreter of an engine's environment, or skip the test."""
    command = [sys.executable, str(INSTALL), "--where", engine]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stdout.strip())
    return found.stdout.strip()
