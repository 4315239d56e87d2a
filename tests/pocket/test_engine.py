import asyncio
import re
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collab.pocket.codec import Codec
from collab.pocket.engine import Engine
from collab.pocket.model import KeyValueCache, PocketNetwork
from collab.pocket.prefix import PrefixCache
from collab.pocket.sampler import Sampler, luck
from collab.serving import Job, Piece

END = 0
PROMPT = tuple(range(10, 55))


@pytest.fixture(scope="module")
def parts(checkpoint: Path) -> tuple[PocketNetwork, Codec]:
    return PocketNetwork.load(checkpoint), Codec(checkpoint, 272)


@pytest.fixture
def engine(parts: tuple[PocketNetwork, Codec]) -> Engine:
    return Engine(*parts, frozenset({END}), slots=8)


def job(seed: int = 0, **changes: object) -> Job:
    base = Job("m", PROMPT, seed=seed, max_tokens=40, temperature=0.8, top_p=0.95, ignore_end=True)
    return replace(base, **changes)  # type: ignore[arg-type]  # a test's own fields


async def pieces(engine: Engine, job: Job) -> list[Piece]:
    async with aclosing(engine.complete(job)) as stream:
        return [piece async for piece in stream]


async def written(engine: Engine, job: Job) -> list[tuple[int, ...]]:
    """Return the ids of each choice."""
    ids: list[list[int]] = [[] for _ in range(job.n)]
    for piece in await pieces(engine, job):
        ids[piece.choice] += piece.ids
    return [tuple(choice) for choice in ids]


async def test_a_draw_is_the_same_alone_and_in_company(
    engine: Engine, parts: tuple[PocketNetwork, Codec]
) -> None:
    jobs = [job(seed, prompt=PROMPT[: 3 + 2 * seed], max_tokens=10 + seed) for seed in range(20)]
    together = await asyncio.gather(*(written(engine, each) for each in jobs))
    for each, ids in zip(jobs, together, strict=True):
        assert await written(Engine(*parts, frozenset({END}), slots=1), each) == ids


async def test_choice_i_of_a_seed_is_choice_0_of_that_seed_plus_i(engine: Engine) -> None:
    many = await written(engine, job(5, n=12))
    assert many == [(await written(engine, job(5 + i)))[0] for i in range(12)]
    assert len(set(many)) == 12


async def test_a_longer_draw_begins_with_the_shorter_one(engine: Engine) -> None:
    short, long = await written(engine, job()), await written(engine, job(max_tokens=90))
    assert long[0][:40] == short[0]


async def test_greedy_token_by_token_equals_greedy_at_once(engine: Engine) -> None:
    whole = await written(engine, job(temperature=0.0, max_tokens=70))
    prompt, ids = PROMPT, list[int]()
    while len(ids) < 70:
        (unit,) = await written(engine, job(temperature=0.0, prompt=prompt, max_tokens=7))
        ids += unit
        prompt += unit
    assert tuple(ids) == whole[0]


async def test_going_on_from_ones_own_text_reuses_what_was_computed(engine: Engine) -> None:
    (first,) = await pieces(engine, job(max_tokens=60))
    (second,) = await pieces(engine, job(prompt=PROMPT + first.ids, max_tokens=1))
    assert first.cached == 0
    assert second.cached == 96  # of 45 + 60 tokens, the last not computed: three blocks of 32


async def test_a_cached_prefix_does_not_change_the_draw(
    engine: Engine, parts: tuple[PocketNetwork, Codec]
) -> None:
    await written(engine, job(1))
    warm = await written(engine, job(2))
    assert warm == await written(Engine(*parts, frozenset({END})), job(2))


async def test_the_prefixes_used_last_are_kept(parts: tuple[PocketNetwork, Codec]) -> None:
    cache = KeyValueCache(parts[0].shape)
    cache.reserve(1, 64)
    prefixes = PrefixCache(most_bytes=2 * cache.data[:, :, 0, :, :32].nbytes)
    first, second, third = (list(range(start, start + 33)) for start in (0, 50, 100))
    for ids in (first, second):
        prefixes.save(cache, 0, ids)
    assert prefixes.load(cache, 0, first) == 32
    prefixes.save(cache, 0, third)
    assert [prefixes.load(cache, 0, ids) for ids in (first, second, third)] == [32, 0, 32]


async def test_no_seed_is_a_new_draw_each_time(engine: Engine) -> None:
    unseeded = replace(job(), seed=None)
    assert await written(engine, unseeded) != await written(engine, unseeded)


async def test_the_end_is_not_drawn_before_min_tokens(
    engine: Engine, parts: tuple[PocketNetwork, Codec]
) -> None:
    free = await written(engine, job(temperature=2.0, n=8))
    ends = frozenset(token for ids in free for token in ids[:20])
    strict = Engine(*parts, ends)
    drawn = await written(strict, job(temperature=2.0, n=8, min_tokens=10, ignore_end=False))
    assert all(len(ids) >= 10 for ids in drawn)
    assert not ends & {token for ids in drawn for token in ids[:10]}


