"""A store of an older collab is upgraded without loss."""

import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence

import pytest

from collab.core.cost import Account
from collab.core.sampling import Generation, Logprobs, Request, Sampling
from collab.errors import StoreError
from collab.store.draw_keys import digest_of, key_of
from collab.store.store import Store

Sql = Callable[..., Awaitable[Sequence[tuple[object, ...]]]]

REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16, stop=("\n\n",))
VERSION_1 = (
    "CREATE TABLE schema_version (version INTEGER)",
    "INSERT INTO schema_version VALUES (1)",
    "CREATE TABLE generations (key VARCHAR NOT NULL PRIMARY KEY, request VARCHAR NOT NULL,"
    " model VARCHAR NOT NULL, draw INTEGER NOT NULL, text {bytes} NOT NULL, ids {bytes},"
    " finish VARCHAR NOT NULL, stop_reason VARCHAR NOT NULL, prompt_tokens INTEGER NOT NULL,"
    " completion_tokens INTEGER NOT NULL, cached_tokens INTEGER, top20_entropy FLOAT,"
    " seconds FLOAT NOT NULL, created FLOAT NOT NULL)",
    "CREATE TABLE claims (key VARCHAR NOT NULL PRIMARY KEY, owner VARCHAR NOT NULL,"
    " expires FLOAT NOT NULL)",
    "CREATE INDEX ix_claims_owner ON claims (owner)",
    "INSERT INTO claims VALUES ('left', 'host:1:abc', 0)",
)
INSERT = (
    "INSERT INTO generations VALUES (:key, :request, 'pocket@1', :draw, :text, :ids, 'stop',"
    " '\"\\n\\n\"', 12, 3, NULL, 0.25, 1.5, 1700000000)"
)


async def _make_version_1(where: str, sql: Sql) -> None:
    blob = "BLOB" if "://" not in where else "BYTEA"
    await sql(where, *(statement.format(bytes=blob) for statement in VERSION_1))


async def _written(draws: range) -> list[Generation]:
    return [Generation(f"draw {draw}", None, "stop", served="fp_1") for draw in draws]


async def _sample(draws: range) -> list[Generation]:
    raise AssertionError(f"{draws} was sampled again")


async def test_a_store_of_schema_1_keeps_its_generations(
    where: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.store.database.tables.CHUNK", 3)
    digest = digest_of(REQUEST)
    await _make_version_1(where, sql)
    for draw in range(7):
        text = f"draw {draw} \ud83d".encode("utf-8", "surrogatepass")
        values = {"key": key_of(digest, draw), "request": digest, "draw": draw}
        ids = struct.pack("<2I", draw, 2**32 - 1)
        await sql(where, INSERT, **values, text=zlib.compress(text), ids=ids)
    for _ in range(2):
        async with Store.open(where) as store:
            drawn = await store.draws(REQUEST, range(7), _sample)
    assert [one.generation for one in drawn] == [
        Generation(
            text=f"draw {draw} \ud83d",
            ids=(draw, 2**32 - 1),
            finish="stop",
            stop_reason="\n\n",
            prompt_tokens=12,
            completion_tokens=3,
            logprobs=Logprobs(entropies=(0.25,) * 3),
            seconds=1.5,
            key=key_of(digest, draw),
        )
        for draw in range(7)
    ]
    assert await sql(where, "SELECT version FROM schema_version") == [(4,)]
    assert await sql(where, "SELECT key FROM claims") == []


async def test_a_store_of_schema_2_keeps_its_generations_until_somebody_says_they_may_go(
    where: str, sql: Sql
) -> None:
    async with Store.open(where) as store:
        await store.draws(REQUEST, range(2), _written)
    older = ("ALTER TABLE generations DROP COLUMN served", "DROP TABLE needs", "DROP TABLE runs")
    await sql(where, *older, "UPDATE schema_version SET version = 2")
    async with Store.open(where) as store:
        drawn = await store.draws(REQUEST, range(2), _sample)
    assert [one.generation.served for one in drawn] == ["fp_1", "fp_1"]
    assert await sql(where, "SELECT version FROM schema_version") == [(4,)]
    assert await sql(where, "SELECT place FROM runs") == [("(before schema 3)",)]
    assert len(await sql(where, "SELECT key FROM needs")) == 2


async def test_a_store_of_schema_3_notes_spending_from_now_on(where: str, sql: Sql) -> None:
    async with Store.open(where) as store:
        await store.draws(REQUEST, range(2), _written)
    await sql(where, "DROP TABLE spent", "UPDATE schema_version SET version = 3")
    async with Store.open(where, payer="one") as store:
        await store.draws(REQUEST, range(4), _written, account=Account(seat="main"))
        assert (await store.spent())["main"].draws == 2
    assert await sql(where, "SELECT version FROM schema_version") == [(4,)]


async def test_an_upgrade_that_fails_leaves_the_store_as_it_was(where: str, sql: Sql) -> None:
    await _make_version_1(where, sql)
    values = {"key": key_of(digest_of(REQUEST), 0), "request": "r", "draw": 0, "ids": None}
    await sql(where, INSERT, **values, text=b"torn")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"damaged .* and was not changed"):
            async with Store.open(where):
                pass
    assert await sql(where, "SELECT version FROM schema_version") == [(1,)]
    assert len(await sql(where, "SELECT key FROM generations")) == 1


async def test_a_store_of_a_newer_collab_is_refused_and_left_alone(where: str, sql: Sql) -> None:
    await sql(where, VERSION_1[0], "INSERT INTO schema_version VALUES (99)")
    with pytest.raises(
        StoreError, match="schema 99, but this collab knows schemas up to 4; upgrade"
    ):
        async with Store.open(where):
            pass
    with pytest.raises(Exception, match="generations"):
        await sql(where, "SELECT key FROM generations")
