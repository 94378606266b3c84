"""The audit shows everybody one history, or its witnesses say that it does not.

Run with the writer's own code, a log in memory, and the institution's witness over a real state file.
Never waits for a clock where an event will do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoints import parsed, verified, witnesses_of
from audit.frames import TamperedError
from audit.history import History, origin_of
from audit.ledger import Ledger, segments_of
from audit.signing import Checkpoints, cosigned_note, last_signed, open_ledger, verified_ledger
from audit.sources import Exchanges
from audit.writer import Writer
from federation import messages as m
from federation.members.directory import holds
from institution_workers.storage import Store
from institution_workers.witnessing import Witnessing
from streams.codec import decode
from streams.courier import Courier
from streams.identity import Identity
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.signed import open_record
from streams.topology import CHECKPOINTS, FEDERATION_TOPICS, partitions_of
from tests.audit.town import until
from tests.credentials import AUDIT, Credentials, KeyRing

FEDERATION = "delta"
BANKS = ("east", "north", "south")
NOW_MS = 1_764_000_000_000


class _Clock:
    now = NOW_MS

    def now_ms(self) -> int:
        return self.now


class Town:
    """A federation with an audit and witnesses, on one log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.credentials = Credentials(FEDERATION, BANKS)
        self.log = MemoryLog(partitions_of(FEDERATION_TOPICS), now_ms=lambda: NOW_MS)
        self.clock = _Clock()
        self.parties = Parties(self.log, federation=FEDERATION, ca_verify_key=self.credentials.ca_verify_key)

    def identity(self, party: str) -> Identity:
        return Identity(party, self.parties, lambda: KeyRing((self.credentials.keys[party],)))

    def checkpoints(self, ledger_dir: Path) -> Checkpoints:
        return Checkpoints(ledger_dir, self.log, self.parties, self.identity(AUDIT), clock=self.clock, every_ms=1)

    @asynccontextmanager
    async def witness(self, bank: str, **settings: Any) -> AsyncIterator[Witnessing]:
        store = Store.open(self.directory / bank, bank)
        courier = Courier(self.log, federation=FEDERATION, sender=bank, sign=self.credentials.keys[bank].sign)
        try:
            yield Witnessing(self.log, store, self.parties, self.identity(bank), courier, clock=self.clock, **settings)
        finally:
            store.close()

    async def sign(self, ledger_dir: Path, entries: list[bytes], *, cosigned: dict[str, int] | None = None) -> None:
        """As the writer does after a batch."""
        self.clock.now += 1000
        ledger = open_ledger(ledger_dir)
        try:
            ledger.append(entries)
            checkpoints = self.checkpoints(ledger_dir)
            checkpoints.history.cosigned_sizes |= cosigned or {}
            await checkpoints.sign_if_due(ledger)
        finally:
            ledger.close()

    def said(self) -> list[m.Message]:
        """Everything on checkpoints.v1."""
        return [
            open_record(
                record.value or b"", topic=CHECKPOINTS, federation=FEDERATION,
                verify=self.parties.directory.verify,
            ).message
            for record in self.log.records(CHECKPOINTS.full_name())
        ]  # fmt: skip

    def history(self) -> History:
        history = History(FEDERATION, self.parties.verify_keys)
        for message in self.said():
            history.apply(message)
        return history


@pytest.fixture
async def town(tmp_path: Path) -> Town:
    made = Town(tmp_path)
    await made.credentials.publish(made.log)
    await made.parties.catch_up()
    return made


def _cosigned_by(town: Town) -> dict[str, int]:
    return {said.actor: said.size for said in town.said() if isinstance(said, m.CheckpointCosigned)}


