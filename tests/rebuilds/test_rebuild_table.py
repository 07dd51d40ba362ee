"""What runs after which change: every line of the table in docs/rebuilds.md, on the whole workflow.

Each test changes a copy of a built study, runs Snakemake, and compares the jobs that worked and the requests that a server
counted. A job that Snakemake schedules and that comes out of the store has not run.
"""

import ast
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from house import House

pytestmark = pytest.mark.slow

GENERATIONS = ("plans", "everyday", "written")
SHARDS = {f"answer_shard plans,{number}" for number in range(3)}
AFTER_ANSWERS = {"check_drafts plans", "report_generation plans", "cost_generation plans"}
REPORTING = {"summarise_evaluation held", "write_report held", "validate_evaluation held", "write_history"}
JUDGES = {"judge_rubric held", "judge_pairwise held"}
SCORING = {"score_markers held", "find_breaks held", "run_checks held", *JUDGES, *REPORTING}
EXPORTING = {
    "merge_adapter mixed",
    "convert_gguf mixed",
    "convert_adapter_gguf mixed",
    "quantize_gguf mixed,Q8_0",
    "measure_fidelity mixed",
    "write_modelfile mixed",
    "write_model_card mixed",
}
STUDENTS = {f"answer_subject held,{name}" for name in ("student", "packed", "adapted")}
AFTER_MIXED = {"preflight_adapter mixed", "train_adapter mixed", *EXPORTING, *STUDENTS, *SCORING}


def shard_of(house: House, prompt_ids: set[str]) -> set[str]:
    """The shard jobs that hold some prompts."""
    import pyarrow.parquet as pq

    found = set()
    for shard in range(3):
        file = house.study / f"results/generations/plans/shards/{shard}.parquet"
        if prompt_ids & set(pq.read_table(file, columns=["prompt_id"])["prompt_id"].to_pylist()):
            found.add(f"answer_shard plans,{shard}")
    return found


def answers(house: House, generation: str = "plans") -> dict[str, dict]:
    """Rows of a generation by the user's id."""
    import pyarrow.parquet as pq

    file = house.study / f"results/generations/{generation}/answers.parquet"
    return {row["id"]: row for row in pq.read_table(file).to_pylist()}


def touch_everything(house: House) -> None:
    later = time.time() + 60
    for folder in (house.study, house.workflow):
        for file in folder.rglob("*"):
            if file.is_file() and ".snakemake" not in file.parts:
                os.utime(file, (later, later))


def test_nothing_changed(house: House) -> None:
    assert house.planned() == set()
    run = house.run()
    assert run.ran == run.reused == set() and run.calls == 0
    assert "Nothing to be done" in run.text


def test_a_touch_of_every_file(house: House) -> None:
    touch_everything(house)
    assert house.planned() == set()


def test_results_and_memory_moved_together(house: House, tmp_path: Path) -> None:
    shutil.move(house.folder, tmp_path / "elsewhere" / "deeper")
    moved = House(tmp_path / "elsewhere" / "deeper", house.server)
    assert moved.planned() == set()
    run = moved.run()
    assert run.ran == set() and run.calls == 0


def test_results_and_memory_copied_with_new_times(built: House, tmp_path: Path) -> None:
    shutil.copytree(built.folder, tmp_path / "copied", copy_function=shutil.copyfile, symlinks=True)
    assert House(tmp_path / "copied", built.server).planned() == set()


