"""Guards against costly runs, takedown of prompts, conservation of rows: on the whole workflow with a counted teacher."""

import pytest
from house import House

from stillhouse.provenance.conservation import check_conservation

pytestmark = pytest.mark.slow


def ask_anew(house: House, bound: int) -> None:
    """A study whose tournament has to be asked again, under a guard."""

    def edit(study: dict) -> None:
        study["generations"]["plans"]["sampling"]["seed"] = 8
        study["guards"] = {"max_paid_calls": bound}

    house.change(edit)


def test_paid_calls_stop_at_the_guard_and_nothing_is_lost(house: House) -> None:
    ask_anew(house, 20)
    first = house.run("generations", fails=True)
    assert first.calls == 20
    assert "guards.max_paid_calls: this run has started 20 paid calls" in first.text
    second = house.run("generations", fails=True)  # goes on where the first one stopped
    assert second.calls == 20
    house.environment["STILLHOUSE_ALLOW"] = "calls"
    house.run("generations")
    asked = [request for request in house.server.requests[-400:] if request.get("seed")]
    assert len(asked) == len({repr(request) for request in asked})  # no call twice


def test_a_free_server_is_not_guarded(house: House) -> None:
    ask_anew(house, 3)
    house.change(lambda study: study["models"]["teacher"].update(price={"input": 0, "output": 0}))
    assert house.run("generations").calls > 20


def test_a_guard_changes_no_plan(house: House) -> None:
    house.change(lambda study: study.update(guards={"max_paid_calls": 1, "max_training_minutes": 1}))
    assert house.planned() == set()


def test_a_long_training_is_stopped_after_its_first_steps(house: House) -> None:
    def edit(study: dict) -> None:
        study["adapters"]["plain"]["training"]["max_steps"] = 400
        study["guards"] = {"max_training_minutes": 0.001}

    house.change(edit)
    run = house.run("results/adapters/plain/adapter_model.safetensors", fails=True)
    assert "guards.max_training_minutes: 400 steps would take about" in run.text
    assert "train_adapter" in house.planned()


def test_prompts_taken_down_leave_no_text_and_cost_no_call(house: House) -> None:
    house.change(lambda study: study.update(exclude={"prompts": ["plans:plan-3", "everyday:everyday-2"]}))
    before = house.script("takedown.py", "--check", "--configfile", "study.yaml")
    assert before.returncode == 1
    assert "results/datasets/mixed/train.parquet" in before.stdout or "answers.parquet" in before.stdout
    run = house.run()
    assert {request["role"] for request in run.requests} <= {"rubric", "pairwise", "break"}  # the new adapter is judged
    after = house.script("takedown.py", "--check", "--configfile", "study.yaml")
    assert after.returncode == 0, after.stdout
    purged = house.script("takedown.py", "--purge", "--configfile", "study.yaml")
    assert purged.returncode == 0, purged.stdout
    text = b"we open the orchard"  # plan-3
    for file in (house.study / "results").rglob("*"):
        assert not file.is_file() or text not in file.read_bytes(), file
    assert house.planned() == set()


def test_rows_are_conserved_at_every_stage(built: House, house: House) -> None:
    assert check_conservation(built.study) == []
    import pyarrow.parquet as pq

    file = house.study / "results/datasets/mixed/train.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    assert any("mixed" in str(fault) for fault in check_conservation(house.study))
