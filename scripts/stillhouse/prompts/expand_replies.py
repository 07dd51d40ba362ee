"""Reads the prompts out of a model's reply (a numbered list, bullets or JSON) and says what is wrong."""

import json
import re
from collections.abc import Iterator
from typing import Any

from stillhouse.llm.words import count_units
from stillhouse.prompts.expand_files import PLACEHOLDER, Seed, normal_form, without_latex

NUMBER = re.compile(
    r"^(\s*)(?:[#>*_]+\s*)?(?:prompt\s+\d{1,3}\b\s*[.):]?|\(?\d{1,3}\s*[.):])(?:[*_]{1,2})?(?:\s+|$)", re.IGNORECASE
)
BULLET = re.compile(r"^(\s*)[-*+•–·](?:\s+|$)")
LABEL = re.compile(r"^(?:\*\*)?prompt\s*\d{0,3}\s*:(?:\*\*)?\s*", re.IGNORECASE)
GAP = re.compile(r"(?<!\w)\[(?!(?:[A-Za-z]-[A-Za-z]|[_-])+\])[A-Za-z][A-Za-z _/'-]*\](?![(+{])")
"""Words in square brackets that are no link and no class of a regular expression, as [a-z]: what models write where
they do not know a name."""
FENCE = re.compile(r"^\s*```\w*[ \t]*\n(.*?)(?:^\s*```|\Z)", re.MULTILINE | re.DOTALL)
JSON_BEGINS = re.compile(r"^\s*(?:\[\s*[\"{\[\]]|\{\s*[\"}])", re.MULTILINE)
KEYS = ("prompt", "text", "question", "content")
OPENING = re.compile(r"\W*(?:sure|certainly|of course|absolutely|great|okay|ok)\b[^\w\s]", re.IGNORECASE)
CHATTER = re.compile(
    r"\W*(?:(?:sure|certainly|of course|absolutely|great|okay|ok)\W+)?"
    r"(?:let me know if you(?:['’]d| would)? (?:like|need|want)\b|i hope (?:this|these|that) helps?\b"
    r"|here(?:['’]s| is| are) (?:\w+ ){0,4}prompts?\b|feel free to (?:ask|reach)\b)",
    re.IGNORECASE,
)
"""How a model speaks about its list to whom asked for it."""

_SORRY = r"(?:(?:(?:i['’]?m|i am)\s+(?:\w+\s+)?sorry|sorry|unfortunately|my apologies|i apologi[sz]e)\b[,.;:]?\s*(?:but\s+)?)?"
_CANNOT = (
    r"(?:i\s+(?:can(?:not|['’]t| not)|won['’]t|will not|am (?:not able|unable) to|must decline to|have to decline to)"
    r"|i['’]m (?:not able|unable) to)(?:\s+(?:and will not|be able to))?\b"
)
_MACHINE = r"as an ai (?:language )?(?:model|assistant)\b"
DECLINES = re.compile(rf"\W*(?:{_SORRY}{_CANNOT}|{_MACHINE})", re.IGNORECASE)
REFUSAL = re.compile(
    rf"\W*(?:{_SORRY}{_CANNOT}\s+(?:(?:help|assist)(?:\s+you)?\s*(?:with\s+(?:that|this|your|such)\b|[.!]|$)|comply\b"
    r"|fulfill?\s+(?:that|this|your|such)\b|(?:provide|create|generate|write|produce)\s+(?:\w+\s+){0,3}(?:prompts?|content)\b)"
    rf"|{_MACHINE})",
    re.IGNORECASE,
)
"""How a model declines: `DECLINES` where the reply is nothing else, `REFUSAL` where a user may be who cannot do it."""

QUOTES = (('"', '"'), ("“", "”"), ("'", "'"), ("«", "»"), ("„", "“"), ("**", "**"), ("`", "`"))


def read_reply(text: str, wanted: int = 2) -> list[str]:
    """The prompts of a reply, in its order: the items of a list or of JSON, and nothing beside them.

    Where one prompt was `wanted`, a reply of a single line is that prompt. Without a list no prompt is read.
    """
    fenced = FENCE.search(text)
    body = fenced.group(1) if fenced and not _listed(text[: fenced.start()]) else text
    try:
        items = _from_json(body)
    except RecursionError:  # nothing but brackets
        items = None
    if items is None:
        lines = body.splitlines()
        items = _from_lines(lines) or (_single(lines) if wanted == 1 else [])
    # JSON can hold half a surrogate pair, which no file can
    sound = (item.encode("utf-8", "replace").decode() for item in items)
    return [item for item in map(_bare, sound) if item]