async def test_a_stop_string_ends_the_text_with_its_token_whole(engine: Engine) -> None:
    (free,) = await pieces(engine, job(temperature=2.0))
    stop = re.findall(r"[!-~]{2}", free.text)[3]
    (cut,) = await pieces(engine, job(temperature=2.0, stop=(stop,)))
    (kept,) = await pieces(engine, job(temperature=2.0, stop=(stop,), keep_stop=True))
    at = free.text.index(stop)
    assert cut.text == free.text[:at]
    assert kept.text == free.text[: at + len(stop)]
    assert cut.ids == kept.ids == free.ids[: len(cut.ids)]
    assert (cut.finish, cut.stop_reason) == ("stop", stop)


async def test_a_stream_tells_the_same_as_a_whole_reply(engine: Engine) -> None:
    (whole,) = await pieces(engine, job(temperature=2.0, stop=("zq", "##")))
    parts = await pieces(engine, job(temperature=2.0, stop=("zq", "##"), stream=True))
    assert len(parts) > 10
    assert "".join(part.text for part in parts) == whole.text
    assert tuple(token for part in parts for token in part.ids) == whole.ids


async def test_closing_the_stream_frees_its_slots_for_others(engine: Engine) -> None:
    async with aclosing(engine.complete(job(n=8, max_tokens=450, stream=True))) as stream:
        await anext(stream)
    assert await written(engine, job(3)) == await written(engine, job(3))
    assert engine.load == 0


async def test_who_leaves_does_not_disturb_who_stays(engine: Engine) -> None:
    alone = await written(engine, job(7, max_tokens=80))
    stays = asyncio.create_task(written(engine, job(7, max_tokens=80)))
    async with aclosing(engine.complete(job(n=6, max_tokens=450, stream=True))) as stream:
        for _ in range(20):
            await anext(stream)
    assert await stays == alone


async def test_logprobs_are_of_the_model_not_of_the_temperature(engine: Engine) -> None:
    (cold,) = await pieces(engine, job(temperature=0.0, max_tokens=3, logprobs=20))
    (hot,) = await pieces(engine, job(temperature=0.0, max_tokens=3, logprobs=20, n=1, seed=9))
    assert cold.logprobs == hot.logprobs
    first = cold.logprobs[0]
    assert first.top[0] == replace(first, top=())
    assert len(first.top) == 20
    assert sum(np.exp(one.logprob) for one in first.top) < 1
    assert [one.rank for one in first.top] == [*range(1, 21)]


async def test_a_scored_prompt_is_as_likely_as_it_was_when_it_was_drawn(engine: Engine) -> None:
    prompt = tuple(range(3, 103))  # more than one chunk
    (drawn,) = await pieces(engine, job(prompt=prompt, max_tokens=9, logprobs=0))
    asked = job(prompt=(*prompt, *drawn.ids), max_tokens=1, prompt_logprobs=2, temperature=0.0)
    (scored,) = await pieces(engine, asked)
    assert len(scored.prompt_logprobs) == len(asked.prompt) - 1
    assert [one.id for one in scored.prompt_logprobs] == [*asked.prompt[1:]]
    last = scored.prompt_logprobs[-len(drawn.ids) :]
    assert [one.logprob for one in last] == [one.logprob for one in drawn.logprobs]
    assert all(len(one.top) == 2 for one in last)
    assert scored.cached == 0
    (plain,) = await pieces(engine, replace(asked, prompt_logprobs=None))
    assert plain.ids == scored.ids


async def test_an_error_while_computing_reaches_who_waits(
    parts: tuple[PocketNetwork, Codec],
) -> None:
    engine = Engine(*parts, frozenset({END}), slots=2)
    with pytest.raises(IndexError):
        await written(engine, job(prompt=(10**6,)))
    assert len((await written(engine, job()))[0]) == 40


LOGITS = np.log(np.array([[0.5, 0.25, 0.15, 0.1]], np.float32))


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_p": 0.7}, {0, 1}),
        ({"top_p": 0.01}, {0}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"min_p": 0.25}, {0, 1, 2}),
        ({"top_k": 3, "top_p": 0.8}, {0, 1}),
        ({"temperature": 0.0}, {0}),
    ],
)
def test_sampling_keeps_exactly_the_tokens_it_should(
    settings: dict[str, float], kept: set[int]
) -> None:
    sampler = Sampler(1, 400)
    sampler.set(0, Job("m", (), **settings), luck(0, 400))  # type: ignore[arg-type]  # by name
    drawn = {int(sampler.draw(LOGITS, slice(0, 1), np.array([i]))[0]) for i in range(400)}
    assert drawn == kept


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    sampler = Sampler(1, 4000)
    sampler.set(0, Job("m", ()), luck(3, 4000))
    drawn = [int(sampler.draw(LOGITS, slice(0, 1), np.array([i]))[0]) for i in range(4000)]
    assert np.bincount(drawn) / 4000 == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.03)
