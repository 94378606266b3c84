"""What customers permit and refuse, as they last stated it, against the grounds that the institution's settings name.

Told and asked by `learner` and `study`, and by the vertical worker's `intake`, inside the store's turns.
Never takes silence for a consent, and never lets a later default undo what a customer has stated."""

from __future__ import annotations

import sqlite3
from typing import Final

from federation.messages import ConsentsStated, HeadName, Purpose
from institution_workers.ingest import Refusal, read_statement
from institution_workers.ledger import DAY_MS, digest_of_customer
from streams.ports import Record
from streams.settings import PurposesSettings


class Consents:
    """The table of statements. A record's statement holds for every record after it, in the log's order."""

    def __init__(self, database: sqlite3.Connection, purposes: PurposesSettings) -> None:
        self._database: Final = database
        self._purposes: Final = purposes

    def heed(self, record: Record) -> Refusal | None:
        """What a record of CONSENTS says holds from now on; a tombstone: its customer has said nothing. A refused record changes nothing."""
        if record.value is None:
            self.forget((record.key or b"").decode(errors="replace"))
            return None
        stated = read_statement(record)
        if isinstance(stated, Refusal):
            return stated
        self.take(stated)
        return None

    def take(self, stated: ConsentsStated) -> None:
        """Hold this for the whole truth about its customer from now on."""
        self.forget(stated.customer)
        self._database.execute("UPDATE erased SET returned = 1 WHERE customer = ?", (digest_of_customer(stated.customer),))
        said = [
            (stated.customer, purpose.value, permitted) for permitted, of in enumerate((stated.refused, stated.permitted)) for purpose in of
        ]
        self._database.executemany("INSERT OR IGNORE INTO consents VALUES (?, ?, ?)", said)

    def forget(self, customer: str) -> int:
        """He has said nothing; how many rows went."""
        return self._database.execute("DELETE FROM consents WHERE customer = ?", (customer,)).rowcount

    def erase(self, customer: str, now_ms: int) -> int:
        """Forget what he said, and remember by a digest that nothing of him is to be kept, until he states something again; how many rows went."""
        rows = self.forget(customer)
        self.suppress(customer, now_ms)
        return rows

    def suppress(self, customer: str, now_ms: int) -> None:
        """From this record on nothing of him is kept."""
        row = (digest_of_customer(customer), now_ms // DAY_MS)
        self._database.execute(
            "INSERT INTO erased VALUES (?, ?, 0) ON CONFLICT DO UPDATE SET day = max(day, excluded.day), returned = 0", row
        )

    def erased(self, customer: str) -> bool:
        """Whether he was erased and has stated nothing since; nobody's events ("") are of one who was."""
        if not customer:
            return True
        row = self._database.execute("SELECT returned FROM erased WHERE customer = ?", (digest_of_customer(customer),)).fetchone()
        return row is not None and not row[0]

    def stated(self, customer: str, purpose: Purpose) -> bool | None:
        """What he said of a purpose; None if nothing."""
        row = self._database.execute(
            "SELECT permitted FROM consents WHERE customer = ? AND purpose = ?", (customer, purpose.value)
        ).fetchone()
        return None if row is None else bool(row[0])

    def learns(self, head: HeadName, customer: str, *, consented: bool) -> bool:
        """Whether a head may learn from a customer's event; `consented`: what the event itself says, which counts where consent is the ground."""
        ground = self._purposes.learning_of(head)
        return (
            not self.erased(customer)
            and (consented or ground.basis != "consent")
            and ground.permits(self.stated(customer, Purpose.LEARNING))
        )

    def shares(self, head: HeadName, customer: str) -> bool:
        """Whether what a head has learned from a customer may be part of a sum; what no longer may be learned may not be shared either."""
        permitted = self._permits(customer, Purpose.FEDERATION)
        return permitted and self.learns(head, customer, consented=True)

    def decides(self, customer: str) -> bool:
        """Whether a score may decide about him by itself (GDPR art. 22)."""
        return self._permits(customer, Purpose.AUTOMATED_DECISIONS)

    def _permits(self, customer: str, purpose: Purpose) -> bool:
        return self._purposes.of(purpose).permits(self.stated(customer, purpose))
