"""What an audit writer reads: the federation's exchanges, or the actions of one institution's own processes.

Made by audit.writer; a source judges its records, and is told when they are safe.
Never decides where to read on: the ledger does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from audit.entries import judged_action, judged_exchange
from federation import messages as m
from streams.codec import encode
from streams.courier import key_of
from streams.parties import Parties
from streams.ports import Log, Outgoing, Record
from streams.signed import Opened
from streams.topology import ACTIONS, ACTIONS_LOGGED, AUDIT


class Source(Protocol):
    """One topic of one partition."""

    @property
    def topic(self) -> str:
        """Its full name."""
        ...

    async def judged(self, records: Sequence[Record]) -> list[m.LoggedRecord]:
        """What the ledger is to keep of them. Raises as the log."""
        ...

    async def safe(self, next_offset: int, entries: int) -> None:
        """Records before `next_offset` are on the disk, in a ledger of so many entries. Raises as the log."""
        ...

    async def close(self) -> None:
        """Free what it holds; it can be used again."""
        ...


class Exchanges:
    """The federation's: signed by who says them, whom `parties` knows."""

    topic: Final = AUDIT.full_name()

    def __init__(self, parties: Parties) -> None:
        self._parties: Final = parties

    async def judged(self, records: Sequence[Record]) -> list[m.LoggedRecord]:
        """As the protocol."""
        # Before every batch: a certificate is in the log before what its owner says, and for a revocation nobody would ask.
        await self._parties.catch_up()
        return [judged_exchange(record, self._open) for record in records]

    def _open(self, record: Record) -> Opened:
        return self._parties.opened(record, AUDIT)

    async def safe(self, next_offset: int, entries: int) -> None:
        """Nobody waits."""

    async def close(self) -> None:
        """As the protocol."""
        await self._parties.close()


class Actions:
    """An institution's: not signed, as nothing is on its own cluster; whoever may write the topic is believed."""

    def __init__(self, institution: str, log: Log) -> None:
        self.topic: Final = ACTIONS.full_name(institution)
        self._logged: Final = ACTIONS_LOGGED.full_name(institution)
        self._log: Final = log

    async def judged(self, records: Sequence[Record]) -> list[m.LoggedRecord]:
        """As the protocol."""
        return [judged_action(record) for record in records]

    async def safe(self, next_offset: int, entries: int) -> None:
        """Tells whoever waits (audit.auditor)."""
        said = m.ActionsLogged(next_offset=next_offset, entries=entries)
        await self._log.append([Outgoing(self._logged, 0, key_of(ACTIONS_LOGGED, said), encode(said))])

    async def close(self) -> None:
        """Nothing to free."""
