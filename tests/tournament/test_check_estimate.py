"""The estimate of an external check, by hand."""

import json
from typing import Any

import pytest

from stillhouse.tournament.estimate import estimate_check

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
