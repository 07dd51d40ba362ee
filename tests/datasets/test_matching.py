"""Rules that repeat matching rows."""

import json

import pyarrow as pa
import pytest

from stillhouse.datasets.batches import Batch
from stillhouse.datasets.matching import repeat_columns, times_of
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.datasets import Repeat, Source

ROWS = [
    ("audit", "Check the mill", {"step": 1, "tags": "a"}),
    ("plan", "Check the bridge", {"step": "1", "kept": True}),
    (None, "Name a river", {}),
]


def batch() -> Batch:
    columns = {
        "prompt_id": ["0", "1", "2"],
        "category": [category for category, _, _ in ROWS],
        "messages": [canonical_json([{"role": "user", "content": text}]) for _, text, _ in ROWS],
        "metadata": [json.dumps(metadata) for _, _, metadata in ROWS],
    }
    return Batch(
        0, "plans", 0, pa.RecordBatch.from_pydict({name: pa.array(own, pa.string()) for name, own in columns.items()})
    )


@pytest.mark.parametrize(
    ("rule", "times"),
    [
        ({"any": [{"category": ["plan", "audit"]}]}, [3, 3, 1]),
        ({"any": [{"pattern": r"^Check .*l$"}]}, [3, 1, 1]),
        ({"any": [{"metadata": "step", "equals": 1}]}, [3, 1, 1]),
        ({"any": [{"metadata": "step", "equals": 1.0}]}, [3, 1, 1]),
        ({"any": [{"metadata": "step", "equals": True}]}, [1, 1, 1]),
        ({"any": [{"metadata": "kept", "equals": True}]}, [1, 3, 1]),
        ({"any": [{"metadata": "step", "equals": ["1", 7]}]}, [1, 3, 1]),
        ({"any": [{"generation": "plans"}]}, [3, 3, 3]),
        ({"any": [{"generation": "other"}]}, [1, 1, 1]),
        ({"any": [{"category": ["plan"]}, {"pattern": "river"}]}, [1, 3, 3]),
        ({"all": [{"pattern": "Check"}, {"category": ["plan"]}]}, [1, 3, 1]),
    ],
)
def test_a_rule_takes(rule, times):
    found = times_of(batch(), Source(generation="plans"), [Repeat.model_validate({"times": 3.0, **rule})])
    assert found.tolist() == times


def test_times_are_multiplied():
    rules = [Repeat.model_validate({"times": times, "any": [{"category": ["plan"]}]}) for times in (1.5, 2.0)]
    assert times_of(batch(), Source(generation="plans", repeat=2.0), rules).tolist() == [2.0, 6.0, 2.0]


def test_metadata_is_read_only_where_a_rule_asks():
    by_category, by_metadata = (
        Repeat.model_validate({"times": 2.0, "any": [match]})
        for match in ({"category": ["x"]}, {"metadata": "k", "equals": 1})
    )
    assert repeat_columns([by_category]) == () and repeat_columns([by_category, by_metadata]) == ("metadata",)
