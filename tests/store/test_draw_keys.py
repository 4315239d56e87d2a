from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.core.sampling import Request, Sampling
from collab.store.draw_keys import BANK, digest_of, fresh_draw, key_of, seed_of

ids = st.lists(st.integers(0, 2**18), max_size=8).map(tuple)
requests = st.builds(
    Request,
    model=st.text(max_size=8),
    prompt=ids | st.text(max_size=8),
    sampling=st.builds(Sampling, temperature=st.floats(0, 2), top_k=st.integers(-1, 100)),
    max_tokens=st.integers(1, 4096),
    stop=st.lists(st.text(min_size=1, max_size=3), max_size=3).map(tuple),
    logprobs=st.none() | st.integers(0, 20),
    replicate=st.integers(0, 9),
)


@given(requests, requests)
def test_requests_share_a_digest_only_if_they_are_equal(one: Request, other: Request) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "m2"},
        {"prompt": (1, 2)},
        {"prompt": "[1, 2, 3]"},
        {"sampling": Sampling(top_p=0.9)},
        {"max_tokens": 17},
        {"stop": ("\n\n",)},
        {"logprobs": 0},
        {"replicate": 1},
        {"run": "first"},
    ],
)
def test_each_field_changes_the_digest(change: dict[str, object]) -> None:
    request = Request("m", (1, 2, 3), Sampling(), 16)
    assert digest_of(replace(request, **change)) != digest_of(request)  # type: ignore[arg-type]  # any field


@given(st.permutations(["temperature", "top_p", "top_k", "min_p"]))
def test_neither_the_order_nor_the_spelling_of_settings_changes_the_digest(
    names: list[str],
) -> None:
    values = {"temperature": 1, "top_p": "0.95", "top_k": 20, "min_p": 0}
    sampling = Sampling.model_validate({name: values[name] for name in names})
    plain = Sampling(temperature=1.0, top_p=0.95, top_k=20, min_p=0.0)
    assert digest_of(Request("m", "p", sampling, 1)) == digest_of(Request("m", "p", plain, 1))


def test_names_stay_what_they_were_when_the_first_stores_were_written() -> None:
    request = Request("m", (1, 2, 3), Sampling(), 16, stop=("\n\n",))
    assert key_of(digest_of(request), 7) == "d5fb7ee5e8f8fc7552639fbb595c589e-7"
    assert seed_of(request, 7) == 929422985
    assert fresh_draw("case", 0) == 984430711


@given(requests, st.integers(0, 2**20))
def test_the_seed_grows_with_the_draw_and_is_shared_by_longer_texts(
    request: Request, draw: int
) -> None:
    longer = replace(request, max_tokens=request.max_tokens + 1, stop=(), run="first")
    assert seed_of(request, draw) == seed_of(request, 0) + draw == seed_of(longer, draw)
    assert 0 <= seed_of(request, 0) < 2**31


def test_a_replicate_has_its_own_seed() -> None:
    request = Request("m", "p", Sampling(), 16)
    assert seed_of(replace(request, replicate=1), 0) != seed_of(request, 0)


@given(st.text(), st.integers(0, 1000))
def test_a_fresh_draw_is_never_a_bank_draw(case: str, nth: int) -> None:
    assert BANK <= fresh_draw(case, nth) < BANK + 2**30
    assert fresh_draw(case, nth) != fresh_draw(case, nth + 1)
