import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.core.boundary import cut_at_share
from collab.core.sampling import Sampling
from collab.core.trajectory import Message, Question
from collab.endpoints.client import Endpoint
from collab.endpoints.limits import Limits
from collab.endpoints.scripted import ScriptedServer, WordTokenizer
from collab.endpoints.token_offsets import Tokenized, ends_in
from collab.endpoints.tokens import Tokenizer
from collab.endpoints.vendors import ContinueFinal
from collab.errors import Unreachable
from collab.pocket.server import find
from collab.reasoners.model import Model
from collab.store.store import Store

POCKET = Tokenizer.load(find("plain"))
LONG = "It is so. No, wait. I add up, and up, and up. Then it is 4.</think>It is 4."
ASKED = Question("q", (Message("user", "2 + 2?"),))


@given(text=st.text())
def test_a_vocabulary_in_stand_ins_for_bytes_spells_every_text(text: str) -> None:
    pieces = [str(POCKET.raw.id_to_token(index)) for index in POCKET.encode(text)]
    told = Tokenized(tokens=list(POCKET.encode(text)), token_strs=pieces)
    assert ends_in(text, told) == POCKET.ends(POCKET.encode(text))


@pytest.mark.parametrize(
    ("pieces", "text", "ends"),
    [
        (["▁So", "▁é", "<0xE6>", "<0x97>", "<0xA5>"], "So é日", (2, 4, 5, 5, 5)),
        (["So", " 3", "."], "So 3.", (2, 4, 5)),
        (["So", " 4", "."], "So 3.", None),
        ([], "So", None),
        ([], "", ()),
    ],
)
def test_what_does_not_spell_the_text_is_not_believed(
    pieces: list[str], text: str, ends: tuple[int, ...] | None
) -> None:
    told = Tokenized(tokens=list(range(len(pieces))), token_strs=pieces)
    assert ends_in(text, told) == ends


def test_llama_cpp_tells_pieces_that_are_no_text_as_bytes() -> None:
    tokens = [
        {"id": 1, "piece": "Sí"},
        {"id": 2, "piece": [0xE6, 0x97]},
        {"id": 3, "piece": [0xA5]},
    ]
    assert ends_in("Sí日", Tokenized.model_validate({"tokens": tokens})) == (2, 3, 3)


def reached(url: str) -> Endpoint:
    return Endpoint(url, "scripted", form=ContinueFinal(), limits=Limits(retries=0))


def seated(endpoint: Endpoint, store: Store) -> Model:
    return Model("m", endpoint, ContinueFinal(), None, store, Sampling())


async def test_shares_are_of_the_servers_tokens_where_there_is_no_tokenizer_here(
    store: Store,
) -> None:
    async with ScriptedServer(LONG) as server, reached(server.url) as endpoint:
        ((solo, _),) = await seated(endpoint, store).solo(ASKED, range(1), 99)
    words = WordTokenizer().encode(solo.text)
    assert solo.text == LONG.partition("</think>")[0]
    assert solo.ends is not None
    assert len(solo.ends) == solo.tokens == len(words)
    assert cut_at_share(solo, 0.5).counted == "tokens"
    async with reached("http://127.0.0.1:9") as nowhere:  # stored, like the draw
        ((again, _),) = await seated(nowhere, store).solo(ASKED, range(1), 99)
    assert again == solo


async def test_a_server_that_tells_no_tokens_is_asked_once(store: Store) -> None:
    async with (
        ScriptedServer([LONG, "Hm. " + LONG], traits=["no_tokenize"]) as server,
        reached(server.url) as endpoint,
    ):
        drawn = await seated(endpoint, store).solo(ASKED, range(4), 99)
        asked = [one for one in server.requests if one.path == "/tokenize"]
    assert {solo.ends for solo, _ in drawn} == {None}
    assert cut_at_share(drawn[0][0], 0.5).counted == "characters"
    assert len(asked) == 2  # in vLLM's words and in llama.cpp's


async def test_a_server_that_is_away_does_not_count_as_one_that_tells_no_tokens() -> None:
    async with reached("http://127.0.0.1:9") as endpoint:
        with pytest.raises(Unreachable):
            await endpoint.ends("So")
