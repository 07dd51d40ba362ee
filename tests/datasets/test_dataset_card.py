"""The dataset card as the hub and `datasets` read it: front matter, splits, flow, lengths, licences, plots."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import datasets
import pytest
from format_rows import AGENT, ROWS, examples_of, write_split
from huggingface_hub import DatasetCard
from tiny_model import write_tiny_tokenizer

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.card import render_dataset_card, write_dataset_card
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.settings import BuildSettings, CardSettings
from stillhouse.provenance.files import read_json

FRONT = {"license": "apache-2.0", "language": ["en"]}
TERMS = {"training": True, "commercial": None, "share_alike": False, "note": "https://example.org/terms"}
PARTIES = [
    {"key": "prompts.plans", "part": "prompts", "licence": "apache-2.0", "terms": {**TERMS, "note": None}},
    {"key": "models.teacher", "part": "teacher, judge", "licence": None, "terms": TERMS},
]
EXACT = {"train": 0.9, "valid": 0.1, "stratify": True}
EVERYTHING = {
    "near_duplicates": {"threshold": 0.9, "over": "both", "keep": "longest"},
    "tokens": {"model": "tiny", "max_length": 100},
    "split": {"train": 0.8, "valid": 0.1},
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = str(tmp_path_factory.mktemp("hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def build(house: Any, folder: Path, dataset: dict, rows: list[dict], **told: Any) -> DatasetCard:
    """Build a dataset of one source and its card below `folder`; the card as the hub's library loads it."""
    given = {"plans": house.write_answers(folder / "plans.parquet", rows)}
    tokenizer = write_tiny_tokenizer(folder / "tiny") if dataset.get("tokens") else None
    recipe = {"name": "mixed", "dataset": {"sources": [{"generation": "plans"}], **dataset}}
    build_dataset(BuildSettings.model_validate(recipe), given, [], folder / "out", tokenizer=tokenizer)
    settings = CardSettings.model_validate({"front": FRONT, "parties": PARTIES, **recipe, **told})
    out = folder / "out"
    write_dataset_card(settings, out / "report.json", out / "README.md", out / "lengths.svg", out / "mix.svg")
    return DatasetCard.load(out / "README.md")


def answers(house: Any, count: int = 20) -> list[dict]:
    rows = [house.answer_row(house.distinct_prompt(n), f"A sound answer, number {n}.") for n in range(count)]
    return [*rows, house.answer_row("A very short one", "Short.")]


def test_front_matter(house: Any, tmp_path: Path) -> None:
    card = build(house, tmp_path, {"split": EXACT}, answers(house))
    assert card.data.license == "apache-2.0" and card.data.language == ["en"]
    assert card.data.tags[:3] == ["stillhouse", "trl", "sft"] and card.data.size_categories == ["n<1K"]
    assert card.data.to_dict()["configs"][0]["data_files"][1] == {"split": "validation", "path": "valid.parquet"}
    assert card.data.pretty_name == "mixed" and card.data.task_categories == ["text-generation"]
    assert "\n\n\n" not in card.content


@pytest.mark.parametrize(
    "front",
    [
        {"license": "other", "license_name": 'by letter: "as agreed" # not a comment'},
        {"license": ["mit", "other"], "license_name": "on request"},
        {"license": "unknown"},
    ],
)
def test_any_licence_is_valid_front_matter(house: Any, tmp_path: Path, front: dict) -> None:
    found = build(house, tmp_path, {}, answers(house), front=front).data.to_dict()
    assert {key: found[key] for key in front} == front


def test_flow_and_drops_are_shown_as_tables(house: Any, tmp_path: Path) -> None:
    sources = [{"generation": "plans", "filters": [{"min_words": 3}]}]
    text = build(house, tmp_path, {"sources": sources, "split": EXACT}, answers(house)).text
    for told in ("| plans | 21 | 20 | the rest | 1.000 | not counted |", "| min_words: 3 | 1 |",
                 "| filters | answers | min_words | 1 |", "Rows dropped over all stages: min_words 1.",
                 "| filters, answers | plans | 21 | 20 | min_words 1 |", "| duplicates, answers | all | 20 | 20 | none |",
                 "| mix, answers | all | 20 | 20 | none |", "| splits, answers | all | 20 | 20 | none |",
                 "| audit | 18 | 2 | 0 |", "Tokens were not counted", "- Decontamination: none was asked for."):  # fmt: skip
        assert told in text, told


def test_licences_and_terms_of_the_parties_are_told(house: Any, tmp_path: Path) -> None:
    text = build(house, tmp_path, {}, answers(house)).text
    assert "Licence of this dataset: apache-2.0." in text
    assert "| prompts.plans | prompts | apache-2.0 | yes | not said | no |  |" in text
    assert "| models.teacher | teacher, judge | unknown | yes | not said | no | https://example.org/terms |" in text


