"""Planted secrets are found, ordinary text is left alone, and no hint overlooks what a plugin finds."""

import base64
import json
import time
from pathlib import Path

import pytest
from filter_rows import agree, dropped, hinted, keeps, made, row_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.filters import secrets

ROOT = Path(__file__).parents[2]
MIXED = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5dE7f"  # 40 characters, no secret
CAPITALS = MIXED.upper()
LOWER = MIXED.lower()

# Taken apart, so that no scanner takes this file for a leak.
PLANTED = {
    "hub": [
        *("hf" + "_" + MIXED[:34], "sk" + "-" + MIXED, "sk" + "-proj-" + MIXED, "sk" + "-ant-api03-" + MIXED),
        *("sk" + "-or-v1-" + LOWER, "gh" + "p_" + MIXED[:36], "github" + "_pat_" + MIXED, "gl" + "pat-" + MIXED[:20]),
        *(
            "AK" + "IA" + CAPITALS[:16],
            "xo" + "xb-1234567890-" + MIXED[:12],
            "gs" + "k_" + MIXED,
            "AI" + "za" + MIXED[:35],
        ),
        *(
            "AGE-SECRET" + "-KEY-1" + (CAPITALS * 2)[:58],
            "hv" + "s." + MIXED * 2,
            "sh" + "pat_" + "a1b2c3d4e5f60789" * 2,
        ),
        "lin" + "_api_" + MIXED,
        *("np" + "m_" + MIXED[:36], "nv" + "api-" + MIXED, "dckr" + "_pat_" + MIXED, "pypi" + "-" + MIXED * 2),
    ],
    "private_key": [
        *(f"-----BEGIN {kind}PRIVATE KEY{tail}-----" for kind, tail in [("", ""), ("RSA ", ""), ("ENCRYPTED ", "")]),
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n",
        "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----",
    ],
    "basic_auth": ["postgres" + "://anna:" + "t4pS3cr3t@db.internal:5432/plans"],
    "stripe": ["sk" + "_live_" + MIXED[:24]],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0." + "c2lnbmF0dXJl"],
    "slack": ["https://hooks.slack" + ".com/services/T0AAAA/B0BBBB/" + MIXED[:24]],
    "telegram": ["12345678" + ":" + MIXED[:35]],
    "send_grid": ["SG" + "." + MIXED[:22] + "." + MIXED + "abc"],
    "aws": [
        *(f'aws_secret_access_key = "{MIXED}"', f"AWS_SECRET_ACCESS_KEY={MIXED}", f"aws_secret_access_key = {MIXED}"),
        *(f'"SecretAccessKey": "{MIXED}"', f"secretAccessKey: '{MIXED}'", f"export AWS_SECRET_KEY={MIXED}"),
        "AK" + "IA" + CAPITALS[:16],
    ],
    "azure": ["AccountKey=" + (MIXED * 3)[:86] + "=="],
    "twilio": ["SK" + LOWER[:32]],
    "openai": ["sk" + "-" + MIXED[:20] + "T3Blbk" + "FJ" + MIXED[:20]],
    "high_entropy": [f'token = "{MIXED}"'],
}


@pytest.mark.parametrize(("plugin", "secret"), [(plugin, one) for plugin, many in PLANTED.items() for one in many])
def test_planted_secrets_are_found(plugin, secret):
    wanted = True if plugin not in secrets.BY_CHANCE else {"plugins": [plugin]}
    for text in (secret, f"Use {secret} for it.", f'"{secret}"', f"KEY={secret}\n", f"\u6a4b {secret} \u2014"):
        assert not keeps({"secrets": wanted}, row_of(text))
        assert not keeps({"secrets": {"plugins": [plugin]}}, row_of(text))


def test_they_are_found_wherever_the_format_takes_text_from():
    secret = "hf" + "_" + MIXED
    said = [{"role": "system", "content": f"x\n{secret}"}, {"role": "user", "content": "?"}]
    called = [{"role": "assistant", "tool_calls": [{"function": {"arguments": {"key": [secret]}}}]}]
    escaped = json.dumps([{"role": "user", "content": secret}]).replace("f_", "f\\u005f")
    rows = {
        "sft": [*(row_of(messages=one) for one in (said, called, escaped)), row_of(tools=json.dumps([secret]))],
        "reasoning": [row_of(reasoning=secret)],
        "preference": [
            row_of(draft=secret),
            row_of(transcript=json.dumps({"rounds": [{"candidates": {"B": secret}}]})),
        ],
    }
    for name, found in rows.items():
        for row in found:
            assert not keeps(made({"secrets": True}, format=name), row)
            assert keeps(made({"secrets": True}, format="sft"), row) == (name != "sft")


