"""What many tests share: one embedded Kafka per session, for tests that carry the `broker` marker.

Collected by pytest.
Never starts the broker unless a test asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from riverbank.embedded.kafka import EmbeddedKafka


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedKafka]:
    """A running broker without topics; `.bootstrap` is its address. Tests choose topic names of their own."""
    directory: Path = tmp_path_factory.mktemp("kafka")
    async with EmbeddedKafka(directory) as kafka:
        yield kafka
