"""What `collab view` serves, to whom, and that the page lives on it in a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from collab.core.trajectory import Message
from collab.errors import RunError
from collab.report.served import viewer
from collab.runs.live_view import LiveView, Playing
from collab.runs.lock import held
from collab.runs.run_folder import RunFolder
from collab.serving import serve


def got(url: str, **words: Any) -> httpx2.Response:  # any: what httpx takes
    return httpx2.get(url, timeout=60, trust_env=False, **words)


@pytest.fixture(scope="module")
def runs(hostile: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs that differ in one score."""
    here = tmp_path_factory.mktemp("served")
    copytree(hostile.path, here / "one")
    copytree(hostile.path, here / "two")
    scores = here / "two" / "scores.jsonl"
    changed = scores.read_text().replace('"verdict":"wrong"', '"verdict":"correct"', 1)
    scores.write_text(changed)
    return here


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    with serve(viewer(runs, secret="sesame")) as url:
        yield f"{url}/sesame"


def test_a_page_of_another_host_or_origin_gets_nothing(url: str) -> None:
    asked = got(f"{url}/data", headers={"host": "evil.example"})
    assert (asked.status_code, "not this machine" in asked.text) == (403, True)
    assert got(f"{url}/data", headers={"origin": "http://evil.example"}).status_code == 403
    assert got(f"{url}/data", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert got(f"{url}/data", headers={"origin": url.rpartition("/")[0]}).status_code == 200


def test_a_link_from_another_page_leads_to_the_page(url: str) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert got(f"{url}/", headers=followed).status_code == 200


@pytest.mark.parametrize("host", ["[::1", "127.0.0.1:x", "a@127.0.0.1", "127.0.0.1/x", "", "é"])
def test_a_malformed_host_is_refused(url: str, host: str) -> None:
    assert got(f"{url}/data", headers={"host": host.encode()}).status_code == 400


def test_who_does_not_know_the_address_gets_nothing(url: str) -> None:
    base = url.rpartition("/")[0]
    for path in ("", "/", "/data", "/page.js", "/sesam/data", "/sesame%00/data", "//sesame/data"):
        asked = got(f"{base}{path}")
        assert (asked.status_code, "`collab view` printed" in asked.text) == (403, True)
    assert got(url).headers["location"] == "/sesame/"


def test_every_answer_lets_in_no_script_but_the_pages_own(url: str) -> None:
    for where in ("", "page.js", "data", "nothing"):
        policy = got(f"{url}/{where}").headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy
    assert "onclick=" not in got(f"{url}/").text


def test_a_search_finds_what_was_said_and_nothing_else(url: str) -> None:
    def found(**words: str) -> list[int]:
        reply = got(f"{url}/data/find", params={"run": "one", **words})
        numbers: list[int] = reply.json()
        return numbers

    assert found(text="THIS is a slip") == [2]
    assert found(text="another way") == [2]
    assert found(text="recorded") == []
    assert len(found(text="ducks", seat="distractor")) == 30
    assert found(text='x onerror="document') == [0]


def test_two_runs_are_compared_case_by_case(url: str) -> None:
    told = got(f"{url}/data/diff", params={"one": "two", "other": "one"}).json()
    assert told["said"].startswith("60 cases in common; solved here minus there: +2 [")
    assert told["flipped"] == [{"case": "q0/steer", "verdict": "correct", "other": "wrong"}]


def test_what_is_not_there_is_said_by_name(url: str, tmp_path: Path) -> None:
    asked = got(f"{url}/data/run", params={"run": "three"})
    assert (asked.status_code, asked.text) == (404, "no run is named 'three'")
    assert got(f"{url}/data/run").status_code == 400
    with pytest.raises(RunError, match="no run"):
        viewer(tmp_path)


def test_a_sweep_is_seen_in_the_browser(url: str, opened: Callable[..., Page]) -> None:
    page = opened(f"{url}/#run=two&diff=one&episode=q0/steer")
    expect(page.locator("#sweep h2")).to_have_text("2 runs")
    expect(page.locator("#diff")).to_contain_text("1 flipped")
    expect(page.locator("article h3")).to_contain_text("correct")
    page.fill("#text", "a slip")
    expect(page.locator("#count")).to_have_text("1 of 60 episodes")


def test_what_a_run_adds_comes_up_by_itself(
    hostile: RunFolder, tmp_path: Path, opened: Callable[..., Page]
) -> None:
    here = tmp_path / "going"
    copytree(hostile.path, here)
    whole = (here / "scores.jsonl").read_text()
    (here / "scores.jsonl").write_text("".join(whole.splitlines(keepends=True)[:10]))
    with serve(viewer(here)) as url:
        page = opened(f"{url}/")
        expect(page.locator("#count")).to_have_text("10 of 10 episodes")
        (here / "scores.jsonl").write_text(whole)
        expect(page.locator("#count")).to_have_text("60 of 60 episodes", timeout=20_000)
        page.close()


def test_an_episode_under_way_is_seen_growing(
    hostile: RunFolder, tmp_path: Path, opened: Callable[..., Page]
) -> None:
    here = tmp_path / "going"
    copytree(hostile.path, here)
    hole = LiveView(here)
    grown = hostile.episode("q1/steer")[0].trajectory
    asked = (Message("user", "3 + 4?"),)
    with held(here, "collab run"), serve(viewer(here)) as url:
        assert got(f"{url}/data/growing", params={"run": "going"}).json() == {}
        page = opened(f"{url}/")
        with page.expect_response("**/data/growing*"):
            page.locator("#growing summary").click(timeout=20_000)
        hole.show({"new/case": Playing("new/case", asked, grown)})
        expect(page.locator("#grown")).to_contain_text("new/case", timeout=20_000)
        expect(page.locator("#grown del")).to_have_text("This is a slip. ")
        hole.end(Playing("new/case", asked, grown), "answered", "wrong")
        expect(page.locator("#grown")).to_contain_text("answered · wrong", timeout=20_000)
        page.close()
