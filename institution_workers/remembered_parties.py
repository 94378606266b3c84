"""What an institution has once known of the federation's parties, kept in its own state.

Made by `wiring`; read and written by `streams.parties`.
Never gives up an entry for an older one: a broker that shows an earlier log is not believed after a restart either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from institution_workers.storage import Store
from streams.ports import Record
from streams.topology import MEMBERS, PARTIES


class RememberedParties:
    """The newest record of each key of the two topics, as `streams.parties.Memory`. What is read back is verified again."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def recall(self) -> Iterable[Record]:
        """Certificates first, each topic in the order in which its records came."""
        for topic in (PARTIES.full_name(), MEMBERS.full_name()):
            yield from self._store.party_records(topic)

    def keep(self, record: Record) -> None:
        """Durable when this returns."""
        with self._store.turn():
            self._store.set_party_record(record)
