"""Keys, tokens and passwords: chosen plugins of detect-secrets, and patterns of our own for what they miss.

detect-secrets finds by form (a token's prefix and length) and by chance (high entropy, words such as "password").
All plugins of the first kind are on; of the second, `high_entropy` can be chosen. Its own patterns miss hub
tokens, newer keys of model providers, encrypted PEM keys and AWS keys without quotes: `hub`, `private_key` and `aws`
know them; `hub` also takes values drawn at random that stand beside a name such as `API_KEY=`. What documentation is full of is no secret: keys with EXAMPLE in them, runs of one character, passwords of
localhost, passwords that are the user's name.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import log2
from typing import TYPE_CHECKING

from stillhouse.datasets.filters.base import Answer, Columns, Mask, written
from stillhouse.datasets.filters.reach import Scan

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin

# Prefixes that providers give their tokens, so that they are found; lengths are a little below those in use.
_HUB = (
    r"hf_[A-Za-z0-9]{20,}",
    r"api_org_[A-Za-z0-9]{20,}",
    r"sk-(?:[a-z]+[0-9]{0,2}-)*[A-Za-z0-9_-]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|dt|ft|soat|rt|cbt|ptt|agent|oas|imt)-[A-Za-z0-9_-]{16,}",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"xox[a-z]-[A-Za-z0-9-]{10,}",
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"(?:gsk|xai|r8|pplx|tgp|csk|fw)[_-](?:v[0-9]_)?[A-Za-z0-9]{24,}",
    r"nvapi-[A-Za-z0-9_-]{20,}",
    r"AIza[0-9A-Za-z_-]{30,}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"(?:dop|doo|dor)_v1_[0-9a-f]{40,}",
    r"dckr_pat_[A-Za-z0-9_-]{20,}",
    r"(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{20,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
    r"hv[sbr]\.[A-Za-z0-9_-]{24,}",
    r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}",
    r"lin_api_[A-Za-z0-9]{32,}",
    r"dapi[0-9a-f]{32}",
    r"GOCSPX-[A-Za-z0-9_-]{24,}",
    r"NRAK-[A-Z0-9]{27}",
    r"key-[0-9a-f]{32}",
)
_ASSIGNED_VALUE = (
    r"(?:[A-Z][A-Z0-9]*_)+(?:KEY|TOKEN|SECRET|PASSWORD)\\?[\"']? ?[=:] ?\\?[\"']?[A-Za-z0-9+/_~!@#%^&*-]{14,}",
    r"(?:[Aa]uthorization|AUTHORIZATION)\\?[\"']? ?: ?\\?[\"']?[Bb]earer [A-Za-z0-9._~+/-]{24,}",
)
"""A value beside a name that says what it is; whether it is one is told by its characters."""

# What every text must hold in which the plugin finds something; only characters that JSON writes as they are.
_ASSIGNED = r"[^A-Za-z0-9\n]*"
HINTS = {
    "artifactory": r"AKC[a-zA-Z0-9]{10}|AP.[a-zA-Z0-9]{8}",
    "aws": r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}|(?i:aws).{0,40}(?i:key|pw|pass|token).{0,44}\S{40}"
    r"|(?i:secret[_-]?access[_-]?key|aws[_-]?secret[_-]?key)",
    "azure": r"AccountKey=",
    "basic_auth": r"://\S+@",
    "cloudant": rf"(?i:cl(?:oudant|ou)?[-_]?(?:ap.)?(?:key|pwd|pw|pass(?:word)?|token)){_ASSIGNED}\S{{24}}|://\S+@",
    "discord": r"\.[^.\s]{6}\.",
    "git_hub": r"gh[pousr]_",
    "git_lab": r"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-|GR1348941",
    "high_entropy": r"""['"]""",
    "hub": "|".join((*_HUB, *_ASSIGNED_VALUE)),
    "ibm": rf"(?i:key|pwd|pass(?:word)?|token){_ASSIGNED}\S{{44}}",
    "jwt": r"eyJ",
    "mailchimp": r"-us[0-9]",
    "npm": r"_authToken",
    "openai": r"T3BlbkFJ",
    "private_key": r"PRIVATE KEY|PuTTY-User-Key-File-2",
    "pypi": r"pypi-Ag",
    "send_grid": r"SG\.[a-zA-Z0-9_-]{22}",
    "slack": r"(?i:xox[a-z]-|hooks\.slack)",
    "square": r"sq0csp-",
    "stripe": r"k_live_",
    "telegram": r":[0-9A-Za-z_-]{35}",
    "twilio": r"AC[a-z0-9]{32}|SK[a-z0-9]{32}",
}
_LITERAL = re.compile(r"[\w=-]+\Z", re.ASCII)
PLUGINS = tuple(HINTS)
BY_CHANCE = frozenset({"high_entropy"})

