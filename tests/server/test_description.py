"""The interface keeps to its own description: every operation, fed with all that the description allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from innkeeper.server.app import bare_app
from tests.serving import Service

DESCRIPTION = bare_app().openapi()
SCHEMAS = DESCRIPTION["components"]["schemas"]

#: Streams do not end.
_STREAMS = {"follow_events", "follow_task"}

interface = schemathesis.openapi.from_dict(DESCRIPTION).exclude(
    lambda context: context.operation.definition.raw.get("operationId") in _STREAMS
)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a real service that these tests may do with as they like."""
    service = Service(tmp_path_factory.mktemp("described"), machines=6, speed=600)
    service.start()
    with service.http() as client:
        yield client
    service.end()


@interface.parametrize()
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case[Any], http: httpx.Client) -> None:
    """No server error, no status, media type or body that the description does not have."""
    asked = case.as_transport_kwargs(base_url="http://innkeeper")
    asked.pop("cookies", None)
    answer = http.request(**asked)
    case.validate_response(
        answer,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "properties" in schema])
def test_every_message_has_an_example_that_it_is(name: str) -> None:
    """Whoever copies it sends what the service understands."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    for example in SCHEMAS[name]["examples"]:
        jsonschema_rs.validate(schema, example)
