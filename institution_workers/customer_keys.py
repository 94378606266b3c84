"""One key per customer for whatever is written of him into logs that forget nothing; destroying it makes all of that unreadable.

Asked by whoever writes dead letters; `erasure` destroys.
Never leaves the state file, and never keeps a key for who has been erased."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from federation.secagg.keys import KEY_BYTES, Entropy, Secret, drawn

ID_BYTES: Final = 16
NOBODY: Final = ""  # Whose key seals what names no customer: it is kept for as long as the log keeps what it seals.


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A key and the name by which what it seals refers to it."""

    id: bytes
    secret: Secret = field(compare=False)


class CustomerKeys:
    """The table of keys, inside the store's turns."""

    def __init__(self, database: sqlite3.Connection, entropy: Entropy) -> None:
        self._database: Final = database
        self._entropy: Final = entropy

    def of(self, customer: str, *, kept: bool = True) -> CustomerKey:
        """The customer's key, drawn when it is first needed; not `kept`: a new one that nobody will have, for who has been erased."""
        row = self._database.execute("SELECT id, key FROM customer_keys WHERE customer = ?", (customer,)).fetchone()
        if row is not None:
            return CustomerKey(row[0], Secret(row[1]))
        made = CustomerKey(drawn(self._entropy, ID_BYTES), Secret(drawn(self._entropy, KEY_BYTES)))
        if kept:
            self._database.execute("INSERT INTO customer_keys VALUES (?, ?, ?)", (customer, made.id, made.secret.reveal()))
        return made

    def destroy(self, customer: str) -> int:
        """Overwrite the key; how many there were."""
        return self._database.execute("DELETE FROM customer_keys WHERE customer = ?", (customer,)).rowcount
