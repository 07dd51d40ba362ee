"""Personal data: e-mail addresses, telephone and card numbers, IBANs, IP addresses.

Each kind is a pattern and a check of what it found (checksums by python-stdnum, telephone numbers by
phonenumbers, Google's libphonenumber), since a false alarm costs a row. What stands in documentation is none:
example.org, 555-0123, private networks. Telephone numbers are seen with their country's code, or as North
America writes them; a national number of elsewhere looks like any other. Four numbers behind "version", "section"
or their like are no address, and neither is a slice (`data[2048::2]`), which costs the addresses 2xxx::n in decimals.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from stillhouse.datasets.filters.base import Answer, Columns, Mask, written
from stillhouse.datasets.filters.reach import Scan

KINDS = ("email", "phone", "iban", "card", "ip")

_LETTERS = "A-Za-z0-9\u00c0-\u024f\u0370-\u052f"
"""Of names of people and hosts: Latin, Greek and Cyrillic."""
_EMAIL = re.compile(
    rf"(?<![{_LETTERS}._%+-])(?P<local>[{_LETTERS}_][{_LETTERS}._%+-]{{0,63}})"
    rf"@(?P<host>(?:[{_LETTERS}](?:[{_LETTERS}-]{{0,61}}[{_LETTERS}])?\.)+(?P<top>[A-Za-z]{{2,24}}|[\u0430-\u044f]{{2,8}}))"
    rf"(?![{_LETTERS}]|-+[{_LETTERS}]|\.[{_LETTERS}])"
)
_PACKAGES = frozenset({"npm.io"})
"""Hosts behind the names of packages; no one has an address there."""
_NO_ONE = frozenset({"git", "noreply", "no-reply", "donotreply"})
_RESERVED_TOPS = frozenset({"example", "invalid", "local", "localhost", "test"})
_NO_TOPS = frozenset({"css", "gif", "html", "jpeg", "jpg", "js", "json", "png", "svg", "ts", "webp"})
_PLACEHOLDERS = frozenset({"company", "domain", "example", "yourcompany", "yourdomain"})

_INTERNATIONAL = re.compile(
    r"(?<![\w+])(?:\+|(?<![\w.,/-])00)[1-9](?:[ ().\-/\u2010-\u2015\u00a0]{0,3}[0-9]){6,14}(?![0-9A-Za-z])"
)
_AMERICAN = re.compile(
    r"(?<![\w+./-])(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?(?=[0-9]{3}[-. 0-9])|[2-9][0-9]{2}[-. ](?=[0-9]{3}[-. ]))[2-9][0-9]{2}[-. ]?[0-9]{4}(?![\w/-]|\.[0-9])"
)
_FICTION = re.compile(r"55501[0-9]{2}\Z")

_GAP = "[ \u00a0\u202f\u2010\u2011-]"
_IBAN = re.compile(
    rf"(?<![A-Za-z0-9])(?:[A-Z]{{2}}[0-9]{{2}}(?:{_GAP}?[A-Z0-9]{{4}}){{2,7}}(?:{_GAP}?[A-Z0-9]{{1,3}})?"
    rf"|[a-z]{{2}}[0-9]{{2}}(?:{_GAP}?[a-z0-9]{{4}}){{2,7}}(?:{_GAP}?[a-z0-9]{{1,3}})?)(?![A-Za-z0-9])"
)
_CARD = re.compile(r"(?<![0-9A-Za-z.,_-])[2-6][0-9]{3}(?:[ -]?[0-9]{4}){2}(?:[ -]?[0-9]{1,7})?(?![0-9A-Za-z_-]|[.,][0-9])"
                   r"|(?<![0-9A-Za-z.,_-])3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}(?![0-9A-Za-z_-]|[.,][0-9])")  # fmt: skip
# Visa; Mastercard; American Express; Discover; JCB; Diners; Maestro and UnionPay: what a first digit group allows
_SCHEMES = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7])[0-9]{14}|3[47][0-9]{13}|6(?:011|4[4-9]|5)[0-9]{12,14}"
    r"|35[0-9]{14}|3(?:0[0-5]|[68])[0-9]{11,12}|(?:50|5[6-9]|62|67)[0-9]{14,17}"
)

_IP4 = re.compile(r"(?<![0-9A-Za-z._-])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_-]|\.[0-9])")
_IP6 = re.compile(r"(?<![0-9A-Za-z:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z:])")
_VERSION_LIKE = 30
"""Four numbers up to this one are a version or a heading (1.2.10.4), hardly ever an address."""
_COUNTED = re.compile(
    r"(?:\b(?:versions?|ver|v|sections?|secs?|sects?|chapters?|ch|releases?|builds?|revisions?|rev|clauses?|articles?|"
    r"annex|appendix|paragraphs?|paras?|figures?|figs?|assembly|firmware|driver|oid|python|java|node|ruby|php|bios)|\u00a7)\.?[ \t\u00a0]{0,3}"
    r"(?:(?:numbers?|no\.|is|of)[ \t]{1,3})?[=:]?[ \t]{0,3}[\"'`(*]{0,3}\Z",
    re.IGNORECASE,
)
"""What stands before a version or a heading, however large its numbers are."""
_BEFORE = 40
_SLICE = re.compile(r"[0-9]+::[0-9]*")


def has_email(text: str) -> bool:
    """Whether `text` holds an e-mail address of someone: none of a machine, of an example, or a file's name."""
    return any(map(_is_address, _EMAIL.finditer(text)))