@pytest.mark.parametrize(
    "text",
    [
        *("Your token starts with hf_ and is secret.", "sk-" + "x" * 40, "export KEY=sk-your-api-key-goes-here-please"),
        *(
            "a risk-adjusted-return-on-capital-2024 view",
            "postgres://user:password@localhost/db",
            "https://a.b/c?d=e:f@g",
        ),
        *("postgres://${USER}:${PASSWORD}@host", "AKIA is a prefix.", "sk-learn-pipeline-with-many-words", "ghp_"),
        *("The password is the key to the token.", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        *(
            "commit 3c9a1f0e2b4d6a8c0e1f3b5d7a9c1e3f5b7d9a1c",
            "550e8400-e29b-41d4-a716-446655440000",
            "APARTMENTS ABOVE",
        ),
        *(
            "postgresql://postgres:postgres@localhost:5432/mydb",
            "amqp://guest:guest@localhost:5672/",
            "mysql://root:root@db/x",
        ),
        *(
            "mongodb://admin:admin123@localhost:27017",
            "redis://app:s3cr3t@127.0.0.1/0",
            "https://u:hunter2@api.example.com/",
        ),
        *(
            "ftp://anonymous:anonymous@ftp.example.org",
            "sk-estimator-id-1-container-text2",
            ".sk-fading-circle-wrapper1 {}",
        ),
        *(
            "https://x.sk/clanok/sk-aktualne-spravy-z-domova-2024",
            "sk-circle-fade-dot-animation2",
            "sk-API-Reference-Pages-v2",
        ),
        *("AKIAIOSFODNN7" + "EXAMPLE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"),
        "https://hooks.slack" + ".com/services/T00000000/B00000000/" + "X" * 24,
        *(
            "APACHE2WEBSERVER notes",
            "token: " + "a" * 44,
            "AWS_SECRET_ACCESS_KEY=" + "x" * 40,
            "AGE-SECRET-KEY-1" + "A1" * 29,
        ),
        *(
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA",
            "class SK_Something: pass",
            "-----BEGIN CERTIFICATE-----",
        ),
    ],
)
def test_ordinary_text_is_kept(text):
    assert keeps({"secrets": True}, row_of(text))


def test_the_shipped_texts_hold_none():
    files = [*(ROOT / "data").rglob("*.jsonl"), *(ROOT / "data").rglob("*.md"), *(ROOT / "docs").rglob("*.md")]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    assert len(lines) > 1000
    assert dropped({"secrets": True}, lines) == []


def test_the_shared_pairs_hold_none():
    folder = ROOT.parent / "shared/data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here")
    lines = [line for file in sorted(folder.rglob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    assert dropped({"secrets": True}, lines) == dropped({"pii": True}, lines) == []


def _patterns(plugin):
    if plugin == "hub":
        return [secrets._OWN_TOKEN, secrets._NAMED]
    if plugin == "high_entropy":
        return [one.regex for one in secrets._entropy_detectors()]
    own = {"private_key": secrets._PEM, "aws": secrets._AWS_KEY, "jwt": secrets._JWT}.get(plugin)
    return [*([own] if own else []), *secrets._detectors()[plugin].denylist]


@pytest.mark.parametrize("plugin", secrets.PLUGINS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_hints_overlook_nothing(plugin, data):
    for pattern in _patterns(plugin):
        text = data.draw(st.from_regex(pattern)).encode("utf-8", "ignore").decode()
        if pattern.search(text):
            assert hinted(secrets.HINTS[plugin], text)
            assert hinted(secrets.HINTS[plugin], json.dumps([text], ensure_ascii=False))
            agree(made({"secrets": {"plugins": [plugin]}}), [row_of(text), row_of(messages=json.dumps([text]))])


def test_json_of_any_depth_is_looked_through():
    secret = "hf" + "_" + MIXED
    for depth in (900, 100_000):
        row = row_of(tools="[" * depth + json.dumps(secret) + "]" * depth)
        assert not made({"secrets": True}).keep(row) and made({"pii": True}).keep(row)


@pytest.mark.parametrize("before", [0, 1_980, 2_000, 2_990, 3_000, 5_001, 50_000])
def test_a_secret_is_found_anywhere_in_a_long_text(before):
    secret = "hf" + "_" + MIXED
    assert not keeps({"secrets": True}, row_of("a " * (before // 2) + secret + " b" * 3_000))


def _signed(length):
    """A JSON web token whose claims alone are longer than what two pieces share."""
    parts = (b'{"alg":"RS256","typ":"JWT"}', json.dumps({"sub": (MIXED * 90)[:length]}).encode(), b"signature" * 28)
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)


@pytest.mark.parametrize("length", [900, 2_000, 3_500])
@pytest.mark.parametrize("blank", [" ", "\n", "-"])
def test_a_token_longer_than_what_pieces_share_is_found_wherever_it_begins(length, blank):
    token = _signed(length)
    for before in range(1, 6_000, 450):
        text = "x" + blank * before + f'"{token}"' + blank * 900
        assert not made({"secrets": {"plugins": ["jwt"]}}).keep(row_of(text))


def test_a_piece_that_begins_within_a_word_makes_no_token_of_it():
    word = "ri" + "sk" + "-" + MIXED
    for before in range(1_960, 2_005):
        assert keeps({"secrets": {"plugins": ["hub"]}}, row_of("." * before + word + "." * 3_000))


def test_pieces_hold_every_run_of_the_overlap():
    for length in (0, 1, 999, 3_000, 3_001, 5_000, 12_345):
        text = "".join(map(chr, range(0x4E00, 0x4E00 + length)))
        found = list(secrets.pieces(text))
        assert max(map(len, found)) <= 3_000 and found[0] == text[:3_000]
        for start in range(0, max(length - 1_000, 0) + 1, 37):
            assert any(text[start : start + 1_000] in one for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "//" * 30_000 + "_authToken",
        "eyJ" * 60_000 + ".",
        "key" + " " * 60_000,
        "sk-" * 60_000,
        "eyJa." * 40_000,
        "://a:b@" * 20_000,
    ],
)
def test_a_hostile_text_takes_seconds_at_most(text):
    started = time.process_time()
    made({"secrets": True}).keep(row_of(text))
    assert time.process_time() - started < 20
