"""Puts the JSON-LD context of RO-Crate 1.1 into the validator's cache, as if it had been fetched.

Run by validate_crate.py in the validator's own environment. The context is the one that the package rocrate carries.
"""

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
HEADERS = {"Content-Type": "application/ld+json"}


class Shipped(HTTPAdapter):
    """Answers every request with one text and asks no network."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self._text = text

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """The text, as the server would send it."""
        raw = HTTPResponse(io.BytesIO(self._text), HEADERS, status=200, reason="OK", preload_content=False)
        return self.build_response(request, raw)


def main(cache: str) -> None:
    """Fill `cache`, a path without the ending .sqlite."""
    package = Path(importlib.util.find_spec("rocrate").origin).parent
    text = (package / "data" / "ro-crate.jsonld").read_bytes()
    if json.loads(text)["@id"] != CONTEXT:
        sys.exit(f"{package} carries another context than {CONTEXT}")
    session = CachedSession(cache, backend="sqlite", expire_after=-1, allowable_methods=("GET",))
    session.mount("https://", Shipped(text))
    session.get(CONTEXT)
    if not session.get(CONTEXT).from_cache:
        sys.exit(f"{cache} does not keep {CONTEXT}")


if __name__ == "__main__":
    main(sys.argv[1])