def _is_address(match: re.Match[str]) -> bool:
    top, host = match["top"].lower(), match["host"].lower().split(".")
    if top in _RESERVED_TOPS or top in _NO_TOPS or match["local"].lower() in _NO_ONE:
        return False
    return host[-2] not in _PLACEHOLDERS and ".".join(host) not in _PACKAGES


def has_phone(text: str) -> bool:
    """Whether `text` holds a telephone number that its country's plan knows."""
    international = ((match.group(), None) for match in _INTERNATIONAL.finditer(text))
    american = ((match.group(), "US") for match in _AMERICAN.finditer(text))
    return any(_is_number(number, region) for group in (international, american) for number, region in group)


def _is_number(number: str, region: str | None) -> bool:
    import phonenumbers

    if _FICTION.search(re.sub(r"[^0-9]", "", number)):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(re.sub(r"\A00", "+", number), region))
    except phonenumbers.NumberParseException:
        return False


def has_iban(text: str) -> bool:
    """Whether `text` holds an IBAN with sound check digits (ISO 7064, mod 97-10) and the length of its country."""
    return any(_is_iban(match.group()) for match in _IBAN.finditer(text))


def _is_iban(found: str) -> bool:
    from stdnum import iban

    # groups of capitals that follow in the text look like more of the number
    groups = re.split(_GAP, found)
    return any(
        iban.is_valid("".join(groups[:count]).upper(), check_country=False) for count in range(1, len(groups) + 1)
    )


def has_card(text: str) -> bool:
    """Whether `text` holds a payment card's number: a scheme's length and first digits, and Luhn's check digit."""
    return any(_is_card(re.sub(r"[ -]", "", match.group())) for match in _CARD.finditer(text))


def _is_card(digits: str) -> bool:
    from stdnum import luhn

    return bool(_SCHEMES.fullmatch(digits)) and len(set(digits)) > 2 and luhn.is_valid(digits)


def has_ip(text: str) -> bool:
    """Whether `text` holds a public IP address, version 4 or 6."""
    return any(
        _is_public4(match.group()) and not _COUNTED.search(text[max(match.start() - _BEFORE, 0) : match.start()])
        for match in _IP4.finditer(text)
    ) or any(_is_public6(match.group()) for match in _IP6.finditer(text))


def _is_public4(found: str) -> bool:
    numbers = list(map(int, found.split(".")))
    if (
        max(numbers) <= _VERSION_LIKE
        or max(numbers) > 255
        or any(len(part) > 1 and part[0] == "0" for part in found.split("."))
    ):
        return False
    address = ipaddress.IPv4Address(bytes(numbers))
    return address.is_global and not address.is_multicast


def _is_public6(found: str) -> bool:
    if _SLICE.fullmatch(found):
        return False
    try:
        return ipaddress.IPv6Address(found).is_global
    except ValueError:
        return False


FINDERS: dict[str, Callable[[str], bool]] = {
    "email": has_email,
    "phone": has_phone,
    "iban": has_iban,
    "card": has_card,
    "ip": has_ip,
}

HINTS = {
    "email": rf"[{_LETTERS}._%+-]@[{_LETTERS}]",
    "phone": r"(?:\+|00)[1-9](?:[^0-9A-Za-z]{0,3}[0-9]){6}|[0-9]{3}[-. ][0-9]{4}|\([0-9]{3}\) ?[0-9]{7}",
    "iban": rf"(?:[A-Z]{{2}}|[a-z]{{2}})[0-9]{{2}}{_GAP}?[A-Za-z0-9]{{4}}{_GAP}?[A-Za-z0-9]{{4}}",
    "card": r"[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}|3[47][0-9]{2}[ -]?[0-9]{6}",
    "ip": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:",
}


@dataclass(frozen=True)
class NoPersonalData:
    """Keeps rows in whose texts none of the `kinds` of personal data stands (all of `KINDS` where it is empty)."""

    kinds: tuple[str, ...]
    texts: tuple[str, ...]
    reason = "pii"

    @property
    def label(self) -> str:
        return f"pii: {written(self.kinds or True)}"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.texts

    @cached_property
    def _scan(self) -> Scan:
        kinds: Sequence[str] = self.kinds or KINDS
        found = [FINDERS[kind] for kind in kinds]
        return Scan(self.texts, "|".join(HINTS[kind] for kind in kinds), lambda text: any(one(text) for one in found))

    def keep(self, row: Answer) -> bool:
        return not self._scan.hits(row)

    def mask(self, batch: Columns) -> Mask:
        return ~self._scan.hit_mask(batch)
