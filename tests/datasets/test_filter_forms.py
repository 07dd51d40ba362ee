"""JSON, Python and the language of an answer."""

import sys
import time
import warnings

import pytest
from filter_rows import keeps, made, row_of, texts
from hypothesis import given, settings

from stillhouse.datasets.filters.forms import parses
from stillhouse.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        *(
            '{"a": [1, 2.5e3, null, true]}',
            "[]",
            ' {"a": 1}\r\n',
            '"text"',
            "5",
            "-0.1",
            "1" * 5000,
            '{"a": 1, "a": 2}',
        ),
        *("```json\n{}\n```", "```\n[1]\n```", "~~~json\n[1]\n~~~\n", "```JSON\r\n[1]\r\n```", '"\\ud800"'),
    ],
)
def test_json(text):
    assert keeps({"valid_json": True}, row_of(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "{'a': 1}",
            "yes",
            '{"a": 1,}',
            "NaN",
            "[Infinity]",
            "Here: {}",
            "{} and more",
            "[1] [2]",
            "01",
            '"a\nb"',
        ),
        *("```json\n{\n```", "```json\n{}\n```\nThat is it.", "```json\n{}\n```\n```json\n{}\n```", "[" * 100_000),
        "// none\n{}",
    ],
)
def test_no_json(text):
    assert not keeps({"valid_json": True}, row_of(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "No code at all.",
            "```python\nx = 1\n```",
            "```py\nprint('a')\n```\nand\n```python3\nmatch x:\n    case 1: pass\n```",
        ),
        *(
            "```js\nlet x = {\n```",
            "```\nnot python (\n```",
            "1. Do:\n\n   ```python\n   if x:\n       y()\n   ```\n",
            "~~~py\nx\n~~~",
        ),
        *('```python title="a.py"\r\nx = 1\r\n\r\ny = 2\r\n```', "```python\n```", "```pythonic\n(\n```", "`python (`"),
        *("```python\n>>> for i in x:\n...     print(i)\n...\n1\n2 (\n>>> y\n```", "```python\ns = '\\d'\n```"),
        "````python\ns = '''\n```\n'''\n````",
        *(
            "```python\n!pip install x\nimport x\n```",
            "```python\n%matplotlib inline\nif x:\n    !ls -l\n```",
            "```python\n%%time\nx = 1\n```",
        ),
        *(
            "```python\n%%bash\nls | grep (\n```",
            "```python\nfiles = !ls *.txt\nlen?\n?print\nx??\n```",
            "```python\nx = (5\n  % 3)\n```",
        ),
        *(
            "> ```python\n> if x:\n>     y()\n> ```",
            "> note\n> > ```python\n> > x\n> > ```\n\nafter",
            "> ```sh\n> def (:\n> ```",
        ),
        "> ```python\n> >>> x = 1\n> 1 (\n> ```",
    ],
)
def test_code_that_parses(text):
    assert keeps({"code_parses": True}, row_of(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "```python\nx = (\n```",
            "```Python\nprint 'a'\n```",
            "```py\nx = 1\n```\n```py\ndef f(:\n```",
            "```python\nif x:\ny\n```",
        ),
        *(
            "```python\n\x00\n```",
            "Cut off:\n```python\ndef f(\n",
            "```python\n>>> x = (\n```",
            "```python\n" + "(" * 10_000 + "\n```",
        ),
        *(
            "> ```python\n> def (:\n> ```",
            "> a\n\n> ```py\n> x = (\n",
            "> > ```py\n> > x = (\n> > ```",
            "```py\n%%time\nx = (\n```",
        ),
        *(
            "```python\n!pip install x\nimport (\n```",
            "```python\nx = 5 %\n```",
            "> quoted\n> ```python\n> print 'x'\n> ```\n> more",
        ),
    ],
)
def test_code_that_does_not_parse(text):
    assert not keeps({"code_parses": True}, row_of(text))


