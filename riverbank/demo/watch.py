"""What the demo knows of its federation: rounds, bytes, and each institution's progress and customers, read from all topics.

Run by `riverbank.demo.run`; shown by `screen`, summed up by `report`.
Never asks a process about itself: what is not in the log has not happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from federation import messages as m
from streams import topology
from streams.codec import decode
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.ports import Record
from streams.tls import Tls
from web.feed import Feed, federation_fold, keep_up, positions_of
from web.readmodels.institutions import Institutions
from web.readmodels.rounds import Rounds
from web.wiring import SystemClock

CUSTOMERS_KNOWN_MAX: Final = 2_000


class Watch:
    """Folds the federation's rounds and the institutions' own topics: it stands behind all of them, as nobody else does."""

    def __init__(self, bootstrap: str, tls: Tls, federation: str, ca_verify_key: bytes, institutions: Sequence[str]) -> None:
        self.rounds = Rounds()
        self.institutions = Institutions()
        self.first_model_ms: int | None = None
        self.first_round_ms: int | None = None
        self.first_round = asyncio.Event()
        self._customers: dict[str, list[str]] = {name: [] for name in institutions}
        self.dead_letters: Counter[m.RefusalReason] = Counter()
        self._log = KafkaLog(bootstrap, client_id="riverbank-demo", tls=tls)
        clock = SystemClock()
        self._parties = Parties(self._log, federation=federation, ca_verify_key=ca_verify_key)
        fold = federation_fold(self._parties, self._apply)
        rows = [topology.PROFILES, topology.DEAD_LETTERS, topology.PROGRESS]
        own = [row for name in institutions for row in positions_of(rows, name)]
        self._feeds = [
            Feed(self._log, positions_of([topology.ROUNDS]), fold, clock),
            Feed(self._log, own, self._fold_own, clock),
        ]

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_up(self._parties))
            for feed in self._feeds:
                group.create_task(feed.run())

    async def close(self) -> None:
        """Free the connection."""
        await self._parties.close()
        await self._log.close()

    def customers(self, institution: str) -> Sequence[str]:
        """Some customers of this institution that have a profile."""
        return self._customers[institution]

    def ended(self, head: m.HeadName) -> int:
        """Rounds of this head that ended, in a model or without one."""
        return self.rounds.heads[head].published + self.rounds.heads[head].abandoned

    def _apply(self, message: m.Message) -> None:
        self.rounds.apply(message)
        if isinstance(message, m.RoundOpened) and self.first_round_ms is None:
            self.first_round_ms = message.opened_at_ms
            self.first_round.set()
        if isinstance(message, m.ModelPublished | m.GroupsMerged) and self.first_model_ms is None:
            self.first_model_ms = message.published_at_ms

    async def _fold_own(self, record: Record) -> None:
        institution, _, name = record.topic.partition(".")
        if name == topology.PROFILES.name:
            known = self._customers[institution]
            if record.key is not None and len(known) < CUSTOMERS_KNOWN_MAX:
                known.append(record.key.decode())
        elif name == topology.PROGRESS.name:
            progress = decode(record.value or b"", topology.PROGRESS.carries, topology.PROGRESS.bytes_max)
            if isinstance(progress, m.LearningProgress):
                self.institutions.apply(progress.status)
        elif record.value is not None:
            letter = decode(record.value, topology.DEAD_LETTERS.carries, topology.DEAD_LETTERS.bytes_max)
            if isinstance(letter, m.DeadLetter):
                self.dead_letters[letter.reason] += 1
