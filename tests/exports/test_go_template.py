"""Our reading of Go templates against Go's own, and of Modelfiles against Ollama's rules."""

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import ExportError
from stillhouse.exports.go_template import go_string, render_go
from stillhouse.exports.ollama import parse_modelfile, render_by_ollama

CASES = json.loads(Path(__file__).with_name("go_templates.json").read_text(encoding="utf-8"))
KNOWN = 11
"""So many of the templates, from the first on, are written in what we know; the others are errors or foreign parts."""


@pytest.mark.parametrize("number", range(len(CASES["templates"])))
def test_a_template_gives_what_go_gives_or_is_refused(number: int) -> None:
    template = CASES["templates"][number]
    for chat, wanted in zip(CASES["chats"], CASES["rendered"][number], strict=True):
        try:
            found = render_by_ollama(template, chat)
        except ExportError:
            found = None
        if found is not None or number < KNOWN:
            assert found == wanted


def test_enough_of_go_is_known() -> None:
    assert all(None not in row for row in CASES["rendered"][:10])
    assert sum(None in row for row in CASES["rendered"]) > 10


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_survives_as_a_literal_of_printable_characters(text: str) -> None:
    literal = go_string(text)
    assert literal.isprintable() and '"""' not in literal[1:-1]
    assert render_go("{{ " + literal + " }}", {}) == text


PARTS = [*'{}-"`$.:=() \n', "range", "end", "if", "else", ".A", "eq", "1", "{{", "}}", "{{ range .A }}", "{{ end }}"]


@given(st.lists(st.sampled_from(PARTS)).map("".join))
def test_odd_templates_are_rendered_or_refused_and_nothing_else(template: str) -> None:
    with contextlib.suppress(ExportError):
        render_go(template, {"A": [{"A": "x"}]})


def test_a_modelfile_is_read_as_ollama_reads_it() -> None:
    text = (
        '# a comment\n\nfrom ./a b.gguf\nTEMPLATE """{{ .Messages }}\n"quoted" \u200btext\n """\n'
        'PARAMETER stop "<|a|>"\nparameter stop b c\nPARAMETER num_ctx 2048\nSYSTEM "two\nlines"'
    )
    read = parse_modelfile(text)
    assert read.source == "./a b.gguf"
    assert read.template == '{{ .Messages }}\n"quoted" text\n '
    assert read.stops == ("<|a|>", "b c") and read.parameters == {"num_ctx": "2048"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TEMPLATE x\n", "no FROM"),
        ("FROM a\nSTOP x\n", "does not know"),
        ('FROM a\nTEMPLATE """{{ .Messages }}"\n', "without its end"),
        ('FROM a\nPARAMETER stop "x\n', "without its end"),
    ],
)
def test_a_malformed_modelfile_is_refused(text: str, words: str) -> None:
    with pytest.raises(ExportError, match=re.escape(words)):
        parse_modelfile(text)


def test_a_template_for_single_turns_is_refused() -> None:
    with pytest.raises(ExportError, match="Messages"):
        render_by_ollama("{{ .System }}{{ .Prompt }}", [{"role": "user", "content": "x"}])
