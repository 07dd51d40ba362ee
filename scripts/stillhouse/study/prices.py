"""What a model behind an API costs: the study's price, else that of the library genai-prices for the provider's URL."""

import functools
import ipaddress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from stillhouse.study.models import Model, OpenAIModel, Price

THOUSAND = 1_000
LISTED_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
"""The moment whose prices count: some change by the hour, and a cost report must not. It moves with the library's pin."""


def price_of(model: Model) -> Price | None:
    """USD per million tokens; None when the model runs here, and when nobody knows its price."""
    if not isinstance(model, OpenAIModel):
        return None
    return model.price or _listed(model.model, model.base_url)


@functools.cache
def _listed(name: str, url: str) -> Price | None:
    """The list price of model `name` at the provider behind `url`, as the installed release of the library has it."""
    if not _public(urlsplit(url).hostname or ""):  # the library takes a while to load, and knows no server of one's own
        return None
    from genai_prices import Usage, calc_price

    found = []
    for usage in (Usage(input_tokens=THOUSAND, output_tokens=0), Usage(input_tokens=0, output_tokens=THOUSAND)):
        try:
            price = calc_price(usage, name, provider_api_url=url, genai_request_timestamp=LISTED_AT)
            found.append(float(price.total_price) * THOUSAND)
        except (LookupError, ValueError):
            return None
    # an entry without prices is no gift: some are priced by the hour, of some nothing is known
    return Price(input=round(found[0], 6), output=round(found[1], 6)) if any(found) else None


def _public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host
