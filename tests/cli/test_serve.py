"""`collab serve`: a whole collaboration is asked as one model, until it is stopped."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from collab.serving import listen
from collab.testing import check_endpoint
from tests.cli.conftest import until_ctrl_c

WORDS = ("serve", "--port", "0", "--name", "pair", "policy=alternate", "team=pair", "budget=200")
ASKED = "Mia has 3 pens. She buys 4. How many pens does she have now?"


@pytest.mark.usefixtures("launched")
def test_a_collaboration_is_one_model_and_keeps_an_endpoints_contract(tmp_path: Path) -> None:
    with until_ctrl_c(*WORDS, cwd=tmp_path, env=os.environ) as said:
        at = re.search(r"^serving 'pair' at (http://127\.0\.0\.1:\d+/v1) ", said)
        assert at
        direct = openai.DefaultHttpxClient(trust_env=False)
        with openai.OpenAI(
            base_url=at[1], api_key="-", max_retries=0, http_client=direct
        ) as client:
            replies = [
                client.chat.completions.create(
                    model="pair", messages=[{"role": "user", "content": ASKED}], seed=1
                )
                for _ in range(2)
            ]
            cut = client.chat.completions.create(
                model="pair", messages=[{"role": "user", "content": ASKED}], seed=1, max_tokens=5
            )
        assert cut.usage is not None
        assert (cut.usage.completion_tokens, cut.choices[0].finish_reason) == (5, "length")
        first, again = (reply.choices[0].message.to_dict() for reply in replies)
        assert first == again
        assert first["reasoning_content"]
        usage = replies[0].to_dict()["usage"]
        assert isinstance(usage, dict)
        assert set(usage["by_author"]) == {"main", "partner"}
        profile = check_endpoint(at[1], "pair", dialect="none", must=["reply", "thinking"])
        assert "writer" not in profile.seats


@pytest.mark.usefixtures("launched")
def test_a_server_that_other_machines_reach_says_the_key_that_it_asks_for(tmp_path: Path) -> None:
    words = (*WORDS, "--host", "0.0.0.0")
    with until_ctrl_c(*words, cwd=tmp_path, env=os.environ) as said:
        at = re.search(r"at (http://127\.0\.0\.1:\d+/v1) to clients with the API key (\S+) ", said)
        assert at
        assert httpx2.get(f"{at[1]}/models", trust_env=False).status_code == 401
        headers = {"authorization": f"Bearer {at[2]}"}
        assert httpx2.get(f"{at[1]}/models", headers=headers, trust_env=False).status_code == 200


def test_a_port_that_is_taken_is_one_line(command: Callable[..., Any]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        said = command("serve", "--port", str(port), "policy=alternate", "team=pair")
        assert said.error.startswith(f"error: cannot listen on '127.0.0.1', port {port}: ")
        assert command("pocket", "plain", "--port", str(port)).status == 2


def test_a_key_whose_variable_is_not_set_is_one_line(command: Callable[..., Any]) -> None:
    said = command("serve", "--api-key-env", "COLLAB_NO_SUCH_KEY", "policy=alternate", "team=pair")
    assert "'COLLAB_NO_SUCH_KEY' is not set in the environment" in said.error
