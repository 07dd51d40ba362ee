"""The estimates of an external check and of scores, by hand."""

import json
from typing import Any

import pytest

from stillhouse.tournament.estimate import estimate_check, estimate_quality, mean_answer_tokens

ROWS = [{"messages": json.dumps([{"role": "user", "content": "x" * 40}])}] * 10  # 10 tokens each


def generation(**check: Any) -> dict[str, Any]:
    whole = {"judges": ["j"], "limit": None, "judging": {"max_tokens": 100}}
    return {"sampling": {"max_tokens": 200}, "external_check": {**whole, **check}}


def test_every_prompt_in_both_orders() -> None:
    found = estimate_check("g", generation(), ROWS, {"j": {"input": 1.0, "output": 10.0}})
    assert found.part == "generation g: external check"
    assert (found.calls, found.most) == (20, 20)
    assert found.prompt_tokens == 20 * (10 + 2 * 120)  # the prompt and two answers at 60 % of 200 tokens
    assert found.completion_tokens == 20 * 60
    assert found.usd == pytest.approx((20 * 250 * 1.0 + 20 * 60 * 10.0) / 1e6)


@pytest.mark.parametrize(
    ("check", "calls"), [({"limit": 3}, 6), ({"limit": 99}, 20), ({"judges": ["j", "k", "j"]}, 40)], ids=str
)
def test_limit_and_judges(check: dict[str, Any], calls: int) -> None:
    assert estimate_check("g", generation(**check), ROWS, {}).calls == calls


def test_an_unknown_price_is_no_zero() -> None:
    prices = {"j": {"input": 1.0, "output": 1.0}, "k": None}
    assert estimate_check("g", generation(judges=["j", "k"]), ROWS, prices).usd is None


def test_no_check_no_estimate() -> None:
    assert estimate_check("g", {"external_check": None}, ROWS, {}) is None


def test_scores_by_hand() -> None:
    quality = {"model": "j", "repeats": 3, "judging": {"max_tokens": 100}}
    found = estimate_quality("generation g", quality, ROWS, {"j": {"input": 1.0, "output": 10.0}}, 120.0)
    seen = estimate_check("g", generation(judges=["j"]), ROWS, {}).prompt_tokens / 20 - 240  # the prompt alone
    assert (found.part, found.calls, found.most) == ("generation g: quality", 30, 30)
    assert (found.prompt_tokens, found.completion_tokens) == (30 * (seen + 120), 30 * 60)
    assert found.usd == pytest.approx((30 * (seen + 120) * 1.0 + 30 * 60 * 10.0) / 1e6)


def test_answers_that_exist_are_measured() -> None:
    assert mean_answer_tokens([{"answer": "x" * 40}, {"answer": None}, {"answer": "x" * 20}]) == 5.0
    assert mean_answer_tokens([]) == 0.0
