import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collab.app.compose import composed
from collab.app.session import decides
from collab.config.plugins import open_conf_folders
from collab.errors import ConfigError

pytestmark = pytest.mark.usefixtures("launched")

REPO = Path(__file__).parents[2]
POLICY = '''\
"""Write once, then answer."""

from collab import Close, Decision, Settings, View, Write, Writer


class {name}(Settings):
    """Let `seat` write one unit."""

    seat: Writer = "main"

    async def decide(self, view: View) -> Decision:
        if not view.units:
            return Write(self.seat, why="a stranger says so")
        return Close(self.seat, why="enough")
'''


@pytest.fixture(autouse=True)
def paths_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close every door again."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("COLLAB_CONF", raising=False)
    yield
    monkeypatch.delenv("COLLAB_CONF", raising=False)
    open_conf_folders()


def stranger(folder: Path, module: str, option: str = "mylab_brief") -> Path:
    """Write a policy and its option into a folder of their own."""
    (folder / "policy").mkdir(parents=True)
    (folder / f"{module}.py").write_text(POLICY.format(name="Brief"))
    (folder / "policy" / f"{option}.yaml").write_text(f"_target_: {module}.Brief\nseat: main\n")
    return folder


def collab(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "collab", *words],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def files() -> dict[Path, float]:
    """List the files of the repo that the command might touch."""
    return {
        path: path.stat().st_mtime
        for folder in ("conf", "policies", "runs")
        for path in (REPO / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_policy_in_a_strangers_folder_runs_from_anywhere(tmp_path: Path) -> None:
    folder = stranger(tmp_path / "mine", "brief_run")
    (tmp_path / "elsewhere").mkdir()
    before = files()
    said = collab(
        "run",
        "-cd",
        str(folder),
        "policy=mylab_brief",
        "scenario=collaboration",
        "~scenario.against",
        "scenario.alone=null",
        "team=solo",
        "boundary=sentence",
        "questions.count=1",
        "budget=60",
        cwd=tmp_path / "elsewhere",
    )
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    found = re.search(r"^done: 1 episodes, \d+ generations .*, (.+)$", said.stdout, re.MULTILINE)
    assert found
    episodes = tmp_path / "elsewhere" / found[1] / "episodes.jsonl"
    assert "a stranger says so" in episodes.read_text()
    assert files() == before


def test_a_package_brings_options_through_its_entry_point(tmp_path: Path) -> None:
    stranger(tmp_path / "mypkg" / "conf", "unused")
    (tmp_path / "mypkg" / "__init__.py").write_text(POLICY.format(name="Brief"))
    (tmp_path / "mypkg" / "conf" / "__init__.py").write_text("")
    option = tmp_path / "mypkg" / "conf" / "policy" / "mylab_brief.yaml"
    option.write_text("_target_: mypkg.Brief\n")
    info = tmp_path / "mypkg-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mypkg\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[collab.conf]\nmypkg = mypkg.conf\n")
    words = ("run", "policy=mylab_brief", "--cfg", "job")
    said = collab(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert "_target_: mypkg.Brief" in said.stdout
    (tmp_path / "mypkg" / "conf" / "__init__.py").write_text("raise RuntimeError('broken')")
    said = collab(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert said.returncode == 1
    assert said.stderr == "error: plugin 'mypkg' cannot be imported: broken\n"


def test_a_folder_in_the_environment_opens_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stranger(tmp_path / "one", "brief_one", "mylab_one")
    two = stranger(tmp_path / "two", "brief_two", "mylab_two")
    monkeypatch.setenv("COLLAB_CONF", f"{one}{os.pathsep}{two}")
    for option in ("mylab_one", "mylab_two"):
        built = composed([f"policy={option}", "scenario=collaboration", "team=solo"])
        assert type(built.policy).__name__ == "Brief"


def test_several_folders_are_opened(tmp_path: Path) -> None:
    one = stranger(tmp_path / "one", "brief_three", "mylab_three")
    two = stranger(tmp_path / "two", "brief_four", "mylab_four")
    words = ["policy=mylab_four", "scenario=collaboration", "team=solo"]
    assert type(composed(words, [str(one), str(two)]).policy).__module__ == "brief_four"


def test_an_option_with_a_name_of_ours_is_refused(tmp_path: Path) -> None:
    folder = stranger(tmp_path, "brief_five", "solo")
    with pytest.raises(ConfigError, match=r"has an option policy/solo\.yaml, and so has collab"):
        open_conf_folders([str(folder)])


def test_two_folders_with_one_options_name_are_refused(tmp_path: Path) -> None:
    one = stranger(tmp_path / "one", "brief_six")
    two = stranger(tmp_path / "two", "brief_seven")
    with pytest.raises(ConfigError, match=r"policy/mylab_brief\.yaml"):
        open_conf_folders([str(one), str(two)])


def test_one_folder_may_be_named_twice(tmp_path: Path) -> None:
    folder = str(stranger(tmp_path, "brief_eight"))
    open_conf_folders([folder, folder])


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="the conf folder 'nowhere' does not exist"):
        open_conf_folders(["nowhere"])


def test_a_policy_that_cannot_be_imported_is_one_line_with_the_cause(tmp_path: Path) -> None:
    folder = stranger(tmp_path, "brief_broken")
    (folder / "brief_broken.py").write_text("import collab\n\nclass Brief(collab.Nothing): ...\n")
    with pytest.raises(ConfigError, match=r"cannot be loaded: .*Nothing") as refused:
        composed(["policy=mylab_brief"], [str(folder)])
    assert "\n" not in str(refused.value)


def test_a_policy_that_does_not_decide_is_refused(tmp_path: Path) -> None:
    folder = stranger(tmp_path, "brief_mute")
    text = POLICY.format(name="Brief").replace("decide", "think")
    (folder / "brief_mute.py").write_text(text)
    with pytest.raises(ConfigError, match=r"'brief_mute\.Brief' is no Policy"):
        composed(["policy=mylab_brief"], [str(folder)])


def test_an_edited_policy_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "edited_alone.yaml").write_text("_target_: edited_alone.EditedAlone\n")
    source = (Path(__file__).parents[2] / "policies" / "solo.py").read_text()
    module = tmp_path / "edited_alone.py"
    module.write_text(source.replace("class Solo", "class EditedAlone"))
    built = composed(["scenario=solo", "team=solo", "policy=edited_alone"], [str(tmp_path)])
    before = decides(built)
    module.write_text(module.read_text() + "\n# another thought\n")
    assert decides(built)["code"] != before["code"]
    assert {**decides(built), "code": None} == {**before, "code": None}