def test_signs_of_markdown_in_a_licence_stay_in_their_cell(house: Any, tmp_path: Path) -> None:
    odd = [{**PARTIES[0], "licence": "a|b <script>alert(1)</script>"}]
    front = {"license": "other", "license_name": "odd"}
    text = build(house, tmp_path, {}, answers(house), parties=odd, front=front).text
    assert "| a\\|b &lt;script>alert(1)&lt;/script> |" in text


def test_the_card_names_the_splits_that_have_rows(house: Any, tmp_path: Path) -> None:
    rows = [house.answer_row(house.distinct_prompt(n)) for n in range(20)]
    for train, expected in ((0.9, {"train": 18, "validation": 2}), (0.8, {"train": 16, "validation": 2, "test": 2})):
        folder = tmp_path / str(train)
        build(house, folder, {"split": {**EXACT, "train": train}}, rows)
        loaded = datasets.load_dataset(str(folder / "out"))
        assert {name: len(split) for name, split in loaded.items()} == expected


def test_an_empty_dataset_and_a_warning_have_a_card(house: Any, tmp_path: Path) -> None:
    card = build(house, tmp_path, {}, [])
    assert card.data.to_dict()["configs"]
    assert "- the train split is empty: nothing can be trained on this dataset" in card.text


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_card_of_every_format_with_everything_asked_for(form: str, house: Any, tmp_path: Path) -> None:
    rounds = [house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}), house.round_of(2, "A", {"A": 5, "B": 1, "AB": 3})]
    rows = [
        house.answer_row(
            house.distinct_prompt(n), f"A sound answer, number {n}.", reasoning="So it is.",
            rounds=None if form == "reasoning" else rounds,
        )
        for n in range(30)
    ]  # fmt: skip
    forms = ["sharegpt"] if form == "preference" else ["alpaca", "sharegpt"]
    card = build(house, tmp_path, {"format": form, **EVERYTHING}, rows, outputs=forms)
    assert form in card.data.tags and len(set(card.data.tags)) == len(card.data.tags)
    assert "\n\n\n" not in card.content
    for told in ("In tokens of `tiny`", "| all | ", "Longer than 100 tokens: ", "![Lengths](lengths.svg)",
                 "Near-duplicates over the prompts and answers: word shingles", "| train | ",
                 "`sharegpt/train.jsonl`", f'data_files="{forms[0]}/train.jsonl"'):  # fmt: skip
        assert told in card.text, told
    assert ("Chosen minus rejected answers: " in card.text) is (form == "preference")
    told = read_json(tmp_path / "out/report.json")
    assert f"Columns: {', '.join(f'`{name}`' for name in FORMATS[form].schema().names)}." in card.text
    loaded = datasets.load_dataset(str(tmp_path / "out"))
    assert sum(map(len, loaded.values())) == told["rows"] > 0
    assert told["tokens"]["all"]["rows"] == told["rows"]


def test_a_long_list_of_categories_is_summed_up() -> None:
    counts = {f"c{n:02}": {"train": 100 - n, "valid": 1, "test": 0} for n in range(25)} | {"": {"train": 500}}
    text = render(categories=counts)
    assert "| (none) | 500 | 0 | 0 |" in text and "| c18 | 82 | 1 | 0 |" in text
    assert "| (6 others) | 471 | 6 | 0 |" in text and "| c19 |" not in text


REPORT = {
    "format": "sft", "rows": 7, "prompts": 7, "splits": {"train": 7, "valid": 0, "test": 0}, "flow": [],
    "sources": [
        {"generation": "plans", "share": None, "realised_share": 1.0, "rows_in": 7, "rows_kept": 7, "dropped": {}, "filters": []}
    ],
    "mix": {"shares": "rows", "sources": [{"generation": "plans", "share": None, "rows": 1.0, "tokens": None}]},
    "lengths": {"edges": [0, 8], "prompt": [7, 0], "answer": [3, 4]}, "tokens": None, "warnings": [], "categories": {}, "near_duplicates": None,
    "duplicates": [], "decontamination": [],
}  # fmt: skip


def render(dataset: dict | None = None, **report: Any) -> str:
    section = {"sources": [{"generation": "plans"}], **(dataset or {})}
    settings = {"name": "mixed", "dataset": section, "front": FRONT, "parties": PARTIES}
    return render_dataset_card(CardSettings.model_validate(settings), {**REPORT, **report})


def test_where_rejected_answers_come_from_is_told_in_order() -> None:
    places = [{"generation": "student"}, "draft", "losers"]
    text = render({"format": "preference", "pairs": {"rejected": places, "max_similarity": 0.8, "min_margin": 2}})
    assert (
        "- Pairs: the answer of generation student to the same prompt, rejected against the final answer; where that "
        "gives none, the first draft, rejected against the final answer; where that gives none, each candidate of a "
        "round, rejected against the round's winner. Borda margin of at least 2 where a panel compared them; a rejected "
        "answer with a similarity above 0.8 in 3-word shingles is too good to be one."
    ) in text


