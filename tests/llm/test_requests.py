"""A call's identity: everything that can change the answer is in it, and nothing else."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.llm.requests import Request, make_request
from stillhouse.study.base import Sampling

TEXT = st.text(max_size=40)
REQUESTS = st.builds(
    Request,
    model=st.fixed_dictionaries({"backend": TEXT, "weights": TEXT}),
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), min_size=1, max_size=3).map(
        tuple
    ),
    sampling=st.fixed_dictionaries(
        {"temperature": st.floats(0, 2), "seed": st.integers(0, 2**31), "stop": st.lists(TEXT, max_size=2)}
    ),
    grammar=st.none() | TEXT,
    index=st.integers(0, 5),
)


@given(REQUESTS, REQUESTS)
def test_digests_are_equal_exactly_where_payloads_are(one: Request, other: Request) -> None:
    assert (one.digest == other.digest) == (
        json.dumps(one.payload(), sort_keys=True) == json.dumps(other.payload(), sort_keys=True)
    )


@given(REQUESTS, st.data())
def test_every_field_changes_the_digest(request_: Request, data: st.DataObject) -> None:
    role, content = request_.messages[-1]
    changed = [
        replace(request_, model={**request_.model, "context": 1}),
        replace(request_, model={**request_.model, "weights": request_.model["weights"] + "x"}),
        replace(request_, messages=(*request_.messages, ("user", ""))),
        replace(request_, messages=(*request_.messages[:-1], (role + "x", content))),
        replace(request_, messages=(*request_.messages[:-1], (role, content + " "))),
        replace(request_, messages=(*request_.messages[:-1], (content, role))) if role != content else None,
        replace(request_, sampling={**request_.sampling, "seed": request_.sampling["seed"] + 1}),
        replace(request_, sampling={**request_.sampling, "temperature": request_.sampling["temperature"] + 0.5}),
        replace(request_, sampling={**request_.sampling, "stop": [*request_.sampling["stop"], "x"]}),
        replace(request_, sampling={**request_.sampling, "top_k": 3}),
        replace(request_, grammar=(request_.grammar or "") + "x"),
        replace(request_, index=request_.index + 1),
    ]
    digests = [item.digest for item in changed if item]
    assert request_.digest not in digests
    assert len(set(digests)) == len(digests)


def test_seeds_derive_from_every_part_and_the_index() -> None:
    def seed(sampling_seed: int = 7, parts: tuple = ("p", "judge", 1, 0), index: int = 0) -> int:
        messages = [{"role": "user", "content": "x"}]
        request = make_request({"m": 1}, messages, Sampling(seed=sampling_seed), seed_parts=parts, index=index)
        return request.sampling["seed"]

    seeds = [seed(), seed(8), seed(parts=("q", "judge", 1, 0)), seed(parts=("p", "judge", 1, 1)), seed(index=1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= found < 2**31 for found in seeds)
    assert seed() == seed()


def test_settings_that_are_not_set_are_not_sent() -> None:
    request = make_request({}, [{"role": "user", "content": "x"}], Sampling(), seed_parts=())
    assert "top_k" not in request.sampling
    assert "min_p" not in request.sampling


def test_a_number_written_as_whole_or_as_fraction_is_one_request() -> None:
    message = [{"role": "user", "content": "x"}]
    digests = {make_request({}, message, Sampling(temperature=t), seed_parts=()).digest for t in (1, 1.0)}
    assert len(digests) == 1
