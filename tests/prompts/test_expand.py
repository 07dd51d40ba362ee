"""Expansion by a scripted model behind the real client and ledger: what is asked, kept, thrown away and reported."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import CallError, FailureShareError, InputError, LimitError
from stillhouse.llm.client import Client, Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.expand import ExpandRules, ExpandSettings, expand
from stillhouse.prompts.expand_files import check_domains, read_domains, read_templates, slug
from stillhouse.prompts.read import read_prompts
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.base import Sampling

ROOT = Path(__file__).parents[2]
INSTRUCTIONS = ROOT / "data/expansion/expand.j2"
TEMPLATES = '{"id": "move", "template": "Review: {WHO} moves {WHAT}.", "category": "moves", "difficulty": "easy"}\nOpen {THING} in {PLACE}?\n'
DOMAINS = ["a village school", "a brewery"]


class Script:
    """A backend that answers by a function of the request."""

    grammars = False
    concurrency = 4

    def __init__(self, reply: Callable[[Request], Any], latency: random.Random | None = None) -> None:
        self.identity = {"backend": "scripted"}
        self.asked: list[Request] = []
        self._reply, self._latency = reply, latency

    async def complete(self, request: Request) -> tuple[Completion, int]:
        self.asked.append(request)
        if self._latency:
            await asyncio.sleep(self._latency.random() / 100)
        answer = self._reply(request)
        if isinstance(answer, Exception):
            raise answer
        return (answer if isinstance(answer, Completion) else Completion(answer, "stop")), 1

    def close(self) -> None:
        pass


def text_of(request: Request) -> str:
    return request.messages[-1][1]


def numbered(request: Request, offset: int = 0) -> str:
    """As many prompts as were asked for, which differ by pair and attempt."""
    text = text_of(request)
    count = int(text.split("\n")[0].split()[1])
    about = ("moving" if "moves" in text else "opening") + (" at school" if "school" in text else " with beer")
    lines = [f"{n}. Prompt {request.index}-{n + offset} about {about} today?" for n in range(1, count + 1)]
    return "\n".join(["Here they are:", "", *lines])


def run(folder: Path, script: Script, usage: Usage | None = None, **values: Any) -> tuple[list[dict], dict]:
    whole = {"per": 3, "model": "m", "sampling": Sampling(), "min_words": 3, "max_words": 20, "attempts": 3, **values}
    domains = whole.pop("over", DOMAINS)
    (folder / "templates.txt").write_text(whole.pop("templates", TEMPLATES))
    ledger = Ledger(folder / "ledger", "test")
    settings = ExpandSettings(set="s", expand=ExpandRules(**whole))
    try:
        seeds = read_templates(folder / "templates.txt")
        return expand(seeds, domains, Client("m", script, ledger, usage), settings, INSTRUCTIONS)
    finally:
        ledger.close()


def test_every_template_is_filled_in_every_domain(tmp_path: Path) -> None:
    script = Script(numbered)
    rows, report = run(tmp_path, script)
    assert len(script.asked) == 4
    assert (report["pairs"], report["wanted"], report["got"], report["requests"]) == (4, 12, 12, 4)
    assert (report["shortfalls"], report["rejected"]) == ([], {})
    assert rows[0] == {
        "id": "move.a-village-school.1", "prompt": "Prompt 0-1 about moving at school today?", "category": "moves",
        "difficulty": "easy", "template": "move", "domain": "a village school", "call": rows[0]["call"],
    }  # fmt: skip
    assert rows[0]["call"] in Ledger(tmp_path / "ledger")
    assert "category" not in rows[-1]
    assert len({row["id"] for row in rows}) == 12


def test_the_lines_are_a_prompt_file(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, Script(numbered))
    file = tmp_path / "x.expanded.jsonl"
    file.write_text("".join(f"{canonical_json(row)}\n" for row in rows))
    read = {row["id"]: row for row in read_prompts(file, "s")}
    assert len(read) == 12
    one = read["move.a-brewery.2"]
    assert (one["category"], one["difficulty"]) == ("moves", "easy")
    assert json.loads(one["metadata"]) == {
        "template": "move", "domain": "a brewery", "call": next(row["call"] for row in rows if row["id"] == one["id"])
    }  # fmt: skip


def test_what_is_missing_is_asked_for_again_with_what_was_found(tmp_path: Path) -> None:
    def one_a_time(request: Request) -> str:
        return numbered(request).split("\n")[2]

    script = Script(one_a_time)
    rows, report = run(tmp_path, script)
    assert (len(rows), report["requests"], report["shortfalls"]) == (12, 12, [])
    last = [text_of(request) for request in script.asked if request.index == 2]
    assert all(text.startswith("Write 1 prompt ") for text in last)
    for row in rows:
        told = sum(row["prompt"] in text for text in last)
        assert told == (0 if row["prompt"].startswith("Prompt 2") else 1)


def test_what_cannot_be_had_is_reported_with_its_reasons(tmp_path: Path) -> None:
    bad = [
        "Review: {WHO} moves the library of the village.",
        "Review: [Who] moves the library.",
        "Two words",
        "word " * 30,
        "Review: WHO moves WHAT.",
        "A fine prompt about moving house.",
        "a FINE prompt, about moving house!",
    ]
    script = Script(lambda request: json.dumps(bad))
    rows, report = run(tmp_path, script, templates=TEMPLATES.split("\n")[0], over=["a brewery"], attempts=2)
    assert [row["prompt"] for row in rows] == ["A fine prompt about moving house."]
    assert (report["wanted"], report["got"], report["requests"]) == (3, 1, 2)
    [short] = report["shortfalls"]
    assert (short["template"], short["domain"], short["wanted"], short["got"]) == ("move", "a brewery", 3, 1)
    told = {item["reason"]: item["count"] for item in short["rejected"]}
    assert told == {"placeholder": 4, "too_short": 2, "too_long": 2, "template": 2, "duplicate": 3}
    assert (
        next(item["first"] for item in short["rejected"] if item["reason"] == "template") == "Review: WHO moves WHAT."
    )


def test_an_item_that_repeats_what_the_model_was_told_is_no_prompt(tmp_path: Path) -> None:
    script = Script(lambda r: "1. Put something concrete and particular to the domain\n" + numbered(r).split("\n\n")[1])
    rows, report = run(tmp_path, script)
    assert (len(rows), report["rejected"]) == (12, {"echo": 4})


def test_more_than_were_asked_for_are_left_aside(tmp_path: Path) -> None:
    rows, report = run(tmp_path, Script(lambda r: numbered(r) + "\n4. One more prompt than was wanted?"))
    assert (len(rows), report["rejected"]) == (12, {})


def test_a_prompt_stands_once_in_the_whole_set(tmp_path: Path) -> None:
    def same(request: Request) -> str:
        return "1. The same prompt for every template.\n" + numbered(request).split("\n\n")[1]

    rows, report = run(tmp_path, Script(same))
    assert [row["prompt"] for row in rows].count("The same prompt for every template.") == 1
    assert (len(rows), report["rejected"]["duplicate"] >= 3) == (12, True)


def test_a_duplicate_of_another_pair_is_shown_as_well(tmp_path: Path) -> None:
    script = Script(
        lambda request: "1. The same prompt for every template." if request.index == 0 else numbered(request)
    )
    run(tmp_path, script, per=1)
    again = [text_of(request) for request in script.asked if request.index == 1]
    assert len(again) == 3
    assert all("- The same prompt for every template." in text for text in again)


def test_the_last_item_of_a_reply_that_was_cut_off_is_not_used(tmp_path: Path) -> None:
    def cut(request: Request) -> Completion:
        return Completion(numbered(request)[:-9], "length" if request.index == 0 else "stop")

    rows, report = run(tmp_path, Script(cut))
    assert report["rejected"] == {"cut_off": 4}
    assert len(rows) == 12


def test_failed_calls_are_shortfalls_and_the_others_go_on(tmp_path: Path) -> None:
    domains = [f"a place of number {number}" for number in range(10)]
    hot = "Write 1 prompt that somebody could really send, from this domain: a place of number 7"

    def reply(request: Request) -> Any:
        text = text_of(request)
        place = text.split("number ")[1].split()[0]
        failing = text.startswith(hot) and "moves" in text
        return CallError("too hot") if failing else f"1. A prompt about {'moves' * ('moves' in text)} and place {place}"

    rows, report = run(tmp_path, Script(reply), over=domains, per=1)
    assert (len(rows), report["pairs"]) == (19, 20)
    [short] = report["shortfalls"]
    assert (short["got"], short["attempts"], short["domain"]) == (0, 3, "a place of number 7")
    assert short["rejected"] == [{"reason": "call_failed", "count": 3, "first": "too hot"}]


def test_failed_calls_for_more_than_a_share_of_the_pairs_fail_the_job(tmp_path: Path) -> None:
    script = Script(lambda r: CallError("too hot") if "brewery" in text_of(r) else numbered(r))
    with pytest.raises(
        FailureShareError, match=r"set s: calls failed for 2 of 4 pairs.*5%.*move in domain 'a brewery'"
    ):
        run(tmp_path, script)
    again = Script(numbered)
    rows, report = run(tmp_path, again)
    assert (len(rows), report["shortfalls"]) == (12, [])
    assert len(again.asked) == 2 and all("brewery" in text_of(request) for request in again.asked)


def test_a_call_that_failed_once_does_no_harm_where_the_next_one_is_answered(tmp_path: Path) -> None:
    rows, report = run(tmp_path, Script(lambda r: numbered(r) if r.index else CallError("too hot")))
    assert (len(rows), report["rejected"], report["shortfalls"]) == (12, {"call_failed": 4}, [])


def test_a_duplicate_is_shown_once_however_often_it_comes(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        mine = "school" in text_of(request) and "moves" in text_of(request)
        return numbered(request) if mine and request.index > 2 else "1. The same prompt for every template."

    script = Script(reply)
    run(tmp_path, script, per=1, attempts=4)
    last = [text_of(request) for request in script.asked if request.index == 3]
    assert last and all(text.count("The same prompt for every template.") == 1 for text in last)


@pytest.mark.parametrize(
    ("chatter", "reason"),
    [
        (
            "Sure! Here are three prompts for you.\n\nOpen a bar in a mill by May?\n\nLet me know if you like more!",
            "no_list",
        ),
        ("Open a bar in a mill by May?\nOpen a shop in a mine by June?\n\nOpen a school at sea by July?", "no_list"),
        ("I'm sorry, but I can't help with that request.", "refusal"),
        ("I cannot create content that promotes drinking.\n\nAnything else?", "refusal"),
        ("- I'm sorry, but I can't help with that request.", "refusal"),
        ('["Here are three prompts for you."]', "chatter"),
    ],
)
def test_what_is_no_list_of_prompts_is_asked_for_again(tmp_path: Path, chatter: str, reason: str) -> None:
    script = Script(lambda request: numbered(request) if request.index else chatter)
    rows, report = run(tmp_path, script)
    assert (report["rejected"], len(rows), len(script.asked)) == ({reason: 4}, 12, 8)
    assert all(row["prompt"].startswith("Prompt 1-") for row in rows)


def test_one_missing_prompt_may_come_as_a_plain_line(tmp_path: Path) -> None:
    rows, report = run(tmp_path, Script(lambda r: numbered(r).split("1. ")[1]), per=1)
    assert (len(rows), report["rejected"]) == (4, {})
    (tmp_path / "refused").mkdir()
    with pytest.raises(CallError, match="refusal"):
        run(tmp_path / "refused", Script(lambda _: "Unfortunately, I cannot provide medical advice."), per=1)


@pytest.mark.parametrize(
    ("reply", "reason"), [("", "empty"), (CallError("down"), "down"), ("1. {WHO}?", "placeholder")]
)
def test_nothing_at_all_stops_the_run(tmp_path: Path, reply: Any, reason: str) -> None:
    with pytest.raises(CallError, match=f"set s: no prompt could be used.*{reason}"):
        run(tmp_path, Script(lambda _: reply))


def test_a_stopped_run_goes_on_and_writes_the_same(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = run(whole, Script(lambda r: numbered(r).split("\n")[2]))
    script = Script(lambda r: LimitError("for today") if len(script.asked) > 5 else numbered(r).split("\n")[2])
    with pytest.raises(LimitError):
        run(tmp_path, script)
    paid = len(Ledger(tmp_path / "ledger"))
    more = Script(lambda r: numbered(r).split("\n")[2])
    assert run(tmp_path, more) == expected
    assert len(more.asked) == 12 - paid < 12


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    first, script = run(tmp_path, Script(numbered)), Script(numbered)
    assert run(tmp_path, script) == first
    assert script.asked == []


def test_neither_the_order_of_replies_nor_that_of_the_files_decides_what_is_kept(tmp_path: Path) -> None:
    def crowded(request: Request) -> str:
        draw = random.Random(request.index * 1000 + len(text_of(request)))
        return "\n".join(f"- A prompt about matter {draw.randrange(12)}." for _ in range(4))

    found = []
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        turned = seed == 3
        templates = "\n".join(TEMPLATES.strip().split("\n")[:: -1 if turned else 1])
        domains = DOMAINS[:: -1 if turned else 1]
        rows, report = run(
            tmp_path / str(seed), Script(crowded, random.Random(seed)), templates=templates, over=domains
        )
        found.append((sorted(row["prompt"] + row["id"] for row in rows), report["rejected"]))
    assert all(one == found[0] for one in found)
    assert found[0][1]["duplicate"] > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no templates"),
        ("Fill this.\n", r"line 1: expected .*PLACEHOLDER"),
        ("{lower} case\n", r"line 1: expected"),
        ("A {WHO}.\na {WHO}!\n", r"line 2: the template 'a who' was in line 1"),
        ('{"id": 1, "template": "{A} b"}\n\n{"id": "1", "template": "{A} c"}\n', r"line 3: the id '1' was in line 1"),
        ('{"template": "{A} b"\n', "line 1: not JSON"),
        ('{"template": "{A} b", "category": []}\n', "line 1: category must be text"),
        ('{"template": "{A} b", "domain": "x"}\n', "line 1: domain: its prompts have"),
        ('{"prompt": "{A} b"}\n', "line 1: expected"),
    ],
)
def test_templates_that_cannot_be_used_are_told_by_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "templates.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_templates(file)


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"A {WHO}.\n\xff\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        read_templates(tmp_path / "t")
    with pytest.raises(InputError, match="No such file"):
        read_domains(tmp_path / "none")


def test_domains_need_names_of_their_own() -> None:
    assert check_domains([" A school ", "a brewery"]) == ["A school", "a brewery"]
    long = "an institution of a name that is so long that no id would bear the whole of it"
    assert len(check_domains([f"{long} once", f"{long} twice"])) == 2
    with pytest.raises(InputError, match="the same to the ids"):
        check_domains(["a school", "A SCHOOL!"])
    with pytest.raises(InputError, match="no word"):
        check_domains(["?!"])


@pytest.mark.parametrize("words", ["{{ template }}", "{{ domain }}", "{{ template }} {{ domain }} {{ other }}", "{{ x"])
def test_instructions_that_leave_something_out_are_refused(tmp_path: Path, words: str) -> None:
    file = tmp_path / "i.j2"
    file.write_text(words)
    (tmp_path / "t").write_text(TEMPLATES)
    settings = ExpandSettings(
        set="s",
        expand=ExpandRules(per=1, model="m", sampling=Sampling(), min_words=1, max_words=9, attempts=1),
    )
    client = Client("m", Script(numbered), Ledger(tmp_path / "ledger", "test"))
    with pytest.raises(InputError, match=r"i\.j2"):
        expand(read_templates(tmp_path / "t"), DOMAINS, client, settings, file)


def test_templates_with_mathematics_have_their_own_placeholders_only(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text(
        "Prove {TOPIC} in $\\mathbb{R}$ and \\frac{A}{B} for $x_{N}^{T} \\sum_{I}^{J} (a+b)^{N}$ by {DATE}.\n",
        encoding="utf-8",
    )
    assert read_templates(file)[0].placeholders == ["TOPIC", "DATE"]
    file.write_text("Show that $\\mathbb{R}$ is complete.\n")
    with pytest.raises(InputError, match="PLACEHOLDER"):
        read_templates(file)


def test_names_of_other_scripts_stay_apart() -> None:
    assert len(check_domains(["राम की किताब", "राम का किताब"])) == 2
    assert slug("हिन्दी में") == "हिन्दी-में"


def test_the_shipped_templates_and_domains_can_be_expanded(tmp_path: Path) -> None:
    seeds = read_templates(ROOT / "data/expansion/templates.jsonl")
    domains = check_domains(read_domains(ROOT / "data/expansion/domains.txt"))
    assert len(seeds) >= 4
    assert len(domains) >= 4
    assert all(seed.category for seed in seeds)
    assert all(len(seed.placeholders) >= 2 for seed in seeds)
