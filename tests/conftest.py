"""What many tests share: one embedded Kafka per session, for tests that carry the `broker` marker, and another with TLS and access lists.

Collected by pytest.
Never starts a broker unless a test asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from riverbank.embedded.kafka import EmbeddedKafka
from tests.pki import Pki
from tests.streams.secured import Secured


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedKafka]:
    """A running broker without topics; `.bootstrap` is its address. Tests choose topic names of their own."""
    directory: Path = tmp_path_factory.mktemp("kafka")
    async with EmbeddedKafka(directory) as kafka:
        yield kafka


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    """A running broker that knows everybody by certificate, without topics or access rules."""
    directory: Path = tmp_path_factory.mktemp("secured-kafka")
    pki = Pki(directory / "pki")
    async with EmbeddedKafka(directory / "kafka", tls=pki.broker()) as kafka:
        yield Secured(kafka, pki)