def test_order_repeats_and_limits_are_told() -> None:
    sources = [{"generation": "plans", "limit": 40, "repeat": 2.5}]
    rules = [{"times": 2, "any": [{"category": ["audit"]}]}]
    text = render({"sources": sources, "repeats": rules, "order": {"by": "words", "descending": True}, "split": EXACT})
    assert "At most 40 rows of it; each 2.5 times." in text and "1 rule repeats the rows it takes" in text
    assert "(seed 42), with exact shares in every category." in text and "ordered by words, largest first." in text
    plain = render()
    assert "(seed 42). Rows are shuffled." in plain and "repeat" not in plain and "At most" not in plain


def test_tests_of_decontamination_that_are_off_are_not_told() -> None:
    flow = [{"stage": "decontamination", "source": None, "unit": "answers", "in": 9, "kept": 7, "dropped": {"leak": 2}}]
    told = {"against": ["held"], "threshold": None, "content": None}
    text = render({"decontaminate": told}, flow=flow)
    assert "against the held-out prompts of held: a shared run of 8 words. 2 rows dropped." in text
    both = render({"decontaminate": {"against": ["held"]}}, flow=flow)
    assert (
        "a shared run of 8 words, a similarity of 0.65 in 3-word shingles, a similarity of 0.75 in content words."
        in both
    )


@pytest.mark.parametrize("rows", [999, 1_000, 10_000_000, 5_000_000_000])
def test_size_category(rows: int) -> None:
    text = render(splits={"train": rows, "valid": 0, "test": 0})
    size = {999: "n<1K", 1_000: "1K<n<10K", 10_000_000: "10M<n<100M", 5_000_000_000: "1B<n<10B"}[rows]
    assert f"\n- {size}\n" in text


def test_plots_are_the_same_bytes_each_time_and_hold_no_date(house: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(house, tmp_path / name, EVERYTHING, answers(house))
    for plot in ("lengths.svg", "mix.svg", "README.md"):
        first, second = ((tmp_path / name / "out" / plot).read_bytes() for name in ("one", "two"))
        assert first == second and first
    svg = (tmp_path / "one/out/lengths.svg").read_text()
    assert "dc:date" not in svg and "tokens of prompt and answer" in svg and "max_length 100" in svg
    assert re.search(r"realised, of tokens", (tmp_path / "one/out/mix.svg").read_text())


def test_plots_of_an_empty_dataset_and_of_many_sources(house: Any, tmp_path: Path) -> None:
    from stillhouse.datasets.card_plots import plot_lengths, plot_mix

    build(house, tmp_path, EVERYTHING, [])
    assert "no rows" in (tmp_path / "out/lengths.svg").read_text()
    shares = [{"generation": f"g{n}-x", "share": None, "rows": n / 435, "tokens": None} for n in range(30)]
    plot_mix({**REPORT, "mix": {"shares": "rows", "sources": shares}}, tmp_path / "mix.svg")
    text = (tmp_path / "mix.svg").read_text()
    assert "11 others" in text and "g29-x" in text and "g1-x" not in text
    plot_lengths({**REPORT, "lengths": {**REPORT["lengths"], "answer": [0, 0], "prompt": [0, 0]}}, tmp_path / "no.svg")
    assert "no rows" in (tmp_path / "no.svg").read_text()


def test_rows_with_tools_load_through_the_card(tmp_path: Path) -> None:
    write_split(tmp_path / "train.parquet", "sft", examples_of("sft", (*ROWS, AGENT)), rich=True)
    (tmp_path / "README.md").write_text(render(splits={"train": 5, "valid": 0, "test": 0}))
    rows = datasets.load_dataset(str(tmp_path), split="train")
    assert rows[4]["prompt"] == json.loads(AGENT["messages"]) and rows[0]["prompt"] == json.loads(ROWS[0]["messages"])


def test_the_script_writes_card_and_plots(tmp_path: Path) -> None:
    from stillhouse.provenance.job import Files, Params

    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    main = runpy.run_path(str(Path(__file__).parents[2] / "scripts/write_dataset_card.py"))["main"]
    recipe = {
        "name": "m",
        "dataset": {"sources": [{"generation": "plans"}]},
        "front": FRONT,
        "parties": [],
        "outputs": [],
    }
    outputs = {"card": tmp_path / "README.md", "lengths": tmp_path / "lengths.svg", "mix": tmp_path / "mix.svg"}
    params = Params("write_dataset_card", {}, recipe, {}, "", 1, {}, {})
    assert main(Files({"report": tmp_path / "report.json"}), Files(outputs), params) == {
        "rows": 7,
        "license": "apache-2.0",
    }
    assert all(file.stat().st_size for file in outputs.values())