_OWN_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_HUB)})")
_NAMED = re.compile(
    r"(?<![A-Za-z0-9_])(?:[A-Z][A-Z0-9]{0,30}_){1,6}(?:KEY|TOKEN|SECRET|PASSWORD)[\"']? ?[=:] ?[\"']?"
    r"(?P<value>[A-Za-z0-9+/_~!@#%^&*-]{14,256}={0,2})(?![A-Za-z0-9.(\[{])"
    r"|(?<![A-Za-z0-9_])(?:[Aa]uthorization|AUTHORIZATION)[\"']? ?: ?[\"']?[Bb]earer (?P<bearer>[A-Za-z0-9._~+/-]{24,})"
)
_SAYS_SO = re.compile(r"(?i:example|your|changeme|placeholder|dummy|secret|password|xxx|insert|replace|redacted)")
"""Words of placeholders: a value that holds one was made up."""
_KEBAB = re.compile(r"[a-z]{2}(?:[-_]+(?:[A-Za-z][a-z]*|[A-Z]+)?[0-9]{0,4})*")
"""sk-fading-circle-wrapper1: names of styles, slugs of pages."""
_AWS_KEY = re.compile(
    r"(?:secret[_-]?access[_-]?key|aws[_-]?secret[_-]?key)[\\\"'`\s:=>]{1,8}(?P<key>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    re.IGNORECASE | re.ASCII,
)
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])(?P<token>eyJ[A-Za-z0-9_-]++={0,2}+\.[A-Za-z0-9_-]++={0,2}+(?:\.[A-Za-z0-9_-]*+)?)"
)
"""A whole token, which may be longer than a piece; the plugin's own pattern takes the square of a text's length."""
_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----")

# Their patterns take spaces in three places in a row, which over a long run of them takes the cube of its length.
_ASSIGNMENTS = frozenset({"cloudant", "ibm"})
_SPACES = re.compile(" +")

_PIECE, _OVERLAP = 3_000, 1_000
"""Characters of a piece, and of what it shares with the next one: no secret is longer, but for tokens of `_JWT`."""

_FEWEST_CHARACTERS, _LAST = 8, 32
"""A token has at least so many different characters among its last ones; sk-xxxxxxxx and its like are placeholders."""
_PLACEHOLDER = re.compile(
    r"[<\[{$%*.]|(?:your|my|the|some)?[-_]?(?:user(?:name)?|pass(?:word|wd)?|pwd|secret|token|key|x+|changeme)\Z",
    re.IGNORECASE,
)


_HERE = re.compile(
    r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|host\.docker\.internal|(?:[\w-]+\.)*(?:example|invalid|test)"
    r"|(?:[\w-]+\.)*example\.(?:com|net|org)|host(?:name)?)(?![\w.-])",
    re.IGNORECASE | re.ASCII,
)
"""Hosts whose passwords open nothing."""


def holds_token(text: str) -> bool:
    """Whether `text` holds a token with one of the prefixes of `hub`."""
    return any(map(_is_token, _OWN_TOKEN.finditer(text)))


def _is_token(match: re.Match[str]) -> bool:
    found = match.group()
    if not any(map(str.isdigit, found[3:])) or not _is_varied(found):
        return False
    return not (found.startswith("sk-") and _KEBAB.fullmatch(found))


