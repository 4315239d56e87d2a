"""The documentation site builds, every link on it leads somewhere, and its reference is whole."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import collab
from tests.docs.pages import ROOT

OBJECT = re.compile(r"^::: (collab\.[\w.]+)$", re.MULTILINE)


def _pages() -> dict[str, list[str]]:
    """Map each page of the reference to the objects that it describes."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    return {page.name: OBJECT.findall(page.read_text("utf-8")) for page in pages}


def test_the_reference_describes_each_public_name_once() -> None:
    described = [name for names in _pages().values() for name in names]
    public = sorted(f"collab.{name}" for name in collab.__all__)
    assert sorted(name for name in described if name.count(".") == 1) == public


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text("utf-8")
    pages = (page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md"))
    assert [str(page) for page in pages if f'"{page}"' not in navigation] == []


def test_the_site_builds_without_a_warning_and_shows_signatures_and_examples(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    (tmp_path / "collab").symlink_to(ROOT / "collab")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "site/reference/policies/index.html").read_text("utf-8")
    shown = re.sub(r"<[^>]+>", "", page)
    assert "decide(view: View)" in shown
    assert "isinstance(Duet(), Policy)" in shown
    assert not list((tmp_path / "site").rglob("*.py"))
