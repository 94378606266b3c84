"""Where other processes of this user ask the audit writer: a Unix socket inside the embedded directory, one question per connection.

Opened by audit.writer, asked by audit.queries; one JSON line there, one JSON document back.
Never takes SQL, only names of queries, and never answers another user: the directory is its owner's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from audit.warehouse import Row, Value, WarehouseError
from federation.errors import OwnFault

Answer = Callable[[str, Mapping[str, Value]], Awaitable[list[Row]]]

_QUESTION_BYTES_MAX: Final = 64 * 1024
_PATH_BYTES_MAX: Final = 100  # The kernel's limit on a socket's name is 108, with the closing zero.
_log = structlog.get_logger(__name__)


def _socket(directory: Path) -> Path:
    return directory / "desk.sock"


def _too_long(path: Path) -> bool:
    return len(str(path).encode()) > _PATH_BYTES_MAX


@asynccontextmanager
async def open_desk(directory: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer questions while the context lasts."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(await _answered(await reader.readline(), answer)).encode())
            await writer.drain()
        except (ConnectionError, ValueError) as error:  # The asker went away, or its line has no end.
            _log.info("a question was not answered", error=str(error))
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    path = _socket(directory)
    if _too_long(path):
        _log.warning("path too long for a socket: while the audit writer runs, nobody else can ask", path=str(path))
        yield
        return
    path.unlink(missing_ok=True)  # A former writer's; this process holds the directory's lock now.
    server = await asyncio.start_unix_server(serve, path, limit=_QUESTION_BYTES_MAX)
    path.chmod(0o600)
    try:
        async with server:
            yield
    finally:
        path.unlink(missing_ok=True)


async def _answered(line: bytes, answer: Answer) -> Mapping[str, object]:
    try:
        question = json.loads(line)
        return {"rows": await answer(question["query"], question["parameters"])}
    except (KeyError, TypeError, ValueError) as error:
        return {"refused": f"not a question: {type(error).__name__}"}
    except OwnFault as error:
        return {"refused": str(error)}
    except WarehouseError as error:
        return {"failed": str(error)}


async def asked_of_the_writer(directory: Path, name: str, given: Mapping[str, Value]) -> list[Row] | None:
    """The writer's answer; None if no writer is there. OwnFault and WarehouseError as if asked here."""
    if _too_long(_socket(directory)):
        return None
    try:
        reader, writer = await asyncio.open_unix_connection(_socket(directory))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise WarehouseError(f"cannot ask the audit writer at {_socket(directory)}: {error.strerror or error}") from error
    try:
        writer.write(json.dumps({"query": name, "parameters": dict(given)}).encode() + b"\n")
        said = json.loads(await reader.read() or b'{"failed": "the audit writer stopped before it answered"}')
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    if "refused" in said:
        raise OwnFault(said["refused"])
    if "failed" in said:
        raise WarehouseError(said["failed"])
    rows: list[Row] = said["rows"]
    return rows