def _is_varied(found: str) -> bool:
    """Whether a token is more than a placeholder."""
    if re.search("EXAMPLE|YOUR[-_]", found, re.IGNORECASE):
        return False
    return len(set(found[-_LAST:])) >= _FEWEST_CHARACTERS


def holds_assigned(text: str) -> bool:
    """Whether `text` gives a value drawn at random to a name that ends in KEY, TOKEN, SECRET or PASSWORD, or a bearer's."""
    return any(_is_random(match["value"] or match["bearer"]) for match in _NAMED.finditer(text))


def _is_random(value: str) -> bool:
    """Whether letters and digits are mixed as in what is drawn: digits in several places, and hardly a character twice."""
    if _SAYS_SO.search(value) or not _is_varied(value) or _KEBAB.fullmatch(value):
        return False
    changes = len(re.findall(r"[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])", value))
    return changes >= 3 and (changes >= 4 or _is_mixed(value)) and _entropy(value) >= _LEAST_ENTROPY


_LEAST_ENTROPY = 3.0
"""Bits a character; 40 hexadecimal digits have about 3.7 of at most 4."""


def _entropy(value: str) -> float:
    shares = [value.count(one) / len(value) for one in set(value)]
    return -sum(share * log2(share) for share in shares)


def holds_private_key(text: str) -> bool:
    """Whether `text` holds the header of a private key in PEM, encrypted or not."""
    return _PEM.search(text) is not None


@lru_cache(maxsize=1)
def _detectors() -> dict[str, "BasePlugin"]:
    """The plugins of detect-secrets by our names."""
    from detect_secrets.plugins import (
        artifactory,
        aws,
        azure_storage_key,
        basic_auth,
        cloudant,
        discord,
        github_token,
        gitlab_token,
        ibm_cloud_iam,
        jwt,
        mailchimp,
        npm,
        openai,
        private_key,
        pypi_token,
        sendgrid,
        slack,
        square_oauth,
        stripe,
        telegram_token,
        twilio,
    )

    return {
        "artifactory": artifactory.ArtifactoryDetector(),
        "aws": aws.AWSKeyDetector(),
        "azure": azure_storage_key.AzureStorageKeyDetector(),
        "basic_auth": basic_auth.BasicAuthDetector(),
        "cloudant": cloudant.CloudantDetector(),
        "discord": discord.DiscordBotTokenDetector(),
        "git_hub": github_token.GitHubTokenDetector(),
        "git_lab": gitlab_token.GitLabTokenDetector(),
        "ibm": ibm_cloud_iam.IbmCloudIamDetector(),
        "jwt": jwt.JwtTokenDetector(),
        "mailchimp": mailchimp.MailchimpDetector(),
        "npm": npm.NpmDetector(),
        "openai": openai.OpenAIDetector(),
        "private_key": private_key.PrivateKeyDetector(),
        "pypi": pypi_token.PypiTokenDetector(),
        "send_grid": sendgrid.SendGridDetector(),
        "slack": slack.SlackDetector(),
        "square": square_oauth.SquareOAuthDetector(),
        "stripe": stripe.StripeDetector(),
        "telegram": telegram_token.TelegramBotTokenDetector(),
        "twilio": twilio.TwilioKeyDetector(),
    }


def pieces(text: str) -> Iterator[str]:
    """`text` in overlapping pieces: some of the plugins' patterns take a time that grows with the square of a text."""
    for start in range(0, max(len(text) - _OVERLAP, 1), _PIECE - _OVERLAP):
        yield text[start : start + _PIECE]


def finder(plugin: str) -> Callable[[str], bool]:
    """What tells whether a text of any length holds a secret of the kind that `plugin` looks for."""
    hint = HINTS[plugin]
    own = _OWN.get(plugin, lambda text: False)
    theirs = _theirs(plugin) if plugin not in _OWN_ONLY else lambda text: False

    def holds(text: str) -> bool:
        return own(text) or any(map(theirs, pieces(text)))

    if not _LITERAL.match(hint):
        return holds
    return lambda text: hint in text and holds(text)


