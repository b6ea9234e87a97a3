"""Whether requests to GitHub and its answers are as GitHub's own OpenAPI description says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from openapi_core.testing import MockRequest, MockResponse

from fake_github.faults import MOVED
from fake_github.server import Exchange

SERVER = "https://api.github.com"


@cache
def description() -> OpenAPI:
    """The slice of the description that `scripts/openapi_slice.py` cut."""
    return OpenAPI.from_dict(json.loads((Path(__file__).parent / "described/openapi.json").read_bytes()))


def problems(exchange: Exchange, prefix: str = "") -> list[str]:
    """What is wrong with a request and with its answer.

    An answer that never came, that a fault mutilated, or whose status GitHub's description does not list
    for the operation (most of 4xx and 5xx) has nothing to be held to.
    """
    request = _request(exchange, prefix)
    found = []
    try:
        description().validate_request(request)
    except OpenAPIError as error:
        found.append(f"request {exchange.method} {request.path}: {_reason(error)}")
    if exchange.status and exchange.fault not in ("garbled", "without"):
        response = MockResponse(exchange.body, exchange.status, content_type="application/json")
        try:
            description().validate_response(request, response)
        except ResponseNotFound:
            assert exchange.status >= 300
        except OpenAPIError as error:
            found.append(f"answer {exchange.status} to {exchange.method} {request.path}: {_reason(error)}")
    return found


def _request(exchange: Exchange, prefix: str) -> MockRequest:
    parts = urlsplit(exchange.url)
    return MockRequest(
        SERVER,
        exchange.method.lower(),
        parts.path.removeprefix(prefix).removeprefix(MOVED),
        args=dict(parse_qsl(parts.query)),
        data=exchange.request_body or None,
        content_type=exchange.request_headers.get("Content-Type", ""),
    )


def _reason(error: BaseException) -> str:
    """What a schema refused, or else the innermost of an error's causes."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    details = [f"{detail.json_path} {detail.message[:200]}" for detail in getattr(inner, "schema_errors", ())]
    return "; ".join(details) or str(inner)[:200]
