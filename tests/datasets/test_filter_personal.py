"""Personal data is found by its form and its check digits; what only looks like it is left alone."""

import json

import pytest
from filter_rows import agree, hinted, keeps, made, row_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.filters import personal

FOUND = {
    "email": [
        *("Write to jane.roe@mail.org.", "<j_r+news@sub.uni-bonn.de>", "mailto:A.B@C-D.CO.UK", "(x@y.io)", "\u6a4bab@cd.net\u306f"),
        *("info@m\u00fcller.de", "J\u00fcrgen.M@b\u00e4ckerei-\u00f6l.at", "anna@\u043f\u043e\u0447\u0442\u0430.com"),
    ],
    "phone": [
        *("+49 30 901820", "+44 20 7946 0958", "+1 (212) 736-5000", "call (212) 736-5000 now", "212-736-5000", "+33.1.42.68.53.00"),
        *("tel:+41446681800", "+91 98765 43210", "1-212-736-5000", "1 (212) 736-5000", "1.212.736.5000"),
    ],
    "iban": [
        *("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "to FR14 2004 1010 0505 0001 3M02 606.", "NO93 8601 1117 947"),
        *("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "CH93 0076 2011 6238 5295 7"),
        *("DE89-3704-0044-0532-0130-00", "IBAN:DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "GB82\u202fWEST\u202f1234\u202f5698\u202f7654\u202f32"),
    ],
    "card": [
        *("4539 5787 6362 1486", "4539-5787-6362-1486", "5425233430109903", "card 3782 822463 10005.", "6011000990139424"),
        *("2223000048400011", "3056 9309 0259 04"),
    ],
    "ip": ["93.184.216.34", "from 203.1.113.77:8080", "[2a00:1450:4001:81b::200e]", "2606:4700:4700:0:0:0:0:1111", "the conversion is 93.184.216.34", "section 2: 93.184.216.34", "2606:4700::1111"],
}  # fmt: skip

LEFT = {
    "email": [
        *("you@example.com", "name@company.com", "git@github.com:a/b.git", "noreply@github.com", "icon@2x.png", "pip@1.2.3"),
        *("@dataclass(frozen=True)", "user@localhost", "a @ b.c", "admin@host.local", "left@@right.com", "x@y"),
        *("lodash@4.17.21", "someone@your.example", "5 apples @ 3.50 each"),
    ],
    "phone": [
        *("+1 202 555 0123", "(212) 555-0199", "2024-11-21", "1,234,567,890", "ISBN 978-3-16-148410-0", "order 2127365000"),
        *("+5 points, +10 more, 200 300 4000", "3.14159265358979", "123-456-7890", "+1 2 3 4 5 6 7 8 9", "192.168.100.2000"),
        *("a-212-736-5000", "999-999-9999", "030 901820"),
    ],
    "iban": ["GB83 WEST 1234 5698 7654 32", "XX00 1234 5678 9012", "AB12CD34EF56", "MODEL AB12 3456 7890 1234"],
    "card": [
        *("4539 5787 6362 1487", "1234 5678 9012 3456", "0000 0000 0000 0000", "4444444444444448", "978-3-16-148410-0"),
        *("4539578763621486123456", "0.4539578763621486", "3.4539578763621486", "9539578763621480"),
    ],
    "ip": [
        *("127.0.0.1", "192.168.0.17", "10.200.3.4", "version 1.2.3.4", "section 4.12.3.1", "999.1.1.1", "1.2.3", "192.0.2.44"),
        *("2001:db8::1", "12:30:45", "2024:10:11", "std::vector", "255.255.255.0", "1.93.184.216.34", "0.0.0.0", "224.0.0.251"),
        *("rows = data[2048::2]", "x = a[2000::100]", "[3000::2]", "a[2000::]", "section 4.3.2.31", "version 1.0.0.95", "v 1.0.0.95"),
        *("Version: 10.0.0.183", "(ver. 10.20.30.40)", "Chapter 4.3.2.31", "\u00a7 4.3.2.31", "assembly 1.0.0.95", "release `2.0.0.77`"),
        *("build number 10.0.1.96", "Firmware = 1.2.3.44", "versions 93.184.216.34"),
        *("Chrome/120.0.6099.109", "093.184.216.034"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, one) for kind, many in FOUND.items() for one in many])
def test_personal_data_is_found(kind, text):
    assert not keeps({"pii": [kind]}, row_of(text)) and not keeps({"pii": True}, row_of(text))
    assert not keeps({"pii": True}, row_of(f"Reach me:\n{text}\nThanks."))
    assert not keeps({"pii": True}, row_of(messages=[{"role": "user", "content": f"Mine is\n{text}"}]))
    assert keeps({"pii": [other for other in personal.KINDS if other != kind]}, row_of(text))


@pytest.mark.parametrize(("kind", "text"), [(kind, one) for kind, many in LEFT.items() for one in many])
def test_what_looks_like_it_is_kept(kind, text):
    assert keeps({"pii": [kind]}, row_of(text))


_PATTERNS = {
    "email": [personal._EMAIL],
    "phone": [personal._INTERNATIONAL, personal._AMERICAN],
    "iban": [personal._IBAN],
    "card": [personal._CARD],
    "ip": [personal._IP4, personal._IP6],
}


@pytest.mark.parametrize("kind", personal.KINDS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_hints_overlook_nothing(kind, data):
    for pattern in _PATTERNS[kind]:
        text = data.draw(st.from_regex(pattern)).encode("utf-8", "ignore").decode()
        if pattern.search(text):
            assert hinted(personal.HINTS[kind], text)
            assert hinted(personal.HINTS[kind], json.dumps([text], ensure_ascii=False))
        agree(made({"pii": [kind]}), [row_of(text)])
