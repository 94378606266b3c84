"""The API keeps to its own document: schemathesis asks every operation, as an administrator's key, for what it declares and for what it does not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import schemathesis
from aiohttp import web as http
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from federation import messages as m
from federation.heads.credit import CreditEncoder
from federation.heads.head import Layout
from federation.heads.products import Catalogue
from tests.web.people import empty_window, people, somebody
from web.api import shapes
from web.api.document import document
from web.app import make_app
from web.identity.roles import Role, Scope
from web.routes import ROUTES
from web.wiring import SystemClock

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(document(ROUTES, console=False))
asked: set[str] = set()


def test_the_shapes_know_every_role_and_scope():
    """Nothing is left out of the document."""
    assert set(get_args(shapes.RoleName)) == set(Role)
    assert set(get_args(shapes.ScopeName)) == set(Scope)


def test_every_route_of_the_api_is_in_the_document():
    """None is there that is not described."""
    described = {(path, method.upper()) for path, methods in document(ROUTES, console=False)["paths"].items() for method in methods}

    assert described == {(route.path, route.method) for route in ROUTES if route.path.startswith("/api/v1/")}


def _model(head: m.HeadName, layout: Layout) -> m.ServingModel:
    vector = np.zeros(len(layout)).astype("<f8").tobytes()
    return m.ServingModel(
        head=head, version=1, epoch=1, round=1, layout_digest=layout.digest, vector=vector, events_learned=1, saved_at_ms=1
    )  # fmt: skip


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, key) of a portal in a thread of its own, with a model to recommend by."""
    folder: Path = tmp_path_factory.mktemp("portal")
    loop = asyncio.new_event_loop()
    ready: dict[str, str] = {}
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        async with people(folder, SystemClock()) as identity:
            await somebody(identity, Role.OFFICER)
            _, ready["key"] = await identity.keys.make("schemathesis", list(Scope), by="test")
            window = empty_window(identity, SystemClock())
            for head, layout in ((m.HeadName.PRODUCTS, Catalogue.shipped().layout), (m.HeadName.CREDIT, CreditEncoder.shipped().layout)):
                window.institution.customers.apply(_model(head, layout))
            runner = http.AppRunner(make_app(window), access_log=None)
            await runner.setup()
            await http.TCPSite(runner, "127.0.0.1", 0).start()
            ready["address"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
            started.set()
            await stop.wait()
            await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(30)
    yield ready["address"], ready["key"]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


@schema.parametrize()
@settings(
    max_examples=50 if "RIVERBANK_NIGHTLY" in os.environ else 3, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_the_api_keeps_to_its_document(case: schemathesis.Case, portal: tuple[str, str]):
    """No server error, no answer that is not declared."""
    address, key = portal
    asked.add(case.operation.label)
    headers = {"Authorization": f"Bearer {key}"}
    if case.path.startswith("/api/v1/keys/"):
        headers = {"Authorization": "Bearer unknown"}  # It must not revoke the key that asks.
    case.call_and_validate(base_url=address, headers=headers, checks=CHECKS)


def test_every_operation_was_asked():
    """All of the document."""
    if asked:  # With the test above deselected nothing was.
        assert asked == {f"{route.method} {route.path}" for route in ROUTES if route.api is not None}
