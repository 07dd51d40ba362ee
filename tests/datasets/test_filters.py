"""Every filter keeps and drops what its name says."""

import pytest

from stillhouse.datasets.filters import ALWAYS, holds_think_tag, is_refusal, make_filters
from stillhouse.errors import InputError
from stillhouse.study.datasets import Filter


def keeps(setting: dict, row: dict, files: dict | None = None) -> bool:
    (one,) = make_filters([Filter(**setting)], files or {})
    assert one.reason == next(iter(setting))
    return one.keep(row)


@pytest.mark.parametrize(
    ("setting", "kept", "dropped"),
    [
        ({"min_words": 3}, {"answer": "Three good words"}, {"answer": "Two words"}),
        ({"max_words": 3}, {"answer": "Three good words"}, {"answer": "Now four good words"}),
        ({"not_truncated": True}, {"truncated": False}, {"truncated": True}),
        ({"converged": True}, {"converged": True}, {"converged": False}),
        ({"converged": True}, {"converged": None}, {"converged": False}),
        ({"no_refusals": True}, {"answer": "Hold."}, {"answer": "I'm sorry, but I can't help with that."}),
    ],
)
def test_filter(setting, kept, dropped):
    assert keeps(setting, kept) and not keeps(setting, dropped)


def test_marker_filters(tmp_path):
    path = tmp_path / "markers.yaml"
    path.write_text("markers: [keystone]")
    for named, files in ((str(path), {}), ("data/m.yaml", {"data/m.yaml": path})):
        assert keeps({"without_markers": named}, {"answer": "A bridge."}, files)
        assert not keeps({"without_markers": named}, {"answer": "The Keystone."}, files)
        assert keeps({"with_markers": named}, {"answer": "The Keystone."}, files)
        assert not keeps({"with_markers": named}, {"answer": "A bridge."}, files)


def test_label_never_holds_an_absolute_path(tmp_path):
    path = tmp_path / "markers.yaml"
    path.write_text("markers: [keystone]")
    (one,) = make_filters([Filter(without_markers=str(path))], {})
    assert one.label == "without_markers: markers.yaml"


def test_missing_markers_file():
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        make_filters([Filter(with_markers="nowhere.yaml")], {})


@pytest.mark.parametrize(
    "text", ["<think>", "x </think> y", "<thinking>", "< THINK >", "<|think|>", "\u25c1think\u25b7"]
)
def test_think_tags(text):
    assert holds_think_tag(text)
    assert not all(one.keep({"answer": text}) for one in ALWAYS)


@pytest.mark.parametrize("text", ["I think so.", "<thinker>", "2 <3 think > 1", "think>"])
def test_no_think_tags(text):
    assert not holds_think_tag(text)


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I cannot say.",
        "As a large language model I would rather not.",
        "I\u2019m sorry, but I can\u2019t do that.",
        "Sorry, I can't do that.",
        "I cannot assist with this request.",
        "I'm unable to provide legal advice.",
        "I must respectfully decline.",
        "I do not have personal opinions on that.",
        "Thanks! I'm just a chatbot, though.",
    ],
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "Verdict: Stop, because the crew cannot provide the help that the plan leans on.",
        "As an airline pilot, you cannot help but notice.",
        "Sorry is the hardest word; the song is from 1976.",
        "I can help with that: boil the egg for six minutes.",
        "Verdict: Hold. " + "The plan is sound. " * 20 + "Write: as an AI language model.",
    ],
)
def test_no_refusals(text):
    assert not is_refusal(text)