def test_code_is_never_run_and_says_nothing(tmp_path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert parses(f"import pathlib\npathlib.Path({str(tmp_path / 'x')!r}).touch()\n'\\d' is '\\d'")
    assert not said and not (tmp_path / "x").exists()


@settings(deadline=None, max_examples=100)
@given(texts)
def test_no_text_is_too_much(text):
    for setting in ({"valid_json": True}, {"code_parses": True}, {"language": ["en"]}):
        assert keeps(setting, row_of(f"```python\n{text}")) in (True, False)


def test_deep_code_is_dropped_and_harmless():
    assert not parses("-" * 200_000 + "1") or sys.version_info >= (3, 12)
    assert not parses("[" * 5000 + "]" * 5000)


SENTENCES = {
    "en": ["The bridge will hold for as long as nobody drives a truck over it.", "Thanks, that helps a lot, and I will look at the rest of it tomorrow!"],
    "de": ["Die Br\u00fccke wird halten, solange niemand mit einem Lastwagen dar\u00fcber f\u00e4hrt.", "Pr\u00fcfe bitte das Dach, bevor der Regen kommt und der Keller nass wird."],
    "fr": ["V\u00e9rifiez bien le toit avant la pluie, car la maison est vieille.", "Merci, cela aide beaucoup, et je vais lire le reste demain matin."],
    "es": ["El puente aguantar\u00e1 mientras nadie pase por \u00e9l con un cami\u00f3n.", "Todo depende de un solo proveedor, y eso es un riesgo muy grande."],
    "it": ["Il piano poggia su un solo furgone, e questo \u00e8 un grande rischio."],
    "pt": ["Verifique o telhado antes da chuva, porque a casa j\u00e1 \u00e9 muito velha."],
    "nl": ["Controleer het dak voordat het regent, want het huis is al heel oud."],
    "sv": ["Planen vilar p\u00e5 en enda sk\u00e5pbil, och det \u00e4r en mycket stor risk."],
    "pl": ["Plan opiera si\u0119 na jednej furgonetce, a to jest bardzo du\u017ce ryzyko."],
    "ru": ["\u041c\u043e\u0441\u0442 \u0432\u044b\u0434\u0435\u0440\u0436\u0438\u0442.", "\u041a\u0430\u043a \u0441\u0432\u0430\u0440\u0438\u0442\u044c \u044f\u0439\u0446\u043e?"],
    "ja": ["\u3053\u308c\u306f\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u3059\u3002\u3088\u308d\u3057\u304f\u3002"],
}  # fmt: skip


@pytest.mark.parametrize(("language", "text"), [(one, text) for one, many in SENTENCES.items() for text in many])
def test_language(language, text):
    assert keeps({"language": [language]}, row_of(text)) and keeps({"language": ["zh", language]}, row_of(text))
    other = "en" if language != "en" else "de"
    assert not keeps({"language": [other]}, row_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4.",
        "OK",
        "Lima.",
        "x = 1",
        "```go\nfunc main() { return fmt.Println(1) }\n```",
        "https://example.org/der/die/das",
        *("Paracetamol 500 mg", "Use rsync -avz src/ dest/", "Mitochondria", "Johann Sebastian Bach", "Constantinople"),
        *(
            "Lima, Bogot\u00e1, Quito and La Paz",
            "Spaghetti Carbonara, Pizza Margherita",
            "npm install --save-dev typescript eslint",
        ),
        *(
            "    for i in range(10):\n        print(i)\n        if i > limit:\n            break\n    return total, average",
        ),
        *(
            "x^2 + \\alpha \\beta = \\int_0^1 f(t) dt",
            "$$\\frac{d}{dx} \\sin(x) = \\cos(x) \\text{ for all real numbers x}$$",
        ),
        "Dr. Angela Merkel, Olaf Scholz, Gerhard Schr\u00f6der, Helmut Kohl, Willy Brandt, Ludwig Erhard",
        "rsync -avz --delete --exclude node_modules src/ user@host:/var/www/dest",
    ],
)
def test_what_has_no_language_is_kept(text):
    assert keeps({"language": ["ja"]}, row_of(text))


def test_code_does_not_hide_the_language():
    told = "Das Programm gibt jedes Element der Liste nacheinander aus und endet dann."
    text = f"```python\nfor item in collection:\n    print(item)\n```\n{told}\n\n    more(code)\n\n- A\n\n    - {told}"
    assert keeps({"language": ["de"]}, row_of(text)) and not keeps({"language": ["en"]}, row_of(text))


@pytest.mark.parametrize("text", ["\\[" * 60_000, "$a" * 60_000, "\n\n    a" * 30_000, "```" * 40_000, "w(" * 60_000])
def test_a_hostile_text_takes_a_second_at_most(text):
    started = time.process_time()
    made({"language": ["en"]}).keep(row_of(text))
    assert time.process_time() - started < 5


def test_unknown_languages_are_named():
    with pytest.raises(InputError, match="'xx' is not among"):
        made({"language": ["en", "xx"]})
