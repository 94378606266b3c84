"""Every exchange can be found, by whoever may ask, whether the writer runs or not.

Run with the real engine.
Never finds what is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from audit import queries
from audit.desk import asked_of_the_writer, open_desk
from audit.entries import ENTRY_COLUMNS
from audit.index import Index
from audit.ledger import Ledger
from audit.queries import QUERIES, answer, ask
from audit.sources import Exchanges
from audit.warehouse import Row, Value, Warehouse, WarehouseError, embedded_directory
from audit.writer import Writer
from federation.errors import OwnFault
from federation.ids import digest_of
from tests.audit.town import NOW_MS, Town, entry, until


@pytest.fixture
async def filled(town: Town, warehouse: Warehouse, tmp_path: Path) -> Warehouse:
    """Three rounds of credit by north, one of fraud by south, a fault that south reports about north, one record refused."""
    await town.certify("north")
    await town.certify("south")
    await town.say(
        entry(0), entry(1), entry(2),
        entry(3, actor="south", head="fraud", round=1, action="SurvivorsAcked", size_bytes=7),
        entry(4, actor="south", action="bad_signature", topic="", outcome="does not hold", accused="north", round=0, epoch=0),
        b"junk",
    )  # fmt: skip
    ledger = Ledger.open(tmp_path / "ledger")
    writer = Writer(town.log, ledger, Index(warehouse), Exchanges(town.parties()), flush_ms=1)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: writer.written == 6)
    stop.set()
    await running
    ledger.close()
    return warehouse


async def _numbers(warehouse: Warehouse, given: Mapping[str, Value]) -> list[int]:
    """Which entries a search finds, by the time they were sent."""
    return [int(row["sent_at_ms"]) - NOW_MS for row in await answer(warehouse, "search", given)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"limit": 2}, [4, 3]),
        ({"head": "fraud"}, [3]),
        ({"round": 1}, [3, 0]),
        ({"round": 1, "head": "credit"}, [0]),
        ({"round": 0}, [4]),
        ({"epoch": 1, "actor": "north"}, [2, 1, 0]),
        ({"epoch": 0}, [4]),
        ({"actor": "south"}, [4, 3]),
        ({"accused": "north"}, [4]),
        ({"action": "SurvivorsAcked"}, [3]),
        ({"topic": "rounds.v1"}, [3, 2, 1, 0]),
        ({"entry": digest_of(b"exchange 1").hex()}, [1]),
        ({"payload_digest": digest_of(b"payload 2").hex()}, [2]),
        ({"payload_digest": "00" * 32}, []),
        ({"from_ms": NOW_MS + 1, "until_ms": NOW_MS + 3}, [2, 1]),
        ({"actor": "nobody' OR 1=1 --"}, []),
    ],
)
async def test_a_search_finds_exactly_what_was_asked_for(filled: Warehouse, given: dict[str, Value], found: list[int]) -> None:
    """Each filter alone and together, newest first; what is asked for is never read as SQL."""
    assert await _numbers(filled, given) == found


async def test_counts_add_up(filled: Warehouse) -> None:
    """Totals, the summary per actor, action and head, and the rounds."""
    first = {"first_sent_at_ms": NOW_MS, "last_sent_at_ms": NOW_MS + 2}
    assert await answer(filled, "totals") == [
        {"entries": 5, "actors": 2, "faults": 1, "bytes": 407, "last_logged_at_ms": NOW_MS, "refused": 1}
    ]
    assert (await answer(filled, "summary"))[0] == {
        "actor": "north", "action": "MaskedUpdate", "head": "credit", "entries": 3, "bytes": 300, **first
    }  # fmt: skip
    assert [(row["actor"], row["head"], row["action"]) for row in await answer(filled, "summary")][1:] == [
        ("south", "credit", "bad_signature"), ("south", "fraud", "SurvivorsAcked"),
    ]  # fmt: skip
    rounds = await answer(filled, "rounds")
    assert [(row["head"], row["round"], row["entries"]) for row in rounds] == [
        ("fraud", 1, 1), ("credit", 3, 1), ("credit", 2, 1), ("credit", 1, 1),
    ]  # fmt: skip
    assert [row["round"] for row in await answer(filled, "rounds", {"head": "credit", "limit": 2})] == [3, 2]


async def test_the_latest_are_those_the_log_took_last(filled: Warehouse) -> None:
    """In the log's order, whatever time their senders gave; with everything that is known about them."""
    (latest,) = await answer(filled, "latest", {"limit": 1})

    assert latest == {
        "sent_at_ms": NOW_MS + 4, "logged_at_ms": NOW_MS, "actor": "south", "action": "bad_signature", "topic": "", "head": "credit",
        "epoch": 0, "round": 0, "entry": entry(4).entry_id.hex(), "payload_digest": entry(4).digest.hex(), "size_bytes": 100,
        "schema_fingerprint": "0123456789abcdef", "software_version": "0.1.0", "outcome": "does not hold", "accused": "north",
        "sequence": 4, "log_offset": 4,
    }  # fmt: skip


