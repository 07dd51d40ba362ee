"""Tables of what a reviewer's blind lists held and the detectors had missed, or taken for what it was not."""

import pytest
from filter_rows import hinted, keeps, row_of

from stillhouse.datasets.filters import secrets
from stillhouse.datasets.filters.refusals import is_refusal
from stillhouse.datasets.filters.texts import holds_think_tag

HEX = "0f3a9c1e7b2d5a8046fe31b7c9d2085e"
MIXED = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA"

THOUGHTS = [
    *("<|START_THINKING|>hm<|END_THINKING|>", "so <|END_THINKING|>", "<longcat_think>", "</longcat_think>", "yes</think>"),
    *("yes</Thinking>", "Hello<think>hm", "<Thought>", "< /reasoning>", "\u597d<think>", "<seed:think>"),
]  # fmt: skip
TYPES = ["List<Thought> x", "Map<String, Reasoning>", "<thoughts>", "</thoughts>", "Vec<Thinking>", "Option<Reasoning>"]

PERSONAL = {
    "email": [
        *("x/john@acme.com", "_john@acme.com", "john@acme.com- call", "john@acme.\u0440\u0444", "(jane_@acme.io)"),
        *("john@m\u00fcller.\u0440\u0444", "a:john@acme.com/next"),
    ],
    "phone": ["0049 30 901820", "(415)5552671", "(415) 5552671", "0044 20 7946 0018", "0041446681800"],
    "iban": ["gb29nwbk60161331926819", "de89 3704 0044 0532 0130 00", "(de89370400440532013000)"],
}
NOT_PERSONAL = {
    "email": ["lodash@npm.io", "git@github.com:a/b", "v@1.0.0", "john@acme.com-pany", "a@b"],
    "phone": ["0000 0000 0000", "1.0049309018", "/0049301234", "2002-0049301820", "(415)555", "(415)55526712"],
    "iban": ["gb28nwbk60161331926819", "ab12cdef34561234", "Gb29NWBK60161331926819"],
    "ip": ["Python 3.11.7.200", "OID 1.3.6.199", "OID: 1.3.6.199", "node 20.10.0.99"],
    # what the manuals of payment services and of networks give as examples
    "card": ["4111 1111 1111 1111", "4111-1111-1111-1111", "4242424242424242"],
}

SECRETS = [
    *("dapi" + HEX, "GOC" + "SPX-" + MIXED[:28], "NR" + "AK-" + "A1B2C3D4E5F6G7H8I9J0K1L2M3N", "key" + "-" + HEX),
    *("WANDB_API" + "_KEY=" + HEX + "0f3a9c1e", f"Authorization: Bearer {MIXED}{MIXED[:12]}"),
    *("DB_PASS" + "WORD=hunter2hunter2X9", f'"SERVICE_TOKEN": "{MIXED}"', f"export MY_APP_SECRET='{HEX}'"),
]  # fmt: skip
NO_SECRETS = [
    *("sk-your-key-here-1234567890", "sk-YOUR_API_KEY_HERE_1234567890", "API_KEY=os.environ['WANDB_API_KEY']"),
    *("MAX_TOKEN=the_next_long_name", "PRIMARY_KEY=customer_id_and_order", "FOREIGN_KEY = references_table_2024_orders"),
    *("API_KEY=your_api_key_1a2b3c4d5e6f", "DB_PASSWORD=changeme1a2b3c4d", "SORT_KEY: last_name_then_first_name"),
    *("Authorization: Bearer YOUR_TOKEN_HERE_1a2b3c4d5e", "Authorization: Bearer <token>", "API_KEY=${WANDB_API_KEY_2024_PROD}"),
    *("CACHE_KEY=user-profile-v2-settings-v3", "monkey-" + HEX, "hotkey-" + HEX, "SECRET_KEY=get_random_secret_key(50)"),
]  # fmt: skip

REFUSALS = [
    *("We cannot assist with that request.", "Sorry, we are unable to help with this request."),
    *("It's not possible for me to help with that.", "It is impossible for me to provide that."),
    *("I can't write malware.", "I won't create ransomware.", "I must decline.", "I'm sorry, but I must respectfully decline."),
]  # fmt: skip
ANSWERS = [
    *("I can't provide a better example than Rome.", "I won't write a long essay: three points."),
    *("I cannot create a file in this folder because of permissions; chmod it.", "I must decline. Mensa, mensae, mensae."),
    *("We cannot assist with the move on Friday, so hire a van.", "It's not possible for me to be in two places at once."),
    *("I can't write malware scanners in Bash as fast as in Rust.", "We must decline the noun first."),
]  # fmt: skip


@pytest.mark.parametrize("text", THOUGHTS)
def test_thoughts(text):
    assert holds_think_tag(text)


@pytest.mark.parametrize("text", TYPES)
def test_types_are_no_thoughts(text):
    assert not holds_think_tag(text)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, many in PERSONAL.items() for text in many])
def test_personal_data(kind, text):
    assert not keeps({"pii": [kind]}, row_of(text)) and not keeps({"pii": True}, row_of(f"Reach me:\n{text}\nThanks."))


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, many in NOT_PERSONAL.items() for text in many])
def test_no_personal_data(kind, text):
    assert keeps({"pii": [kind]}, row_of(text))


@pytest.mark.parametrize("text", SECRETS)
def test_secrets(text):
    for said in (text, f"Use {text} for it.", f"`{text}`"):
        assert not keeps({"secrets": {"plugins": ["hub"]}}, row_of(said)) and hinted(secrets.HINTS["hub"], said)
        assert not keeps({"secrets": True}, row_of(messages=[{"role": "user", "content": f"\n{said}\n"}]))


@pytest.mark.parametrize("text", NO_SECRETS)
def test_no_secrets(text):
    assert keeps({"secrets": True}, row_of(text))


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    assert is_refusal(text) and not keeps({"no_refusals": True}, row_of(text.replace("'", "\u2019")))


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text):
    assert not is_refusal(text) and keeps({"no_refusals": True}, row_of(text))