def _from_json(text: str) -> list[str] | None:
    """The texts of a JSON reply; None where it is none. A list that was cut off gives what is whole or mended."""
    begins = JSON_BEGINS.search(text)
    if begins is None or _listed(text[: begins.start()]):
        return None
    body, values = text[begins.start() :].strip(), []
    decoder = json.JSONDecoder()
    while JSON_BEGINS.match(body):  # one value, or one a line
        try:
            value, end = decoder.raw_decode(body)
        except ValueError:
            from json_repair import repair_json

            value, end = repair_json(body, return_objects=True), len(body)
        values.append(value)
        body = body[end:].lstrip(" \n\r\t,")
    return list(_texts(values))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        named = [value[key] for key in KEYS if isinstance(value.get(key), str)]
        lists = [part for part in value.values() if isinstance(part, list)]
        yield from named[:1] or (text for part in lists or value.values() for text in _texts(part))


def _listed(text: str) -> bool:
    return any(NUMBER.match(line) or BULLET.match(line) for line in text.splitlines())


def _from_lines(lines: list[str]) -> list[str]:
    """Items of a list; lines below an item that begin no other one belong to it, a closing remark to none."""
    marker = next((form for line in lines for form in (NUMBER, BULLET) if form.match(line)), None)
    if marker is None:
        return []
    items: list[list[str]] = []
    depth, gap, after_gap = 0, False, []
    for line in lines:
        found = marker.match(line)
        indent = len(found.group(1)) if found else 0
        if found and (not items or indent <= depth):
            depth = depth if items else indent
            if items:
                items[-1] += after_gap
            items.append([line[found.end() :]])
            gap, after_gap = False, []
        elif not line.strip():
            gap = gap or (bool(items) and any(part.strip() for part in items[-1]))
        elif items:
            # text behind an empty line belongs to its item only where another item follows: the last such is a remark
            (after_gap if gap and not line[:1].isspace() else items[-1]).append(line)
    if items and len(items[-1]) > 1 and CHATTER.match(items[-1][-1]):
        items[-1].pop()
    return ["\n".join(part.strip() for part in item if part.strip()) for item in items]


def _single(lines: list[str]) -> list[str]:
    """The only line that holds anything, unless the model speaks for itself; of several nobody knows which it is."""
    parts = [line.strip() for line in lines if line.strip()]
    own = len(parts) == 1 and any(form.match(parts[0]) for form in (OPENING, DECLINES))
    return parts if len(parts) == 1 and not own else []


def _bare(item: str) -> str:
    """An item without what is put around a whole prompt: a label, quotes, bold type, a backtick."""
    text, before = item.strip(), None
    while text != before:
        before = text
        text = LABEL.sub("", text)
        for left, right in QUOTES:
            inner = text[len(left) : -len(right)]
            if text.startswith(left) and text.endswith(right) and len(text) > len(left + right) and right not in inner:
                text = inner.strip()
    return text.replace("**", "").strip() if text.count("**") % 2 else text


def no_prompts(text: str) -> str:
    """Why a reply of which no prompt could be read holds none, as a reason code."""
    if not normal_form(text):
        return "empty"
    return "refusal" if DECLINES.match(text) else "no_list"


def fault(prompt: str, seed: Seed, min_words: int, max_words: int) -> str | None:
    """Why `prompt` is none that can be used, as a reason code; None where it can."""
    if _unfilled(prompt, seed):
        return "placeholder"
    if normal_form(prompt) == normal_form(seed.text):
        return "template"
    if REFUSAL.match(prompt):
        return "refusal"
    if CHATTER.match(prompt):
        return "chatter"
    words = count_units(prompt)
    if words < min_words:
        return "too_short"
    return "too_long" if words > max_words else None


def _unfilled(prompt: str, seed: Seed) -> bool:
    """Whether a gap is left: a placeholder, words in square brackets, or a name of the template's own in others or bare."""
    prompt = without_latex(prompt)
    if PLACEHOLDER.search(prompt) or GAP.search(prompt):
        return True
    for name in seed.placeholders:
        loose = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", name.strip("_- "))))
        if re.search(rf"[{{<]\s*{loose}\s*[}}>]", prompt, re.IGNORECASE) or f"({name})" in prompt:
            return True
        if "_" in name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prompt):
            return True
    return False
