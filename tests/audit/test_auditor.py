"""An institution's processes write to its audit: what is acknowledged is on the disk, and while nothing is, nobody acts.

Run with a log in memory and a ledger on disk; the index with the real engine.
Never waits for a clock where an event will do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from audit.auditor import Auditor, AuditUnavailable
from audit.entries import logged_of
from audit.index import Index
from audit.ledger import Ledger, read_entries
from audit.pseudonyms import pseudonym
from audit.queries import answer
from audit.sources import Actions
from audit.warehouse import Warehouse
from audit.writer import Writer
from federation.errors import OwnFault
from federation.messages import ActionKind, ActionRecorded
from streams.codec import decode, encode
from streams.memory import MemoryLog
from streams.ports import LogUnavailable, Outgoing
from streams.topology import ACTIONS, ACTIONS_LOGGED, partitions_of
from tests.audit.town import NOW_MS, until

BANK = "north"
SOMEBODY = pseudonym(bytes(32), "customer 7")


class _Clock:
    def now_ms(self) -> int:
        return NOW_MS


class _Away(MemoryLog):
    """A log that takes nothing while it is away."""

    away = False

    async def append(self, records):
        if self.away:
            raise LogUnavailable("the broker is away")
        return await super().append(records)


@pytest.fixture
def log() -> _Away:
    return _Away(partitions_of((ACTIONS, ACTIONS_LOGGED), BANK), now_ms=lambda: NOW_MS)


def _auditor(log: MemoryLog, *, wait_s: float = 10) -> Auditor:
    numbers = count(1)
    return Auditor(
        log, institution=BANK, process="portal", clock=_Clock(), entropy=lambda size: next(numbers).to_bytes(size), wait_s=wait_s
    )


@asynccontextmanager
async def _writing(log: MemoryLog, ledger_dir: Path, warehouse: Warehouse | None = None) -> AsyncIterator[Writer]:
    ledger, stop = Ledger.open(ledger_dir), asyncio.Event()
    writer = Writer(log, ledger, None if warehouse is None else Index(warehouse), Actions(BANK, log), flush_ms=0)
    running = asyncio.create_task(writer.run(stop))
    try:
        yield writer
    finally:
        stop.set()
        await running
        ledger.close()


def _kept(ledger_dir: Path) -> list[ActionRecorded]:
    found = [decode(logged_of(entry).value, (ActionRecorded,), ACTIONS.bytes_max) for entry in read_entries(ledger_dir)]
    return [each for each in found if isinstance(each, ActionRecorded)]


async def test_an_acknowledged_entry_is_in_the_ledger(log: _Away, tmp_path: Path):
    """As soon as `record` returns, the entry is read back from the disk."""
    async with _auditor(log) as auditor, _writing(log, tmp_path):
        said = await auditor.record(ActionKind.CASE, "claimed", actor="u-17", subject=SOMEBODY, detail={"case": "c-1", "at": "queue"})

        assert _kept(tmp_path) == [said]
        assert list(said.detail) == ["at", "case"]


async def test_many_at_once_are_all_acknowledged(log: _Away, tmp_path: Path):
    async with _auditor(log) as auditor, _writing(log, tmp_path):
        said = await asyncio.gather(*(auditor.record(ActionKind.LOGIN, "logged_in", actor=f"u-{number}") for number in range(50)))

        assert sorted(each.actor for each in _kept(tmp_path)) == sorted(each.actor for each in said)


async def test_while_the_writer_is_down_nobody_may_act_and_afterwards_everybody_may(log: _Away, tmp_path: Path):
    """The first waits in vain, the next is refused at once; when the writer is back, both are in the ledger's order and new ones pass."""
    async with _auditor(log, wait_s=0.05) as hasty:
        with pytest.raises(AuditUnavailable, match=r"within 0\.05 seconds"):
            await hasty.record(ActionKind.DECISION, "approved", actor="u-1", key="d-1")
        with pytest.raises(AuditUnavailable, match="an earlier entry"):
            await hasty.record(ActionKind.DECISION, "approved", actor="u-1", key="d-2")
        assert len(log.records(ACTIONS.full_name(BANK))) == 1

    async with _auditor(log) as auditor:
        missed = asyncio.create_task(auditor.record(ActionKind.DECISION, "approved", actor="u-1", key="d-1"))
        await until(lambda: len(log.records(ACTIONS.full_name(BANK))) == 2)
        async with _writing(log, tmp_path):
            said = await missed
            assert [each.entry_id for each in _kept(tmp_path)] == [said.entry_id] * 2  # Sent twice, the same action.
            await auditor.record(ActionKind.DECISION, "approved", actor="u-1", key="d-3")


