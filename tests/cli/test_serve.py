"""`collab serve`: a whole collaboration is asked as one model, until it is stopped."""

import os
import re
from pathlib import Path

import openai
import pytest

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
        first, again = (reply.choices[0].message.to_dict() for reply in replies)
        assert first == again
        assert first["reasoning_content"]
        usage = replies[0].to_dict()["usage"]
        assert isinstance(usage, dict)
        assert set(usage["by_author"]) == {"main", "partner"}
        profile = check_endpoint(at[1], "pair", dialect="none", must=["reply", "thinking"])
        assert "writer" not in profile.seats
