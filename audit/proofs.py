"""Proofs from a ledger on disk: that an entry stands under a signed checkpoint, and that one checkpoint goes on from an earlier size.

Called by `riverbank audit prove` and by whoever makes an evidence pack, while the writer runs or not.
Never proves anything under a root that nobody signed, unless the ledger has no signer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from audit.checkpoints import Checkpoint, parsed
from audit.frames import GENESIS, link_bytes
from audit.ledger import Entry, LedgerError, Nodes, read_entries
from audit.merkle import consistency_proof, inclusion_proof, root_of
from audit.signing import cosigned_note, last_signed
from federation.errors import OwnFault


@dataclass(frozen=True, slots=True)
class EntryProof:
    """`leaf_data`: the bytes whose leaf hash (RFC 9162) stands at `sequence`; `path`: the proof's hashes, from the leaf up."""

    sequence: int
    leaf_data: bytes = field(repr=False)
    path: tuple[bytes, ...]


class Prover:
    """One ledger's proofs, all under one checkpoint. `note`: the signed checkpoint; empty where the ledger is signed by nobody."""

    def __init__(self, directory: Path) -> None:
        """LedgerError if there is no ledger."""
        if not (directory / "segments").is_dir():
            raise LedgerError(f"there is no ledger in {directory} yet")
        self._directory: Final = directory
        self._node: Final = Nodes(directory / "nodes", writable=False)
        self.note = cosigned_note(directory) or ""
        last = last_signed(directory)
        if not self.note and last is not None:
            self.note = last[0].note
        if self.note:
            self.checkpoint = parsed(self.note)[0]
        else:
            size = self._node.count(0)
            self.checkpoint = Checkpoint("unsigned", size, root_of(size, self._node))

    def entry(self, sequence: int) -> EntryProof:
        """That this entry is one of the checkpoint's; OwnFault if it is not, TamperedError if it is not what was written."""
        if not 0 <= sequence < self.checkpoint.size:
            raise OwnFault(f"entry {sequence} is under no checkpoint yet: the newest cosigned one has {self.checkpoint.size} entries")
        previous = self._node(0, sequence - 1) if sequence else GENESIS
        found = next(read_entries(self._directory, sequence))
        return EntryProof(
            sequence, link_bytes(sequence, previous, found.content), tuple(inclusion_proof(sequence, self.checkpoint.size, self._node))
        )

    def consistency(self, size: int) -> tuple[bytes, ...]:
        """That the checkpoint goes on from the tree of the first `size` entries; OwnFault unless 0 < size <= the checkpoint's."""
        return tuple(consistency_proof(size, self.checkpoint.size, self._node))

    def matching(self, wanted: Callable[[Entry], bool]) -> Iterator[Entry]:
        """The checkpoint's entries that are `wanted`, in order; reads the ledger from its beginning."""
        for entry in read_entries(self._directory):
            if entry.sequence >= self.checkpoint.size:
                return
            if wanted(entry):
                yield entry

    def close(self) -> None:
        """Free the files."""
        self._node.close()