async def test_the_same_process_recovers_without_a_restart(log: _Away, tmp_path: Path):
    async with _auditor(log, wait_s=1) as auditor:
        with pytest.raises(AuditUnavailable):
            await auditor.record(ActionKind.CONSENT, "withdrawn", actor="u-1")
        async with _writing(log, tmp_path):
            async with asyncio.timeout(10):
                while True:
                    try:
                        await auditor.record(ActionKind.CONSENT, "given", actor="u-1")
                        break
                    except AuditUnavailable:
                        await asyncio.sleep(0.01)

            assert [each.action for each in _kept(tmp_path)] == ["withdrawn", "given"]


async def test_a_broker_that_is_away_is_the_audit_being_away(log: _Away, tmp_path: Path):
    async with _auditor(log) as auditor, _writing(log, tmp_path):
        await auditor.record(ActionKind.LOGIN, "logged_in", actor="u-1")
        log.away = True
        with pytest.raises(AuditUnavailable, match="does not take audit entries"):
            await auditor.record(ActionKind.LOGIN, "logged_in", actor="u-2")
        log.away = False


async def test_what_has_happened_is_noted_without_waiting(log: _Away):
    async with _auditor(log) as auditor:
        await auditor.note(ActionKind.PRIVACY, "spent", actor="worker", detail={"epsilon": "0.12"})

        assert len(log.records(ACTIONS.full_name(BANK))) == 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"subject": "customer 7"}, "pseudonym"),
        ({"actor": "a name with spaces"}, "actor"),
        ({"action": "Approved!"}, "snake_case"),
        ({"detail": {"amount": "x" * 201}}, "longer than 200"),
        ({"detail": {f"part_{number}": "" for number in range(17)}}, "more than 16"),
        ({"detail": {"Income": "1"}}, "a name in detail"),
    ],
)
async def test_what_is_no_entry_is_refused_before_it_is_sent(log: _Away, given: Mapping[str, object], complaint: str):
    asked = {"action": "approved", "actor": "u-1"} | dict(given)
    async with _auditor(log) as auditor:
        with pytest.raises(OwnFault, match=complaint):
            await auditor.record(ActionKind.DECISION, asked.pop("action"), **asked)  # type: ignore[arg-type]

        assert log.records(ACTIONS.full_name(BANK)) == ()


async def test_what_others_write_into_the_topic_is_kept_as_refused_and_found(log: _Away, tmp_path: Path, warehouse: Warehouse):
    """Junk, an entry with a customer's name, and a good entry: the ledger has all three, the index the good one as an action."""
    async with _auditor(log) as auditor:
        good = await auditor.note(ActionKind.EXPORT, "exported", actor="u-2", subject=SOMEBODY, detail={"format": "json"})
        (lying,) = log.records(ACTIONS.full_name(BANK))
        assert lying.value is not None
    named = ActionRecorded(**({name: getattr(good, name) for name in ActionRecorded.__slots__} | {"subject": "customer 7"}))
    await log.append([Outgoing(ACTIONS.full_name(BANK), 0, b"", value) for value in (b"junk", encode(named), None)])
    async with _writing(log, tmp_path / "ledger", warehouse) as writer:
        await until(lambda: writer.indexed == 4)

    (row,) = await answer(warehouse, "actions", {"kind": "export", "subject": SOMEBODY})
    assert (row["actor"], row["action"], json.loads(str(row["detail"])), row["sequence"]) == ("u-2", "exported", {"format": "json"}, 0)
    assert await answer(warehouse, "actions", {"kind": "login"}) == []
    refused = await answer(warehouse, "refused")
    assert sorted(str(each["reason"]) for each in refused) == ["invalid", "malformed", "malformed"]


def test_a_pseudonym_needs_the_key_to_be_told():
    assert pseudonym(b"\1" * 32, "customer 7") != SOMEBODY != pseudonym(bytes(32), "customer 8")
    with pytest.raises(OwnFault, match="32 bytes"):
        pseudonym(b"short", "customer 7")
