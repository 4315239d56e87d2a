"""The page in a real browser: what a reader does, and that nothing a model wrote is acted on."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from collab.core.trajectory import Trajectory, Unit
from collab.errors import RunError
from collab.report.page import write_report
from collab.report.runs import RunSummary
from collab.runs.run_folder import RunFolder

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def report(hostile: RunFolder) -> str:
    (page,) = write_report(RunSummary(hostile))
    return page.as_uri()


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def test_from_the_page_to_the_unit_that_led_astray_by_keyboard(report: str, opened: Opened) -> None:
    page = opened(report)
    expect(page.locator("#about")).to_contain_text("60 episodes on 30 questions")
    expect(page.locator("figure svg[role=img]").first).to_have_attribute(
        "aria-label", re.compile("steered .* no steer .* published, Qwen3-1.7B")
    )
    page.locator("#astray").press("Enter")
    expect(page.locator("#count")).to_have_text("15 of 60 episodes")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("article h3")).to_contain_text("wrong")
    page.keyboard.press("n")
    page.keyboard.press("n")
    expect(page.locator(".handoff:focus")).to_contain_text("Ducks have 3 legs.")
    page.keyboard.press("c")
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator("article").nth(1)).to_contain_text("✓ correct")


def test_choices_and_a_search_leave_what_they_name(report: str, opened: Opened) -> None:
    page = opened(report)
    page.select_option("#pick-verdict", "correct")
    expect(page.locator("#count")).to_have_text("45 of 60 episodes")
    page.select_option("#pick-arm", "steer")
    expect(page.locator("#count")).to_have_text("15 of 60 episodes")
    page.fill("#text", "this is a SLIP")
    expect(page.locator("#count")).to_have_text("1 of 60 episodes")
    page.click("#clear")
    page.select_option("#pick-seat", "distractor")
    expect(page.locator("#count")).to_have_text("30 of 60 episodes")


def test_an_episode_shows_struck_units_side_questions_and_branches(
    report: str, opened: Opened
) -> None:
    page = opened(f"{report}#episode=q1/steer")
    article = page.locator("article")
    expect(article.locator("del")).to_have_text("This is a slip. ")
    expect(article.locator(".fate")).to_contain_text("it slipped")
    expect(article.locator(".asked")).to_contain_text("quite sure")
    expect(article.locator(".fork")).to_contain_text("another way")
    expect(article.locator(".cost").first).to_contain_text("9 tokens")
    assert (
        article.locator("del").evaluate("node => getComputedStyle(node).whiteSpace") == "pre-wrap"
    )


def test_the_exact_prompt_is_shown_when_it_is_asked_for(
    hostile: RunFolder, opened: Opened, tmp_path: Path
) -> None:
    def reads(question: str, unit: Unit, before: Trajectory) -> str:
        if unit.phase == "answer":
            raise RunError("the template is another one")
        return f"<b>{question}</b>\n{before.thinking[:40]}"

    here = tmp_path / "run"
    shutil.copytree(hostile.path, here)
    (page,) = write_report(RunSummary(RunFolder(here)), reads)
    shown = opened(f"{page.as_uri()}#episode=q0/steer")
    expect(shown.locator(".prompt pre")).to_have_count(0)
    shown.locator(".prompt summary").nth(1).click()
    expect(shown.locator(".prompt pre")).to_have_text(
        "<b>q0</b>\nStart with 0. Ducks have 3 legs. <script"
    )
    expect(shown.locator("article")).to_contain_text("the template is another one")


def test_hostile_text_stands_as_text(report: str, opened: Opened) -> None:
    page = opened(f"{report}#episode=q0/steer")
    text = page.locator("article").inner_text()
    assert "<script>document.title='pwned'</script></script><img src=x" in text
    assert "U+001B" in text
    assert "U+202E" in text
    assert page.title() == "Recoverability · main x · collab"
    assert page.locator("article img, article b b, article script").count() == 0
    page.click("text=show all 1,040,000 characters")
    assert len(page.locator("article").inner_text()) > 1_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_serious_fault_of_accessibility(
    report: str, opened: Opened, scheme: str
) -> None:
    page = opened(f"{report}#episode=q1/steer&beside=q1/none", color_scheme=scheme)
    assert serious(page) == []


def test_the_theme_changes_and_a_narrow_window_needs_no_sideways_scroll(
    report: str, opened: Opened
) -> None:
    page = opened(report, viewport={"width": 390, "height": 844}, color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.locator("#list a").first.click()
    expect(page.locator("article")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click("text=← all episodes")
    expect(page.locator("#list")).to_be_visible()


def test_beyond_its_size_a_report_reads_shards_beside_it(
    hostile: RunFolder, opened: Opened, tmp_path: Path
) -> None:
    here = tmp_path / "run"
    shutil.copytree(hostile.path, here)
    page, *shards = write_report(RunSummary(RunFolder(here)), largest=1000)
    assert [shard.name for shard in shards] == ["report-0.js", "report-1.js"]
    shown = opened(f"{page.as_uri()}#episode=q29/none")
    expect(shown.locator("article")).to_contain_text("Start with 29.")
    assert [one.name for one in write_report(RunSummary(RunFolder(here)))] == ["report.html"]
    assert list(here.glob("*.js")) == []


def test_nothing_that_a_model_wrote_is_in_the_file_as_it_stands(hostile: RunFolder) -> None:
    (page,) = write_report(RunSummary(hostile))
    text = page.read_text(encoding="utf-8")
    assert "pwned" not in text
    assert "onerror=" not in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"<[^>]+ on\w+=", text.partition("<script")[0])