def reworded(text: str) -> str:
    """The same logic: other docstrings, other formatting, no comment left."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body[0].value.value = "Says it in other words."
    return "# a new comment\n" + ast.unparse(tree)


def test_comments_docstrings_and_formatting(house: House) -> None:
    for file in (house.workflow / "scripts").rglob("*.py"):
        if text := file.read_text():
            file.write_text(reworded(text))
    assert house.planned() == set()


def test_one_prompt_edited(house: House) -> None:
    before = answers(house)

    def edit(rows: list[dict]) -> list[dict]:
        rows[4]["prompt"] += " Is that wise?"
        return rows

    losing = shard_of(house, {before["plan-4"]["prompt_id"]})
    house.edit_lines("plans.jsonl", edit)
    run = house.run()
    after = answers(house)
    gaining = shard_of(house, {after["plan-4"]["prompt_id"]})
    assert {job for job in run.ran if job.startswith("answer_shard")} == losing | gaining
    assert {"collect_prompts plans", "merge_generation plans", "build_dataset mixed", *AFTER_ANSWERS} <= run.ran
    asked = [request for request in run.requests if request["role"] not in ("rubric", "pairwise", "break")]
    assert asked and all("Is that wise?" in json.dumps(request["messages"]) for request in asked)
    assert {name: row for name, row in after.items() if name != "plan-4"} == {
        name: row for name, row in before.items() if name != "plan-4"
    }


def test_one_prompt_added(house: House) -> None:
    before = answers(house)
    house.edit_lines(
        "plans.jsonl", lambda rows: [*rows, {"id": "plan-new", "prompt": "Review this plan: we move the tower."}]
    )
    run = house.run()
    after = answers(house)
    assert {job for job in run.ran if job.startswith("answer_shard")} == shard_of(
        house, {after["plan-new"]["prompt_id"]}
    )
    asked = [request for request in run.requests if request["role"] not in ("rubric", "pairwise", "break")]
    assert asked and all("we move the tower" in json.dumps(request["messages"]) for request in asked)
    assert after.keys() - before.keys() == {"plan-new"}


def test_prompts_reordered(house: House) -> None:
    house.edit_lines("plans.jsonl", lambda rows: rows[::-1])
    run = house.run()
    assert run.ran == {"collect_prompts plans"}
    assert run.calls == 0


def test_prompts_removed(house: House) -> None:
    gone = {row["prompt_id"] for name, row in answers(house).items() if name in ("plan-2", "plan-9")}
    losing = shard_of(house, gone)
    house.edit_lines("plans.jsonl", lambda rows: [row for row in rows if row["id"] not in ("plan-2", "plan-9")])
    run = house.run()
    assert {job for job in run.ran if job.startswith("answer_shard")} == losing
    assert {"collect_prompts plans", "merge_generation plans", "build_dataset mixed", "train_adapter mixed"} <= run.ran
    assert {request["role"] for request in run.requests} <= {"rubric", "pairwise", "break"}  # the new adapter is judged
    assert not gone & {row["prompt_id"] for row in answers(house).values()}


def test_a_prompt_set_and_a_generation_renamed(house: House) -> None:
    def rename(study: dict) -> None:
        study["prompts"]["ideas"] = study["prompts"].pop("plans")
        study["generations"]["ideas"] = {**study["generations"].pop("plans"), "prompts": "ideas"}
        for name in ("mixed", "plain"):
            study["datasets"][name]["sources"][0]["generation"] = "ideas"

    house.change(rename)
    run = house.run()
    assert run.calls == 0
    working = {
        "preflight_adapter",
        "train_adapter",
        "merge_adapter",
        "convert_gguf",
        "measure_fidelity",
        "answer_subject",
    }
    assert not run.rules() & {*working, "judge_rubric", "convert_dataset"}
    renamed = {f"answer_shard ideas,{number}" for number in range(3)}
    assert {"collect_prompts ideas", "merge_generation ideas", "build_dataset mixed", *renamed} <= run.ran


@pytest.mark.parametrize("count", [1, 5])
def test_number_of_shards(house: House, count: int) -> None:
    before = house.artefacts()
    house.change(lambda study: study["generations"]["plans"].update(shards=count))
    run = house.run()
    assert run.calls == 0
    assert run.ran == {*(f"answer_shard plans,{number}" for number in range(count)), "merge_generation plans"}
    after = house.artefacts()
    shards = {name for name in after if name.startswith("generations/plans/shards/")}
    assert shards == {f"generations/plans/shards/{number}.parquet" for number in range(count)}
    for name in before.keys() | after.keys():
        if not name.startswith("generations/plans/shards/"):
            assert before.get(name) == after.get(name), name


def test_the_judges_wording(house: House) -> None:
    template = house.study / "templates/judge.j2"
    template.write_text(template.read_text().replace("Rank them", "Please rank them"))
    votes = sum(len(round_["votes"]) for row in answers(house).values() for round_ in rounds(row))
    winners = {name: row["winners"] for name, row in answers(house).items()}
    run = house.run()
    assert run.roles() == {"judge": votes}  # no winner changed, so nothing else was asked
    assert {name: row["winners"] for name, row in answers(house).items()} == winners
    # the rows name other calls, so they are merged and mixed again, and the evaluation looks for its prompts in them;
    # what is trained on is the same, and so is the report
    merging = {"merge_generation plans", *AFTER_ANSWERS}
    assert run.ran == {*SHARDS, *merging, "build_dataset mixed", "build_dataset plain", "summarise_evaluation held"}


def rounds(row: dict) -> list[dict]:
    return json.loads(row["transcript"])["rounds"]


def test_three_judges_to_five(house: House) -> None:
    before = answers(house)
    house.change(lambda study: study["generations"]["plans"]["tournament"].update(judges=5))
    run = house.run()
    after = answers(house)
    same = [name for name in before if before[name]["winners"] == after[name]["winners"]]
    assert same  # where no winner changed, exactly two votes a round are new
    for name in same:
        old = {call for round_ in rounds(before[name]) for call in [vote["call"] for vote in round_["votes"]]}
        new = {call for round_ in rounds(after[name]) for call in [vote["call"] for vote in round_["votes"]]}
        voted = sum(bool(round_["votes"]) for round_ in rounds(after[name]))
        assert old < new or not voted
        assert len(new - old) == 2 * voted
    changed = [name for name in before if name not in same]
    assert run.ran >= SHARDS
    asked = [request for request in run.requests if request["role"] not in ("rubric", "pairwise", "break")]
    if not changed:
        assert {request["role"] for request in asked} == {"judge"}


@pytest.mark.parametrize("key", ["price", "limits", "timeout_s", "base_url", "api_key_env"])
def test_operational_settings(house: House, key: str) -> None:
    values = {
        "price": {"input": 1.0, "output": 2.0},
        "limits": {"concurrency": 6, "requests_per_minute": 600},
        "timeout_s": 33,
        "base_url": "http://127.0.0.1:9/v1",
        "api_key_env": "SOME_KEY",
    }
    house.change(lambda study: study["models"]["teacher"].update({key: values[key]}))
    assert house.planned() == ({"cost_generation"} if key == "price" else set())


def test_a_price_adds_up_anew_what_was_paid(house: House) -> None:
    def cost() -> dict:
        return json.loads((house.study / "results/generations/plans/cost.json").read_text())

    before, artefacts = cost(), house.artefacts()
    assert before["usd"] is None and before["unpriced_models"] == ["teacher"]
    roles = {line["role"]: line["calls"] for line in before["lines"]}
    assert roles["teacher"] == 12 and roles["external check"] > 0 and before["missing"] == 0
    house.change(lambda study: study["models"]["teacher"].update(price={"input": 1.0, "output": 2.0}))
    run = house.run()
    assert run.ran == {f"cost_generation {name}" for name in GENERATIONS} and run.calls == 0
    after = cost()
    assert after["usd"] == round((before["prompt_tokens"] + 2 * before["completion_tokens"]) / 1e6, 6)
    kept = {name: data for name, data in house.artefacts().items() if not name.endswith("cost.json")}
    assert kept == {name: data for name, data in artefacts.items() if not name.endswith("cost.json")}


def test_another_external_judge_asks_no_one_else(house: House) -> None:
    def add(study: dict) -> None:
        study["models"]["outsider"] = {**study["models"]["teacher"], "model": "counted-2"}
        study["generations"]["plans"]["external_check"]["judges"] = ["teacher", "outsider"]

    house.change(add)
    run = house.run()
    assert run.ran == AFTER_ANSWERS
    assert run.roles() == {"pairwise": run.calls} and {request["model"] for request in run.requests} == {"counted-2"}
    report = json.loads((house.study / "results/generations/plans/report.json").read_text())
    asked = 2 * (report["check"]["prompts"] - report["check"]["identical"])
    assert asked <= run.calls <= 2 * asked  # both orders of each, and a second chance where a reply cannot be used


def test_other_words_for_the_model_that_scores(house: House) -> None:
    file = house.workflow / "data/quality/score.j2"
    file.write_text(file.read_text().replace("Score one answer:", "Give one answer a score:"))
    run = house.run()
    scoring = {"score_answers answers,recorded", "score_answers generations,written"}
    assert scoring | {"cost_generation written", "build_dataset other"} <= run.ran
    after = {"cost_generation written", "build_dataset other", "write_dataset_card other"}
    assert {job for job in run.ran - scoring - after if not job.startswith("convert_dataset other,")} == set()
    assert run.roles() == {"quality": run.calls} and run.calls > 0


def test_a_filter_that_takes_the_same_rows(house: House) -> None:
    before = house.artefacts()
    house.change(lambda study: study["datasets"]["mixed"]["sources"][0].update(filters=[{"min_words": 3}]))
    run = house.run()
    assert run.calls == 0
    assert (
        run.ran <= {"build_dataset mixed", "write_dataset_card mixed", "write_model_card mixed"}
        and "build_dataset mixed" in run.ran
    )
    for name in ("adapters/mixed/adapter_model.safetensors", "exports/mixed/mixed-Q8_0.gguf"):
        assert house.artefacts()[name] == before[name]


@pytest.mark.parametrize("lora", [{"rank": 2, "alpha": 8}, {"rank": 8, "alpha": 4}], ids=["rank", "swapped"])
def test_rank_of_one_adapter(house: House, lora: dict) -> None:
    house.change(lambda study: study["adapters"]["mixed"].update(lora=lora))
    run = house.run()
    assert run.ran == AFTER_MIXED
    assert set(run.roles()) <= {"rubric", "pairwise", "break"}  # of the evaluation of that adapter


def test_one_more_quantisation(house: House) -> None:
    house.change(lambda study: study["exports"]["mixed"].update(quants=["Q8_0", "Q6_K"]))
    run = house.run()
    assert run.ran == {"quantize_gguf mixed,Q6_K", "measure_fidelity mixed", "write_model_card mixed"}
    assert run.calls == 0


def test_the_template_of_a_generations_report(house: House) -> None:
    template = house.workflow / "data/reports/generation.html.j2"
    template.write_text(template.read_text().replace("</body>", "<p>New.</p></body>"))
    run = house.run()
    assert run.ran == {f"report_generation {name}" for name in GENERATIONS}
    assert run.calls == 0


def test_the_reports_template(house: House) -> None:
    template = house.workflow / "data/reports/report.html.j2"
    template.write_text(template.read_text().replace("</body>", "<p>New.</p></body>"))
    run = house.run()
    assert run.ran == {"write_report held"}
    assert run.calls == 0


def upgrade(house: House, distribution: str) -> None:
    """Let importlib.metadata find another version first, as after an upgrade."""
    folder = house.folder / "upgraded"
    (folder / f"{distribution}-99.0.dist-info").mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 99.0\n"
    (folder / f"{distribution}-99.0.dist-info/METADATA").write_text(metadata)
    house.environment["PYTHONPATH"] = str(folder)


def test_pytest_upgraded(house: House) -> None:
    upgrade(house, "pytest")
    assert house.planned() == set()


def test_trl_upgraded(house: House) -> None:
    upgrade(house, "trl")
    run = house.run()
    # the same version under another number trains the same bytes: what follows comes out of the store
    assert run.ran == {"train_adapter mixed", "train_adapter plain"}
    assert run.calls == 0


def test_going_back_to_an_earlier_recipe(house: House) -> None:
    before = house.artefacts()
    lora = {"rank": 4, "alpha": 8}
    house.change(lambda study: study["adapters"]["mixed"].update(lora={"rank": 2, "alpha": 8}))
    assert "train_adapter mixed" in house.run().ran
    house.change(lambda study: study["adapters"]["mixed"].update(lora=lora))
    run = house.run()
    assert run.ran == set() and "train_adapter mixed" in run.reused
    assert run.calls == 0
    assert house.artefacts() == before
    log = (house.study / "logs/train_adapter/mixed.log").read_text()
    assert "reused" in log
    assert house.planned() == set()


@pytest.mark.parametrize(
    "lost",
    [
        "adapters/mixed/adapter_model.safetensors",
        "datasets/mixed/valid.parquet",
        "generations/plans/failures.parquet",
        "generations/plans/check.parquet",
        "generations/everyday/report.md",
        "exports/mixed/mixed-Q8_0.gguf",
        "evaluations/held/report.md",
    ],
)
def test_a_lost_part_of_an_artefact_comes_back_without_work(house: House, lost: str) -> None:
    before = house.artefacts()
    (house.study / "results" / lost).unlink()
    run = house.run()
    assert run.ran == set() and run.reused and run.calls == 0
    assert house.artefacts() == before


def test_a_source_replaced_by_an_older_file(house: House) -> None:
    """`mv` and `cp -p` bring their time stamps along: the content decides all the same."""
    file = house.study / "markers.yaml"
    file.write_text("cap: 2\nmarkers:\n  - keystone\n  - tide\n")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert house.planned() == {"score_markers", *(job.split()[0] for job in REPORTING)}
    prompts = house.study / "plans.jsonl"
    prompts.write_text(prompts.read_text().replace("bakery", "chapel"))
    os.utime(prompts, (1_000_000_000, 1_000_000_000))
    assert "collect_prompts" in house.planned()


POISON = ("torch", "transformers", "trl", "peft", "llama_cpp", "bitsandbytes")


def test_reused_jobs_load_no_model_and_no_torch(house: House) -> None:
    for name in POISON:
        package = house.folder / "poison" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('a reused job must not need this')\n")
    house.environment["PYTHONPATH"] = str(house.folder / "poison")
    rules = ("train_adapter", "merge_adapter", "convert_gguf", "quantize_gguf", "answer_subject", "judge_rubric")
    run = house.run("--forcerun", *rules)
    assert run.ran == set() and run.calls == 0
    assert {job.split()[0] for job in run.reused} >= set(rules)
    for rule in rules:
        assert any("reused" in log.read_text() for log in (house.study / "logs" / rule).rglob("*.log"))


def test_work_is_done_again_where_the_user_says_so(house: House) -> None:
    house.environment["STILLHOUSE_REBUILD"] = "1"
    run = house.run("--forcerun", "write_modelfile")
    assert run.ran == {"write_modelfile mixed", "write_model_card mixed"} and run.reused == set()
