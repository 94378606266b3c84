"""What the audit's tests share: a federation in memory, and a warehouse with the real engine.

Collected by pytest.
Never leaves an engine open: a process can hold one directory at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from audit.warehouse import Warehouse
from tests.audit.town import Town


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    return f"chdb://{tmp_path / 'audit'}"


@pytest.fixture
async def warehouse(dsn: str) -> AsyncIterator[Warehouse]:
    opened = await Warehouse.open(dsn)
    yield opened
    await opened.close()
