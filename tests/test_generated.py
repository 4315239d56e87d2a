"""Pages and conf files that are made from the code are up to date."""

import importlib.util
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BY_HAND = {"boundary/code"}
"""Files of a class that has another file for its defaults."""


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONF = _load("conf_yaml")
FILES = {path.relative_to(CONF.CONF).with_suffix("").as_posix(): path for path in CONF.generated()}


@pytest.mark.parametrize("name", FILES)
def test_making_a_conf_file_from_its_class_again_changes_nothing(name: str) -> None:
    written = FILES[name].read_text(encoding="utf-8")
    assert written == CONF.text_of(FILES[name]), f"conf/{name}.yaml is out of date: make generate"


def test_every_policy_scenario_boundary_and_condition_is_made_from_its_class() -> None:
    groups = ("policy", "scenario", "boundary", "condition")
    paths = (path for group in groups for path in (CONF.CONF / group).glob("*.yaml"))
    names = {path.relative_to(CONF.CONF).with_suffix("").as_posix() for path in paths}
    assert set(FILES) == names - BY_HAND


def test_every_setting_of_a_generated_file_has_a_comment() -> None:
    for name, path in FILES.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for above, line in pairwise(lines):
            if line[0] not in "# " and not line.startswith(("_target_", "defaults")):
                assert "  # " in line or above.startswith("#"), f"conf/{name}.yaml: {line}"
