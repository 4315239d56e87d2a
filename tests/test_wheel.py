"""What the wheel installs: one top-level package, with everything that the commands need."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READ = ("README.md", "LICENSE", "pyproject.toml", "collab", "policies", "conf")
"""What a build reads; it must find nothing from an earlier one."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel that is built from this tree."""
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for path in (ROOT / name for name in READ):
        if path.is_dir():
            shutil.copytree(path, source / path.name, symlinks=True)
        else:
            shutil.copy(path, source)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True)
    (built,) = folder.glob("*.whl")
    assert built.name.startswith("collab_reasoning-")
    return set(zipfile.ZipFile(built).namelist())


def test_one_top_level_package_is_installed(wheel: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"collab"}


@pytest.mark.parametrize("folder", ["collab", "policies", "conf"])
def test_every_tracked_file_of_a_folder_is_in_the_wheel(wheel: set[str], folder: str) -> None:
    inside = folder if folder == "collab" else f"collab/{folder}"
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    wanted = {
        f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
        for path in files
        if "__pycache__" not in path.parts
    }
    assert wanted - wheel == set()
