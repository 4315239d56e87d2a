"""Ctrl-C in a script ends a run in order, and the same call continues it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, signal
import collab
from collab.policies.solo import Solo

def play(name, policy):
    words = ("scenario=collaboration", "team=solo", "~scenario.against", "scenario.alone=null")
    small = {"questions": {"levels": ["easy"], "count": 3}, "budget": 60, "concurrency": 1}
    run = collab.run(*words, policy=policy, name=name, progress=False, **small)
    return {score.case: score.verdict for score in run.scores}

class Interrupting(Solo):
    async def decide(self, view):
        Interrupting.decided += 1
        if Interrupting.decided == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return await super().decide(view)

Interrupting.decided = 0
try:
    play("cut", Interrupting())
except KeyboardInterrupt:
    print(json.dumps(sorted(os.listdir("runs/cut"))))
print(json.dumps(play("cut", Interrupting())))
print(json.dumps(play("whole", Interrupting())))
"""


@pytest.mark.usefixtures("launched")
def test_ctrl_c_ends_a_run_in_order_and_the_same_call_continues_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    begun, cut, whole = map(json.loads, done.stdout.splitlines())
    assert len(begun) == 1
    assert len(cut) == 3
    assert cut == whole