async def test_three_witnesses_cosign_and_the_note_stands_by_itself(town: Town, tmp_path: Path):
    """The writer signs, three institutions cosign, the writer collects: one note with four signatures, all of which hold."""
    ledger = open_ledger(tmp_path / "ledger")
    checkpoints, stop = town.checkpoints(tmp_path / "ledger"), asyncio.Event()
    writer = Writer(town.log, ledger, None, Exchanges(town.parties), checkpoints, flush_ms=0)
    running = asyncio.create_task(writer.run(stop))
    courier = town.credentials.courier(town.log, "north")
    await courier.send(courier.prepare_fault("a_fault", "south", "for an entry", None, NOW_MS))
    try:
        await until(lambda: len(town.log.records(CHECKPOINTS.full_name())) > 0)
        for bank in BANKS:
            async with town.witness(bank) as witness:
                await witness.step(0)
        await until(lambda: (best := checkpoints.history.best) is not None and len(best.cosigned) == 3)
    finally:
        stop.set()
        await running
        ledger.close()

    note = cosigned_note(tmp_path / "ledger")
    assert note is not None
    keys = {party: keys.verify_key for party, keys in town.credentials.keys.items()}
    checkpoint = verified(note, origin=origin_of(FEDERATION, AUDIT), verify_key=keys[AUDIT], verify=holds)
    assert checkpoint.size == 1
    assert sorted(witnesses_of(note, keys, holds)) == list(BANKS)


async def test_a_witness_follows_a_growing_log_through_restarts(town: Town, tmp_path: Path):
    for round_ in range(4):
        await town.sign(tmp_path / "ledger", [b"%d" % round_] * (round_ + 1), cosigned=_cosigned_by(town))
        async with town.witness("north") as witness:  # A new process each time: what it knows is in its state.
            await witness.step(0)

    assert verified_ledger(tmp_path / "ledger")[::2] == (10, 10)
    sizes = [said.size for said in town.said() if isinstance(said, m.CheckpointCosigned)]
    assert list(dict.fromkeys(sizes)) == [1, 3, 6, 10]  # The audit's restarts say the last one again, and so does the witness.


async def test_one_who_was_away_catches_up_with_the_newest_alone(town: Town, tmp_path: Path):
    """Compaction took what lay between: the newest checkpoint has a proof from where this witness stands."""
    await town.sign(tmp_path / "ledger", [b"1"])
    async with town.witness("north") as witness:
        await witness.step(0)
    for entry in (b"2", b"3", b"4"):
        await town.sign(tmp_path / "ledger", [entry], cosigned=_cosigned_by(town))
    town.log.truncate(CHECKPOINTS.full_name(), 0, len(town.log.records(CHECKPOINTS.full_name())) - 1)
    async with town.witness("north") as witness:
        await witness.step(0)

    assert _cosigned_by(town) == {"north": 4}


def _copied(source: Path, target: Path, entries: list[bytes]) -> None:
    """Another ledger of the same length with another history."""
    ledger = Ledger.open(target)
    ledger.append(entries)
    ledger.close()
    assert source != target


@pytest.mark.parametrize(
    ("others", "kind"),
    [([b"a", b"X", b"c"], "split_view"), ([b"a", b"X"], "rollback"), ([b"a", b"X", b"c", b"d"], "inconsistent")],
)
async def test_another_history_is_refused_recorded_and_shown(town: Town, tmp_path: Path, others: list[bytes], kind: str):
    """The audit signs a second history of the same, a smaller, or a larger size: the witness that knows the first refuses it, for good."""
    await town.sign(tmp_path / "ledger", [b"a", b"b", b"c"])
    async with town.witness("north") as witness:
        await witness.step(0)
        known = town.history().newest
        assert known is not None
        await town.sign(tmp_path / "other", others, cosigned={"north": 3} if len(others) > 3 else None)
        await witness.step(0)
        await town.sign(tmp_path / "other", [b"more"], cosigned={"north": 3})
        await witness.step(0)

    assert _cosigned_by(town) == {"north": 3}
    first = next(said for said in town.said() if isinstance(said, m.CheckpointRefused))
    assert (first.actor, first.kind, first.known_size, first.known_root) == ("north", kind, 3, known.checkpoint.root)
    assert (
        verified(first.note, origin=first.origin, verify_key=town.credentials.keys[AUDIT].verify_key, verify=holds).root
        != known.checkpoint.root
    )
    assert "north" in town.history().refused
    entries = [decode(_payload(record.value or b""), (m.AuditEntry,), 10_000) for record in town.log.records("audit.v1")]
    assert {(entry.action, entry.accused) for entry in entries if isinstance(entry, m.AuditEntry)} >= {(kind, AUDIT)}


