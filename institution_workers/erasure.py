"""One customer out of everything that the worker remembers, and the certificate that says so.

Called by `study` at the end of the turn that read the request, after everything else of that turn.
Never certifies what is not done: deletions, tombstone and certificate are one transaction, and the certificate is said after it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from federation.heads.behaviour import Behaviour
from federation.ids import digest_of
from federation.messages import ErasedPlace, ErasureAsked, ErasureCertified, ReadTo
from institution_workers.consents import Consents
from institution_workers.customer_keys import CustomerKeys
from institution_workers.ledger import Ledger
from institution_workers.recall import Recall
from institution_workers.storage import Store
from institution_workers.window import Window
from streams.codec import encode
from streams.topology import Cluster

WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Memories:
    """Where the worker keeps something of a customer."""

    store: Store
    recall: Recall
    window: Window
    behaviour: Behaviour
    consents: Consents
    ledger: Ledger
    keys: CustomerKeys

    def erase(self, customer: str, now_ms: int) -> list[ErasedPlace]:
        """Delete the customer everywhere; inside a turn of the store, whose other memories have been flushed. What comes of him later is not kept."""
        deleted = self.recall.erase(customer) | {
            "lessons": self.window.erase(customer),
            "behaviour": int(self.behaviour.erase(customer)),
            "spendings": self.ledger.erase(customer),
            "consents": self.consents.erase(customer, now_ms),
            "journal": self.store.unjournal(Cluster.OWN, customer.encode()),
        }
        keys = self.keys.destroy(customer)
        return [
            *(
                ErasedPlace(place=f"state: {table}", done="rows deleted and overwritten", items=items)
                for table, items in sorted(deleted.items())
            ),
            ErasedPlace(place="state: customer_keys", done="key destroyed: what it sealed in dead letters is unreadable", items=keys),
        ]


def customer_digest(customer: str, salt: bytes) -> bytes:
    """The commitment in a certificate: BLAKE2b-256 keyed with the request's salt (32 bytes)."""
    return hashlib.blake2b(customer.encode(), digest_size=32, key=salt).digest()


def certificate(
    asked: ErasureAsked, institution: str, places: Iterable[ErasedPlace], read_to: Iterable[ReadTo], *, now_ms: int
) -> ErasureCertified:
    """What is said of a finished erasure."""
    return ErasureCertified(
        request_id=asked.request_id, institution=institution, keeper=WORKER, customer_digest=customer_digest(asked.customer, asked.salt),
        request_digest=digest_of(encode(asked)), asked_at_ms=asked.asked_at_ms, erased_at_ms=now_ms, places=tuple(places), read_to=tuple(read_to),
    )  # fmt: skip
