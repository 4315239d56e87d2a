import gzip
import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx2
import pytest

from collab.report.served import viewer
from collab.serving import serve

Command = Callable[..., Any]  # any: what conftest says a command comes to


def test_the_tables_of_a_run_are_printed_again(command: Command, finished: Any) -> None:
    said = command("report", str(finished.folder))
    assert (said.status, said.err) == (0, "")
    *shown, state, page = said.out.rstrip().splitlines()
    assert "\n".join(shown) in finished.said.out
    scores = (finished.folder / "scores.jsonl").read_text().splitlines()
    assert state == f"finished, {len(scores)} episodes"
    assert page == f"page: {finished.folder / 'report.html'}"
    assert (finished.folder / "report.html").read_text().startswith("<!doctype html>")


def test_the_runs_of_a_folder_are_listed(command: Command, finished: Any) -> None:
    said = command("ls", str(finished.runs))
    assert (said.status, said.err) == (0, "")
    (line,) = said.out.splitlines()[1:]
    assert line.startswith(str(finished.folder))
    assert "  finished  " in line
    assert "steered " in line


def test_where_there_are_no_runs_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'runs' is not a folder" in command("ls").error
    assert "holds no run" in command("report", str(tmp_path)).error


def test_a_run_is_exported(command: Command, finished: Any, tmp_path: Path) -> None:
    said = command("export", str(finished.folder), "--to", str(tmp_path / "to"))
    assert (said.status, said.err) == (0, "")
    scores = (finished.folder / "scores.jsonl").read_text().splitlines()
    assert said.out == f"{len(scores)} episodes in {tmp_path / 'to'}\n"
    assert {path.name for path in (tmp_path / "to").iterdir()} == {
        "episodes.csv",
        "units.csv",
        "costs.csv",
    }


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("manifest.json", "[]", "manifest.json' is damaged ("),
        ("scores.jsonl", '{"case": 1}\n', "scores.jsonl', line 1: damaged ("),
        (
            "episodes.jsonl",
            '{"case":"three/0","x":1}\n',
            "episodes.jsonl', at byte 0: damaged (lin",
        ),
    ],
)
def test_a_damaged_run_costs_one_line_of_a_list_a_report_and_a_page(
    command: Command, kept: Any, name: str, content: str, says: str
) -> None:
    runs = kept.folder.parent
    copytree(kept.folder, runs / "bad")
    (runs / "bad" / name).write_text(content)
    reads_episodes = name == "episodes.jsonl"
    for verb in ("ls", "report"):
        said = command(verb, str(runs))
        assert (said.status, said.err) == (0, "")
        if verb == "report" or not reads_episodes:
            (line,) = (line for line in said.out.splitlines() if "damaged (" in line)
            assert says in line
        assert str(kept.folder) in said.out
    assert f"page: {kept.folder / 'report.html'}" in said.out
    with serve(viewer(runs)) as url:
        found = httpx2.get(f"{url}/data", timeout=60, trust_env=False).json()["runs"]
        assert {run["id"] for run in found} == {kept.folder.name, "bad"}
        assert reads_episodes or (found[-1]["id"] == "bad" and says in found[-1]["state"])
        words = {"run": "bad", "episode": "three/0"}
        asked = httpx2.get(f"{url}/data/episode", params=words, timeout=60, trust_env=False)
        assert (asked.status_code, says in asked.text) == (404, True)
        words = {"run": kept.folder.name, "episode": "three/0"}
        assert (
            httpx2.get(f"{url}/data/episode", params=words, timeout=60, trust_env=False).status_code
            == 200
        )
        assert httpx2.get(f"{url}/data/sweep", timeout=60, trust_env=False).status_code == 200
    for name, *more in (["report"], ["show", "three/0"], ["export"], ["regrade"]):
        said = command(name, str(runs / "bad"), *more)
        assert says in said.out + said.err


def test_a_page_holds_no_number_that_a_browser_cannot_read(command: Command, kept: Any) -> None:
    episodes = kept.folder / "episodes.jsonl"
    text = episodes.read_text().replace('"top20_entropy":null', '"top20_entropy":NaN', 1)
    episodes.write_text(text)
    assert command("report", str(kept.folder)).status == 0
    page = (kept.folder / "report.html").read_text()
    blocks = re.findall(r'id="block-\d+">([^<]+)<', page)
    for block in blocks:
        json.loads(gzip.decompress(b64decode(block)), parse_constant=pytest.fail)
    assert blocks
