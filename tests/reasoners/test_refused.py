"""A draw that the API withholds, and the notes on a server with odd replies."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from collab.app.run import oddity_notes
from collab.core.boundary import Sentence
from collab.core.trajectory import Message, Question
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.policies.solo import Solo
from collab.serving import serve
from tests.conftest import Seat

CASE = Case("c", Question("q", (Message("user", "How much?"),)), Solo())


def saying(text: str, finish: str) -> Starlette:
    async def answer(request: WebRequest) -> Response:
        choice = {"text": text, "finish_reason": finish}
        usage = {"prompt_tokens": 9, "completion_tokens": None}
        return JSONResponse({"choices": [choice], "usage": usage})

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


@pytest.mark.parametrize("text", ["", "I cannot say"])
async def test_a_withheld_draw_ends_the_episode_as_refused(seat: Seat, text: str) -> None:
    with serve(saying(text, "content_filter")) as url:
        model = await seat(url, text=True)
        episode = await play_case(CASE, Team({"main": model}), until=Sentence(), budget=200)
    assert episode.finish == "refused"
    assert not list(episode.trajectory.generated)


async def test_odd_replies_are_used_and_noted_in_the_run(seat: Seat) -> None:
    with serve(saying("Hm.</think>It is 7.", "eos")) as url:
        team = Team({"main": await seat(url, text=True)})
        episode = await play_case(CASE, team, until=Sentence(), budget=200)
    assert episode.finish == "answered"
    (note,) = oddity_notes(team)
    assert note.startswith("main: odd replies of its server were used: completion_tokens null (")