def _payload(value: bytes) -> bytes:
    envelope = decode(value, (m.SignedRecord,), 100_000)
    assert isinstance(envelope, m.SignedRecord)
    return envelope.payload


async def test_a_crash_before_the_cosignature_is_said_cosigns_again(town: Town, tmp_path: Path):
    await town.sign(tmp_path / "ledger", [b"a"])

    def crash(_point: str) -> None:
        raise RuntimeError("power cut")

    async with town.witness("north", reach=crash) as witness:
        with pytest.raises(RuntimeError):
            await witness.step(0)
    assert _cosigned_by(town) == {}
    async with town.witness("north") as witness:
        await witness.step(0)

    assert _cosigned_by(town) == {"north": 1}


async def test_only_the_audit_signs_checkpoints(town: Town, tmp_path: Path):
    """An institution that signs one of its own is not heard."""
    ledger = open_ledger(tmp_path / "ledger")
    ledger.append([b"a"])
    forger = Checkpoints(tmp_path / "ledger", town.log, town.parties, town.identity("south"), clock=town.clock, every_ms=1)
    await forger.sign(ledger)
    ledger.close()
    async with town.witness("north") as witness:
        await witness.step(0)

    assert _cosigned_by(town) == {}


async def test_what_was_signed_and_not_said_is_said_at_the_next_start(town: Town, tmp_path: Path):
    """Killed between the disk and the log: the very same note comes, not another one of that size."""
    ledger = open_ledger(tmp_path / "ledger")
    ledger.append([b"a"])

    class _Gone(MemoryLog):
        async def append(self, _records):
            raise ConnectionResetError("killed here")

    gone = Checkpoints(tmp_path / "ledger", _Gone({}), town.parties, town.identity(AUDIT), clock=town.clock, every_ms=1)
    with pytest.raises(ConnectionResetError):
        await gone.sign(ledger)
    saved = last_signed(tmp_path / "ledger")
    await town.checkpoints(tmp_path / "ledger").sign_if_due(ledger)
    ledger.close()

    assert saved is not None
    assert town.said() == [saved[0]]


@pytest.mark.parametrize("damage", ["cut", "changed"])
async def test_a_ledger_that_lost_what_a_checkpoint_covers_is_not_opened(town: Town, tmp_path: Path, damage: str):
    await town.sign(tmp_path / "ledger", [b"a", b"b", b"c"])
    if damage == "changed":
        note = parsed(last_signed(tmp_path / "ledger")[0].note)[0]  # type: ignore[index]
        assert note.size == 3
        for path in (tmp_path / "ledger" / "segments").iterdir():
            path.unlink()
        for path in (tmp_path / "ledger" / "nodes").iterdir():
            path.unlink()
        _copied(tmp_path, tmp_path / "ledger", [b"a", b"X", b"c"])
    else:
        ((_, segment),) = segments_of(tmp_path / "ledger")
        segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(TamperedError, match="signed checkpoint" if damage == "changed" else "ends inside it"):
        verified_ledger(tmp_path / "ledger")
    with pytest.raises(TamperedError, match="signed checkpoint"):
        open_ledger(tmp_path / "ledger")


async def test_a_cosignature_that_does_not_hold_is_not_counted(town: Town, tmp_path: Path):
    await town.sign(tmp_path / "ledger", [b"a"])
    async with town.witness("north") as witness:
        await witness.step(0)
    history = town.history()
    newest = history.newest
    assert newest is not None
    good = next(said for said in town.said() if isinstance(said, m.CheckpointCosigned))
    forged = m.CheckpointCosigned(
        origin=good.origin, actor="south", size=good.size, root=good.root, line=good.line.replace("north", "south")
    )

    with pytest.raises(Exception, match="does not hold"):
        history.apply(forged)
    assert sorted(newest.cosigned) == ["north"]
