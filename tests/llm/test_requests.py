"""A call's identity: everything that can change the answer is in it, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stillhouse.llm.factory import Clients
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


NAMES = st.sampled_from(["system", "user", "assistant", "tool"])
MESSAGES = st.lists(st.tuples(NAMES, TEXT), min_size=1, max_size=4)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0, 2),
    top_p=st.floats(0.01, 1),
    top_k=st.none() | st.integers(1, 100),
    min_p=st.none() | st.floats(0, 1),
    max_tokens=st.integers(1, 4000),
    stop=st.lists(TEXT, max_size=2),
    seed=st.integers(0, 2**31),
)
PARTS = st.lists(TEXT | st.integers(0, 9), max_size=4).map(tuple)
OPERATIONS = st.fixed_dictionaries(
    {
        "base_url": st.sampled_from(
            ["http://localhost:8000/v1", "https://openrouter.ai/api/v1", "https://a.example/v1"]
        ),
        "api_key_env": st.sampled_from([None, "FIRST_KEY", "SECOND_KEY"]),
        "limits": st.fixed_dictionaries(
            {
                "concurrency": st.integers(1, 64),
                "requests_per_minute": st.none() | st.integers(1, 9999),
                "requests_per_day": st.none() | st.integers(1, 9999),
                "tokens_per_minute": st.none() | st.integers(1, 999_999),
            }
        ),
        "price": st.none() | st.fixed_dictionaries({"input": st.floats(0, 99), "output": st.floats(0, 99)}),
        "timeout_s": st.floats(0.1, 900),
        "max_tries": st.integers(1, 9),
        "give_up_s": st.floats(0.1, 900),
        "structured": st.sampled_from(["llama_cpp", "vllm"]),
        "licence": st.none() | st.sampled_from(["apache-2.0", "other"]),
        "terms": st.sampled_from([{}, {"training": True, "note": "asked them"}]),
    }
)
GRAMMARS = st.sampled_from([None, 'root ::= "x"', '{"type": "object"}'])
STUDY_NAMES = st.sampled_from(["teacher", "judge.2", "m"])


def chat(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


def through_the_factory(
    name: str, settings: dict, pairs: list[tuple[str, str]], sampling: Sampling, **wanted
) -> Request:
    """The request as a job builds it from the study's own settings."""
    model = {"backend": "openai", "model": "some/model", **{key: value for key, value in settings.items() if value}}
    clients = Clients({"models": {name: model}}, Path("no-weights"), "job")
    try:
        return clients[name].request(chat(pairs), sampling, **wanted)
    finally:
        clients.close()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRST_KEY", "sk-first-0123456789")
    monkeypatch.setenv("SECOND_KEY", "sk-second-0123456789")


FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(STUDY_NAMES, STUDY_NAMES, OPERATIONS, OPERATIONS, MESSAGES, SAMPLINGS, PARTS, GRAMMARS)
def test_what_is_operational_changes_no_digest(
    keys, first, second, one, other, pairs, sampling, parts, grammar
) -> None:
    requests = [
        through_the_factory(name, operations, pairs, sampling, seed_parts=parts, grammar=grammar)
        for name, operations in ((first, one), (second, other))
    ]
    assert requests[0].digest == requests[1].digest
    told = json.dumps(requests[0].payload())
    assert "sk-first" not in told and "FIRST_KEY" not in told and one["base_url"] not in told


@FEW
@given(OPERATIONS, MESSAGES, SAMPLINGS)
def test_another_model_of_the_same_server_is_another_request(keys, operations, pairs, sampling) -> None:
    digests = {
        through_the_factory("m", {**operations, "model": model}, pairs, sampling, seed_parts=()).digest
        for model in ("some/model", "some/model:free", "other/model")
    }
    assert len(digests) == 3


@pytest.mark.parametrize("field", sorted(Sampling.model_fields))
@given(SAMPLINGS, st.data())
def test_every_field_of_the_sampling_changes_the_digest(field: str, sampling: Sampling, data: st.DataObject) -> None:
    """Fields are those of the study's own type: one that is added later is tested, too."""
    value = getattr(data.draw(SAMPLINGS), field)
    assume(value != getattr(sampling, field))
    other = sampling.model_copy(update={field: value})
    message = chat([("user", "x")])
    one, two = (make_request({"m": 1}, message, item, seed_parts=("p",)) for item in (sampling, other))
    assert one.digest != two.digest


@given(MESSAGES, MESSAGES)
def test_no_two_conversations_share_a_digest(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    digests = [make_request({}, chat(pairs), Sampling(), seed_parts=()).digest for pairs in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


@given(MESSAGES, st.data())
def test_a_border_between_messages_that_moves_is_seen(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    """The same words, cut elsewhere: joined, split, or with the markup of a message inside a text."""
    place = data.draw(st.integers(0, len(pairs) - 1))
    role, content = pairs[place]
    cut = data.draw(st.integers(0, len(content)))
    split = [*pairs[:place], (role, content[:cut]), (role, content[cut:]), *pairs[place + 1 :]]
    inside = f'{content}"}},{{"role":"user","content":"'
    merged = [*pairs[:place], (role, inside), *pairs[place + 1 :]]
    conversations = [pairs, split, merged, [*merged, ("user", "")]]
    digests = {make_request({}, chat(one), Sampling(), seed_parts=()).digest for one in conversations}
    assert len(digests) == len(conversations)


@given(MESSAGES, st.data())
def test_the_order_of_messages_changes_the_digest(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    other = data.draw(st.permutations(pairs))
    digests = [make_request({}, chat(one), Sampling(), seed_parts=()).digest for one in (pairs, other)]
    assert (digests[0] == digests[1]) == (list(pairs) == list(other))


@given(PARTS, PARTS, st.integers(0, 3), st.integers(0, 3))
def test_seed_parts_and_index_change_the_digest(one: tuple, other: tuple, first: int, second: int) -> None:
    """Parts are compared as texts: a judge's number and the same number in words of a file are one."""
    message, sampling = chat([("user", "x")]), Sampling()
    requests = [
        make_request({}, message, sampling, seed_parts=parts, index=index)
        for parts, index in ((one, first), (other, second))
    ]
    same = (list(map(str, one)), first) == (list(map(str, other)), second)
    assert (requests[0].digest == requests[1].digest) == same


@given(REQUESTS, st.permutations(["temperature", "seed", "stop"]), st.permutations(["backend", "weights"]))
def test_the_order_of_keys_changes_no_digest(asked: Request, sampling: list[str], model: list[str]) -> None:
    other = replace(
        asked,
        sampling={key: asked.sampling[key] for key in sampling},
        model={key: asked.model[key] for key in model},
    )
    assert other.digest == asked.digest


def test_digests_of_requests_that_studies_have_paid_for_stay() -> None:
    """Digests taken at the first release: another one would make every study pay again."""
    pairs = [("system", "You review plans."), ("user", "Review “this” plan:\nopen on day 1.")]
    sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=160, seed=7)
    identity = {"backend": "openai", "model": "some/model"}
    plain = make_request(identity, chat(pairs), sampling, seed_parts=("0123456789abcdef", "judge", 1, 0))
    held = make_request(identity, chat(pairs), sampling, seed_parts=("p",), grammar='root ::= "x"', index=1)
    assert (plain.digest, held.digest) == (
        "a9a440efb70139ed6b18645a56960f0bb838bc05aae1063e25a4792ae2e5be25",
        "fa0e69d743afc146bd191d8b6a1b6e4710374d1d21071382e59a8993560178ab",
    )