def _theirs(plugin: str) -> Callable[[str], bool]:
    """What tells by the plugin of detect-secrets whether a piece of text holds a secret."""
    detector = _detectors()[plugin]
    found = detector.analyze_string
    if plugin == "basic_auth":
        return lambda text: any(map(_is_login, _matches(detector, text)))
    if plugin == "artifactory":
        return lambda text: any(map(_is_mixed, found(text)))
    if plugin == "aws":
        return lambda text: any(map(_is_varied, found(text)))
    if plugin == "slack":
        return lambda text: any(_is_varied(one.rsplit("/", 1)[-1]) for one in found(text))
    if plugin in _ASSIGNMENTS:
        return lambda text: any(map(_is_varied, found(_SPACES.sub(" ", text))))
    return lambda text: any(True for _ in found(text))


def _matches(detector: "BasePlugin", text: str) -> Iterator[re.Match[str]]:
    return (match for pattern in detector.denylist for match in pattern.finditer(text))


def _is_login(match: re.Match[str]) -> bool:
    """Whether a URL's user and password open something."""
    user, _, password = match.group().removeprefix("://").removesuffix("@").partition(":")
    if _PLACEHOLDER.match(password) or user.lower() == password.lower():
        return False
    return not _HERE.match(match.string, match.end())


def _is_mixed(found: str) -> bool:
    """Whether digits, capitals and small letters stand in a token, as in all that are drawn at random."""
    return all(any(map(test, found)) for test in (str.isdigit, str.isupper, str.islower))


def holds_aws_key(text: str) -> bool:
    """Whether `text` holds the secret half of an AWS key beside its name, in quotes or not."""
    return any(_is_varied(match["key"]) and _is_mixed(match["key"]) for match in _AWS_KEY.finditer(text))


def holds_jwt(text: str) -> bool:
    """Whether `text` holds a JSON web token of any length."""
    sound = _detectors()["jwt"].is_formally_valid
    return any(sound(match["token"]) for match in _JWT.finditer(text))


def _holds_entropy(text: str) -> bool:
    return any(
        detector.calculate_shannon_entropy(one) > detector.entropy_limit
        for detector in _entropy_detectors()
        for one in detector.analyze_string(text)
    )


_OWN: dict[str, Callable[[str], bool]] = {
    "aws": holds_aws_key,
    "high_entropy": _holds_entropy,
    "hub": lambda text: holds_token(text) or holds_assigned(text),
    "jwt": holds_jwt,
    "private_key": holds_private_key,
}
"""What takes a whole text of any length, in a time that grows with it."""
_OWN_ONLY = frozenset({"high_entropy", "hub"})


@lru_cache(maxsize=1)
def _entropy_detectors() -> tuple:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString, HexHighEntropyString

    return Base64HighEntropyString(), HexHighEntropyString()


@dataclass(frozen=True)
class NoSecrets:
    """Keeps rows in whose texts the `plugins` find nothing (where it is empty: all but those that go by chance)."""

    plugins: tuple[str, ...]
    texts: tuple[str, ...]
    reason = "secrets"

    @property
    def label(self) -> str:
        return f"secrets: {written({'plugins': self.plugins} if self.plugins else True)}"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.texts

    @cached_property
    def _scan(self) -> Scan:
        chosen = list(self._chosen())
        hint = "|".join(HINTS[plugin] for plugin in chosen)
        finders = [finder(plugin) for plugin in chosen]
        return Scan(self.texts, hint, lambda text: any(found(text) for found in finders))

    def _chosen(self) -> Iterator[str]:
        return (
            plugin for plugin in PLUGINS if plugin in self.plugins or (not self.plugins and plugin not in BY_CHANCE)
        )

    def keep(self, row: Answer) -> bool:
        return not self._scan.hits(row)

    def mask(self, batch: Columns) -> Mask:
        return ~self._scan.hit_mask(batch)
