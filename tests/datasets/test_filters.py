"""Every filter keeps and drops what its name says, and tells the same of a row and of a batch."""

import json

import numpy as np
import pytest
from filter_rows import PIECES, agree, batch_of, keeps, made, row_of, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.filters.base import keep_mask
from stillhouse.datasets.filters.registry import ALWAYS, FILTERS, make_filters
from stillhouse.datasets.filters.texts import holds_think_tag, is_refusal
from stillhouse.errors import InputError
from stillhouse.study.filters import Filter

LOOP = "the plan holds and then " * 12


@pytest.mark.parametrize(
    ("setting", "kept", "dropped"),
    [
        ({"min_words": 3}, {"answer": "Three good words"}, {"answer": "Two words"}),
        ({"min_words": 1}, {"answer": "\u6a4b"}, {"answer": "..."}),
        ({"max_words": 3}, {"answer": "Three good words"}, {"answer": "Now four good words"}),
        ({"min_chars": 3}, {"answer": "\U0001f600ab"}, {"answer": "\U0001f600a"}),
        ({"max_chars": 3}, {"answer": "abc"}, {"answer": "abcd"}),
        ({"min_tokens": 2}, {"answer": "a b"}, {"answer": "a"}),
        ({"max_tokens": 2}, {"answer": "a b"}, {"answer": "a b c"}),
        ({"length_ratio": {"min": 2}}, {"prompt": "a b", "answer": "a b c d"}, {"prompt": "a b", "answer": "a b c"}),
        ({"length_ratio": {"max": 2}}, {"prompt": "a b", "answer": "a b c d"}, {"prompt": "a", "answer": "a b c"}),
        ({"length_ratio": {"max": 2}}, {"prompt": "?", "answer": "a b"}, {"prompt": "?", "answer": "a b c"}),
        ({"without_pattern": r"\bTODO\b"}, {"answer": "todo"}, {"answer": "a TODO."}),
        ({"with_pattern": "(?i)^verdict"}, {"answer": "Verdict: go"}, {"answer": "The verdict"}),
        ({"not_truncated": True}, {"truncated": False}, {"truncated": True}),
        ({"not_truncated": True}, {"truncated": None}, {"truncated": True}),
        ({"converged": True}, {"converged": True}, {"converged": False}),
        ({"converged": True}, {"converged": None}, {"converged": False}),
        ({"no_refusals": True}, {"answer": "Hold."}, {"answer": "I'm sorry, but I can't help with that."}),
        ({"min_contractions": 10}, {"answer": "We don't know what it is now."}, {"answer": "We do not know."}),
        ({"max_contractions": 10}, {"answer": "We do not know."}, {"answer": "Don't say it's so."}),
        ({"repetition": {"n": 4, "max": 0.2}}, {"answer": "One plan holds, and then another."}, {"answer": LOOP}),
        ({"repetition": {"n": 1, "max": 0.5}}, {"answer": "a b a b"}, {"answer": "a b a b a"}),
        ({"repetition": {"n": 4, "max": 0.0}}, {"answer": "a a a"}, {"answer": "a a a a a"}),
    ],
)
def test_filter(setting, kept, dropped):
    assert keeps(setting, row_of(**kept)) and not keeps(setting, row_of(**dropped))


def test_every_key_of_the_study_has_a_filter():
    assert set(FILTERS) == set(Filter.model_fields)


def test_a_missing_answer_is_an_empty_one():
    assert not keeps({"min_words": 1}, row_of(None)) and keeps({"max_chars": 1}, row_of(None))
    assert not all(one.keep(row_of(None)) for one in ALWAYS)


def test_labels_are_as_the_study_writes_them(tmp_path):
    path = tmp_path / "markers.yaml"
    path.write_text("markers: [keystone]")
    written = {
        "min_words: 8": {"min_words": 8},
        "length_ratio: {min: 0.5, max: 3}": {"length_ratio": {"min": 0.5, "max": 3}},
        "repetition: {n: 4, max: 0.2}": {"repetition": {}},
        "language: [de, en]": {"language": ["de", "en"]},
        "secrets: true": {"secrets": True},
        "secrets: {plugins: [aws, hub]}": {"secrets": {"plugins": ["aws", "hub"]}},
        "pii: [email]": {"pii": ["email"]},
        "pii: true": {"pii": True},
        "judge_agreement: 0.6": {"judge_agreement": 0.6},
        "without_markers: markers.yaml": {"without_markers": str(path)},  # never by an absolute path
    }
    assert {made(setting).label: setting for setting in written.values()} == written


def test_ratio_is_to_the_conversation_without_system():
    messages = [
        {"role": "system", "content": "x " * 50},
        {"role": "user", "content": "one two"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": [{"text": "three"}]},
    ]
    row = row_of("a b c d", messages=messages)
    assert keeps({"length_ratio": {"min": 4 / 3, "max": 4 / 3}}, row)  # one two three


def test_ratio_is_to_what_is_text_in_a_message():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo/AAAANSU+hEUg/" * 500}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Describe it"}, picture, "now"]}]
    row = row_of("a cat on it", messages=messages)
    assert keeps({"length_ratio": {"min": 4 / 3, "max": 4 / 3}}, row)
    assert keeps(
        {"length_ratio": {"min": 4, "max": 4}}, row_of("a cat on it", messages=[{**messages[0], "content": [picture]}])
    )


@pytest.mark.parametrize("messages", ["", "5", "[5]", '[{"content": "x"}]', "{"])
def test_messages_that_are_none_are_named(messages):
    row = row_of(messages=messages)
    with pytest.raises(InputError, match=r"p1.*messages"):
        made({"length_ratio": {"min": 1}}).keep(row)


def test_tokens_need_a_tokenizer():
    with pytest.raises(InputError, match="tokens"):
        make_filters([Filter(min_tokens=3)], {})


