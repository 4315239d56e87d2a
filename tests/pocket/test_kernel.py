"""The model's tests under each kernel that the loaded BLAS has, in processes of their own."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from collab.pocket import kernel

CORES = {
    "x86_64": (
        "Prescott",
        "Nehalem",
        "Sandybridge",
        "Haswell",
        "Zen",
        "SkylakeX",
        "Cooperlake",
        "SapphireRapids",
    ),
    "arm64": (
        "ARMV8",
        "CORTEXA57",
        "THUNDERX2T99",
        "NEOVERSEN1",
        "NEOVERSEV1",
        "NEOVERSEN2",
        "ARMV8SVE",
        "ARMV9SME",
    ),
}
MACHINES = {"amd64": "x86_64", "aarch64": "arm64"}
MACHINE = MACHINES.get(platform.machine().lower(), platform.machine().lower())
CHOSEN = os.environ.get("OPENBLAS_CORETYPE", "")
NAMES: dict[str, str] = {name.lower(): name for name in (*CORES.get(MACHINE, ()), CHOSEN) if name}
ROOT = Path(__file__).parents[2]
PROBE = """
import numpy as np
from collab.pocket import kernel
rng = np.random.default_rng(0)
errors = []
for rows, inner, columns in [(288, 96, 16), (48, 80, 16), (1, 32, 96), (1, 300, 32), (461, 96, 1)]:
    left = rng.standard_normal((rows, inner), np.float32)
    right = rng.standard_normal((inner, columns), np.float32)
    plain = (left.astype(np.float64)[:, :, None] * right.astype(np.float64)[None]).sum(1)
    errors.append(np.abs(left @ right - plain).max())
print(kernel.name().split("/")[0], np.max(errors))
"""
WRONG = 1e-3
"""An error of a product that no rounding explains."""
PATIENCE = 120.0


def under(core: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process in which the BLAS must use a given kernel."""
    environment = os.environ | {"OPENBLAS_CORETYPE": core}
    command = [sys.executable, *words]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@cache
def probed(core: str) -> tuple[str, str]:
    """Return the BLAS's name of the kernel that it uses, and why it cannot be used here."""
    try:
        done = under(core, "-c", PROBE)
    except subprocess.TimeoutExpired:
        return core, f"it does not end within {PATIENCE:g} s on this processor"
    if done.returncode < 0:
        return core, f"it crashes on this processor (signal {-done.returncode})"
    assert done.returncode == 0, done.stderr
    name, error = done.stdout.split()
    return name, "" if float(error) < WRONG else f"its products are wrong by {error}"


@pytest.mark.parametrize("core", NAMES.values())
def test_the_model_treats_rows_evenly_under_each_kernel(core: str) -> None:
    if CHOSEN and core.lower() != CHOSEN.lower():
        pytest.skip(f"kernel {core} (OPENBLAS_CORETYPE={CHOSEN} is set)")
    name, fault = probed(core)
    if fault:
        pytest.skip(f"kernel {core}: {fault}")
    if not CHOSEN and core != first_called(name):
        return  # the same kernel by another name
    tests = str(Path(__file__).with_name("test_model.py"))
    done = under(core, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
    assert done.returncode == 0, done.stdout + done.stderr


def first_called(name: str) -> str:
    """Return the first core for which the BLAS uses the kernel `name`."""
    return next(core for core in NAMES.values() if probed(core) == (name, ""))


def test_the_kernel_is_named_by_its_core_and_by_numpys_level_of_simd() -> None:
    levels = np.show_config("dicts")["SIMD Extensions"]["found"]
    if not levels:
        pytest.skip("numpy has one level of SIMD on this processor")
    here = kernel.name()
    code = "from collab.pocket import kernel; print(kernel.name())"
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(levels)}
    there = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert there.split("/")[0] == here.split("/")[0] != ""
    assert there.strip() != here