async def test_an_empty_audit_answers_every_question(warehouse: Warehouse) -> None:
    """Nothing there is an answer too, and every query is sound SQL."""
    for name in QUERIES:
        rows = await answer(warehouse, name)
        assert rows == (
            [{"entries": 0, "actors": 0, "faults": 0, "bytes": 0, "last_logged_at_ms": 0, "refused": 0}] if name == "totals" else []
        )


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("everything", {}, "there is no query everything; known are totals, summary"),
        ("latest", {"head": "credit"}, "there is no parameter head; known are limit"),
        ("summary", {"head": "credit"}, "there is no parameter head; known are none"),
        ("latest", {"limit": "1"}, "limit must be of type int"),
        ("latest", {"limit": 0}, "limit must be 1 to 10000"),
        ("latest", {"limit": 10_001}, "limit must be 1 to 10000"),
        ("search", {"entry": "abc"}, "entry must be 64 lower-case hexadecimal digits"),
        ("search", {"payload_digest": "Z" * 64}, "payload_digest must be 64"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(warehouse: Warehouse, name: str, given: dict[str, Value], complaint: str) -> None:
    """The sentence says what would make sense."""
    with pytest.raises(OwnFault, match=complaint):
        await answer(warehouse, name, given)


async def test_another_process_asks_the_writer(filled: Warehouse, dsn: str) -> None:
    """While the directory is in use the writer's desk answers: the same rows, the same complaints."""
    directory = embedded_directory(dsn)
    assert directory is not None
    opening = asyncio.create_task(ask(dsn, "summary"))
    await asyncio.sleep(0.2)
    assert not opening.done(), "a writer may be between its lock and its desk"
    async with open_desk(directory, partial(answer, filled)):
        assert (directory / "desk.sock").stat().st_mode & 0o077 == 0
        assert await opening == await ask(dsn, "summary") == await answer(filled, "summary")
        assert await ask(dsn, "search", {"round": 3}) == await answer(filled, "search", {"round": 3})
        assert await asyncio.gather(*(ask(dsn, "totals") for _ in range(8))) == [await answer(filled, "totals")] * 8
        with pytest.raises(OwnFault, match="there is no query x"):
            await ask(dsn, "x")

    assert not (directory / "desk.sock").exists()


@pytest.mark.usefixtures("filled")
async def test_an_owner_without_a_desk_is_said_in_the_end(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks does not wait for ever."""
    monkeypatch.setattr("audit.queries._PATIENCE_S", 0.2)

    with pytest.raises(WarehouseError, match="is in use"):
        await ask(dsn, "summary")


async def test_the_writers_trouble_is_the_askers_answer(tmp_path: Path) -> None:
    """A warehouse that fails is said to whoever asked; the desk stays open."""

    async def fail(name: str, given: Mapping[str, Value]) -> list[Row]:
        raise WarehouseError(f"{name} with {len(given)} parameters cannot be answered")

    async with open_desk(tmp_path, fail):
        for _ in range(2):
            with pytest.raises(WarehouseError, match="totals with 0 parameters cannot be answered"):
                await asked_of_the_writer(tmp_path, "totals", {})


@pytest.mark.parametrize("line", [b"\n", b"junk\n", b"[]\n", b'{"query": "totals"}\n', b"", b"x" * 200_000])
async def test_nonsense_at_the_desk_harms_nobody(tmp_path: Path, line: bytes) -> None:
    """It is refused or hung up on, and the next question is answered."""

    async def nothing(name: str, given: Mapping[str, Value]) -> list[Row]:  # noqa: ARG001 As the port.
        return []

    async with open_desk(tmp_path, nothing):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "desk.sock")
        writer.write(line)
        writer.write_eof()
        said = await reader.read()
        writer.close()
        assert not said or "refused" in json.loads(said)

        assert await asked_of_the_writer(tmp_path, "totals", {}) == []


async def test_a_dead_writers_socket_is_no_obstacle(filled: Warehouse, dsn: str) -> None:
    """After a SIGKILL the socket's file stays: the asker opens the directory itself, the next writer replaces the file."""
    directory = embedded_directory(dsn)
    assert directory is not None
    async with open_desk(directory, partial(answer, filled)):
        (directory / "desk.sock").rename(directory / "kept")
    (directory / "kept").rename(directory / "desk.sock")
    expected = await answer(filled, "totals")
    await filled.close()

    assert await ask(dsn, "totals") == expected


async def test_a_path_too_long_for_a_socket_does_not_stop_the_writer(tmp_path: Path) -> None:
    """It runs without a desk."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()

    async with open_desk(deep, answer):  # type: ignore[arg-type]
        assert list(deep.iterdir()) == []
    assert await asked_of_the_writer(deep, "totals", {}) is None


def test_the_command_lines_functions(dsn: str, tmp_path: Path) -> None:
    """Plain functions for people without an event loop; before there is an audit, one sentence and no directory made."""
    with pytest.raises(WarehouseError, match=r"there is no audit in .* yet"):
        queries.summary(dsn)
    assert not (tmp_path / "audit").exists()

    async def fill() -> None:
        town, warehouse = Town(), await Warehouse.open(dsn)
        row = dict.fromkeys(ENTRY_COLUMNS, "x") | {"logged_at": NOW_MS, "sent_at": NOW_MS, "epoch": 1, "round": 2, "size_bytes": 3}
        row |= {"sequence": 0, "log_offset": 0} | dict.fromkeys(("entry_id", "digest", "record_digest"), b"d" * 32)
        await warehouse.insert("entries", ENTRY_COLUMNS, [tuple(row[name] for name in ENTRY_COLUMNS)])
        await warehouse.close()
        await town.log.close()

    asyncio.run(fill())

    assert queries.totals(dsn)["entries"] == 1
    assert queries.summary(dsn)[0]["bytes"] == 3
    assert queries.rounds(dsn, head="x", limit=1)[0]["round"] == 2
    assert queries.latest(dsn, limit=5) == queries.search(dsn, actor="x", round=2)
    assert queries.refused(dsn) == []