def test_marker_filters(tmp_path):
    path = tmp_path / "markers.yaml"
    path.write_text("markers: [keystone]")
    for named, files in ((str(path), {}), ("data/m.yaml", {"data/m.yaml": path})):
        assert keeps({"without_markers": named}, row_of("A bridge."), files=files)
        assert not keeps({"without_markers": named}, row_of("The Keystone."), files=files)
        assert keeps({"with_markers": named}, row_of("The Keystone."), files=files)
        assert not keeps({"with_markers": named}, row_of("A bridge."), files=files)


def test_marker_errors_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        make_filters([Filter(with_markers="nowhere.yaml")], {})
    (tmp_path / "m.yaml").write_text("markers: [{pattern: '('}]")
    with pytest.raises(InputError, match=r"m\.yaml: marker 1"):
        make_filters([Filter(with_markers=str(tmp_path / "m.yaml"))], {})


@pytest.mark.parametrize(
    "text",
    [
        *("<think>", "x </think> y", "<thinking>", "< THINK >", "<|think|>", "\u25c1think\u25b7", "\u25c1/think\u25b7"),
        *(
            "[THINK]hm[/THINK] Yes.",
            "so [/THINK]",
            "<|begin_of_thought|>",
            "hm <|end_of_thought|>",
            "<thought>x</thought>",
        ),
        *(
            "</reasoning>",
            "<seed:think>",
            "</seed:think>",
            "<|channel|>analysis<|message|>hm",
            '<think time="3s">',
            "<think/>",
        ),
    ],
)
def test_think_tags(text):
    assert holds_think_tag(text)
    assert not all(keeps(one, row_of(text)) for one in ALWAYS)


@pytest.mark.parametrize(
    "text",
    [
        *("I think so.", "<thinker>", "2 <3 think > 1", "think>", "if a <think and b> c", "[think]", "a[THINKING]"),
        *("<reasoning about x>", "<|channel|>final"),
    ],
)
def test_no_think_tags(text):
    assert not holds_think_tag(text)
    assert all(keeps(one, row_of(text)) for one in ALWAYS)


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\u3000\u2028", "\x1c"])
def test_empty_answers(text):
    assert not keeps(ALWAYS[0], row_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I cannot say.",
        "As a large language model I would rather not.",
        "I\u2019m sorry, but I can\u2019t do that.",
        "Sorry, I can't do that.",
        "\u3000Sorry, I can't do that.",
        "I cannot assist with this request.",
        "I'm unable to provide legal advice.",
        "I must respectfully decline.",
        "I do not have personal opinions on that.",
        "Thanks! I'm just a chatbot, though.",
    ],
)
def test_refusals(text):
    assert is_refusal(text)
    assert not keeps({"no_refusals": True}, row_of(text))


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
    assert keeps({"no_refusals": True}, row_of(text))


def test_rows_that_are_gone_are_neither_asked_nor_brought_back():
    asked = []

    class Asking:
        reason, label, columns = "asking", "asking", ("answer",)

        def keep(self, row):
            asked.append(row)
            return True

    alive = np.array([True, False, True])
    rows = [row_of("a"), row_of("b"), row_of("c")]
    assert keep_mask(Asking(), batch_of(rows), alive).tolist() == [True, False, True]
    assert asked == [{"answer": "a"}, {"answer": "c"}]
    assert keep_mask(made({"max_words": 9}), batch_of(rows), alive).tolist() == [True, False, True]


@pytest.fixture(scope="module")
def with_masks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    plain, strange = folder / "plain.yaml", folder / "strange.yaml"
    plain.write_text(
        json.dumps({"markers": ["keystone", "I'm", "\u2014 \u201cq\u201d", {"pattern": r"(?m)^lean\s(s|on)\b"}]})
    )
    strange.write_text(json.dumps({"markers": ["k\u017f", "stra\u00dfe", "a\u2028b", {"pattern": r"(?<=a) b|\u6a4b"}]}))
    wanted = [
        *({"min_words": 3}, {"max_words": 4}, {"min_chars": 9}, {"max_chars": 20}, {"min_tokens": 3}, {"max_tokens": 4}),
        *({"length_ratio": {"min": 0.5, "max": 2}}, {"min_contractions": 5}, {"max_contractions": 5}),
        *({"repetition": {"n": 2, "max": 0.1}}, {"no_refusals": True}, {"not_truncated": True}, {"converged": True}),
        *({key: str(path)} for key in ("with_markers", "without_markers") for path in (plain, strange)),
        *({"with_pattern": one} for one in (r"\w\s\W", r"(?i)[k-s]\b", "(?ms)^.$", r"a$", r"[^\s\w]{2}", r"(?i)K")),
        *({"secrets": True}, {"pii": True}, {"secrets": {"plugins": ["high_entropy", "ibm"]}}),
    ]  # fmt: skip
    return [*ALWAYS, *(made(one, format="preference") for one in wanted)]


rows = st.builds(
    row_of,
    answer=st.one_of(st.none(), texts),
    prompt=texts,
    truncated=st.one_of(st.none(), st.booleans()),
    converged=st.one_of(st.none(), st.booleans()),
    draft=st.one_of(st.none(), texts),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(rows, min_size=1, max_size=6))
def test_a_batch_is_told_the_same_as_its_rows(with_masks, found):
    for one in with_masks:
        agree(one, found)


def test_a_batch_of_nothing_and_of_much(with_masks):
    huge = [row_of(piece * 4_000) for piece in ("keystone ", "a" * 50, "\u6a4b", "x.\r\n", "<", "1 ")]
    for one in with_masks:
        agree(one, [])
        agree(one, [row_of(piece, prompt=piece) for piece in PIECES])
        agree(one, huge)
