"""The audit's truth: an append-only ledger of chained entries on disk, synced before anybody is told, with the nodes of its Merkle tree.

Owned by the audit writer; read by `riverbank audit verify`, `prove` and `rebuild`.
Never changes an entry; only bytes that no checkpoint covers and that end in the middle of an entry are cut off, as a crash leaves them."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

import structlog

from audit import frames
from audit.frames import GENESIS, TamperedError, TornError
from audit.merkle import HASH_BYTES, Frontier, node_hash

SEGMENT_BYTES: Final = 64 << 20  # A new file is begun beyond this.
_NODE_FILES: Final = 48  # 2^48 entries are enough.
_log = structlog.get_logger(__name__)


class LedgerError(Exception):
    """The ledger cannot be used: in use, not writable, or not there; one sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `leaf`: its hash in the tree, 32 bytes."""

    sequence: int
    leaf: bytes
    content: bytes = field(repr=False)


def segments_of(directory: Path) -> list[tuple[int, Path]]:
    """(first sequence, file) of each segment, in order; none where there is no ledger."""
    return sorted((int(path.stem), path) for path in (directory / "segments").glob("*.frames"))


def read_entries(directory: Path, start: int = 0, *, previous: bytes | None = None) -> Iterator[Entry]:
    """Entries from `start` on, the chain checked along the way; `previous`: the leaf hash before `start`, where it is known.

    TamperedError (or TornError at the very end): the first entry that is not as it was written.
    """
    segments = segments_of(directory)
    expected, chain = (segments[0][0], GENESIS if segments[0][0] == 0 else None) if segments else (0, GENESIS)
    if segments and segments[0][0] != 0:
        raise TamperedError(0, "the beginning of the ledger is missing")
    for place, (first, path) in enumerate(segments):
        after = segments[place + 1][0] if place + 1 < len(segments) else None
        if after is not None and after <= start:
            expected, chain = after, None
            continue
        if first != expected:
            raise TamperedError(expected, f"the ledger goes on with entry {first}")
        if chain is None:
            chain = previous if first == start and previous is not None else _stated_previous(path, first)
        data = path.read_bytes()
        for _, leaf, content in frames.walk(data, expected, chain):
            if expected >= start:
                yield Entry(expected, leaf, content)
            expected, chain = expected + 1, leaf
        if after is not None and expected != after:
            raise TamperedError(expected, "the ledger ends inside it, and goes on in another file")


def _stated_previous(path: Path, sequence: int) -> bytes:
    """What the first entry of a segment says of the one before it, for a reader who does not begin at the beginning."""
    with path.open("rb") as file:
        head = file.read(frames.HEAD_BYTES + 8 + HASH_BYTES)
    if len(head) < frames.HEAD_BYTES + 8 + HASH_BYTES:
        raise TornError(sequence, "the ledger ends inside it")
    return head[-HASH_BYTES:]


class Nodes:
    """The hashes of all complete subtrees, a file per level; they follow from the entries and can be made again."""

    def __init__(self, directory: Path, *, writable: bool) -> None:
        self._directory = directory
        self._writable = writable
        self._files: dict[int, IO[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The node at a place; LedgerError if it is not there."""
        file = self._file(level)
        found = b"" if file is None else os.pread(file.fileno(), HASH_BYTES, index * HASH_BYTES)
        if len(found) != HASH_BYTES:
            raise LedgerError(f"node {level}/{index} of the audit's tree is missing: run `riverbank audit rebuild`")
        return found

    def count(self, level: int) -> int:
        """How many nodes of a level there are."""
        file = self._file(level)
        return 0 if file is None else os.fstat(file.fileno()).st_size // HASH_BYTES

    def write(self, level: int, start: int, hashes: Sequence[bytes]) -> None:
        """Put nodes of a level at `start`, and forget what lay beyond them."""
        file = self._file(level)
        if file is None:
            raise LedgerError("a ledger opened for reading takes no nodes")
        os.pwrite(file.fileno(), b"".join(hashes), start * HASH_BYTES)
        os.ftruncate(file.fileno(), (start + len(hashes)) * HASH_BYTES)

    def close(self) -> None:
        """Free the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, level: int) -> IO[bytes] | None:
        if level not in self._files:
            path = self._directory / f"level-{level:02}"
            if self._writable:
                path.touch(mode=0o600)
            elif not path.exists():
                return None
            self._files[level] = path.open("r+b" if self._writable else "rb")
        return self._files[level]


class Ledger:
    """One directory's ledger, open for appending by one process."""

    def __init__(self, directory: Path, lock: IO[bytes], nodes: Nodes) -> None:
        self._directory = directory
        self._lock = lock
        self.node: Final = nodes
        self._frontier = Frontier()
        self._last = GENESIS
        self._segment: IO[bytes] | None = None
        # Where the newest segment's entries begin, and last where they end: its owner reads from anywhere without looking for it.
        self._first = 0
        self._starts = array("Q", [0])

    @classmethod
    def open(cls, directory: Path, *, covered: int = 0) -> Self:
        """The ledger in a directory, made if there is none; `covered`: how many entries the newest checkpoint speaks of.

        LedgerError: in use or not writable. TamperedError: not what was written, or entries that a checkpoint covers are missing.
        """
        try:
            for name in ("segments", "nodes"):
                (directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (directory / "ledger.lock").open("ab")
        except OSError as error:
            raise LedgerError(f"cannot use the audit's ledger in {directory}: {error.strerror}") from error
        ledger = cls(directory, lock, Nodes(directory / "nodes", writable=True))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ledger._recover(covered)
        except BlockingIOError as error:
            ledger.close()
            raise LedgerError(f"another process has the audit's ledger in {directory} open") from error
        except BaseException:
            ledger.close()
            raise
        return ledger

    @property
    def size(self) -> int:
        """How many entries there are; the next one's sequence number."""
        return self._frontier.size

    def root(self) -> bytes:
        """Of all entries, 32 bytes."""
        return self._frontier.root()

    def append(self, contents: Sequence[bytes]) -> list[Entry]:
        """Put entries behind the last one; when this returns they are on the disk. OSError: the disk is full or broken; nothing was appended."""
        made, written, last = [], [], self._last
        for sequence, content in enumerate(contents, start=self.size):
            frame, last = frames.chained(sequence, last, content)
            written.append(frame)
            made.append(Entry(sequence, last, content))
        if not made:
            return made
        segment = self._writable_segment()
        before = self._starts[-1]
        try:
            segment.write(b"".join(written))
            segment.flush()
            os.fdatasync(segment.fileno())
        except OSError:
            # What is half written would stand in the way of the next attempt.
            with contextlib.suppress(OSError):
                os.ftruncate(segment.fileno(), before)
            segment.close()
            self._segment = None
            raise
        self._last = last
        for frame in written:
            self._starts.append(self._starts[-1] + len(frame))
        self._add_leaves([entry.leaf for entry in made])
        return made

    def read(self, start: int = 0) -> Iterator[Entry]:
        """Entries from `start` on, as many as there are when it is called; TamperedError as `read_entries`."""
        size = self.size
        if start < self._first:
            yield from itertools.islice(read_entries(self._directory, start), size - start)
        elif start < size:
            begin, end = self._starts[start - self._first], self._starts[size - self._first]
            with self._newest().open("rb") as file:
                data = os.pread(file.fileno(), end - begin, begin)
            previous = self.node(0, start - 1) if start else GENESIS
            for sequence, (_, leaf, content) in enumerate(frames.walk(data, start, previous), start=start):
                yield Entry(sequence, leaf, content)

    def close(self) -> None:
        """Free the files."""
        if self._segment is not None:
            self._segment.close()
        self.node.close()
        self._lock.close()

    # --- within -----------------------------------------------------------------------------------------------------
    def _add_leaves(self, leaves: Sequence[bytes]) -> None:
        """Not synced: whatever a crash loses of the nodes is made again from the entries."""
        levels: dict[int, list[bytes]] = {}
        start = self.size
        for leaf in leaves:
            for level, completed in enumerate(self._frontier.add(leaf)):
                levels.setdefault(level, []).append(completed)
        for level, hashes in levels.items():
            self.node.write(level, start >> level, hashes)

    def _recover(self, covered: int) -> None:
        size = self._cut_last_segment()
        if size < covered:
            raise TamperedError(size, f"it and what follows, up to entry {covered - 1}, are missing, and a signed checkpoint covers them")
        known = min(size, self.node.count(0))
        for level in range(1, _NODE_FILES):
            # A level may lag behind the one below it, or be ahead of what the disk kept of it.
            count, there = known >> level, self.node.count(level)
            if count == 0 and there == 0:
                break
            missing = range(min(there, count), count)
            self.node.write(
                level, missing.start, [node_hash(self.node(level - 1, 2 * at), self.node(level - 1, 2 * at + 1)) for at in missing]
            )
        self.node.write(0, known, [])
        self._frontier = Frontier.of(known, self.node)
        self._add_leaves([entry.leaf for entry in read_entries(self._directory, known)])

    def _cut_last_segment(self) -> int:
        """The number of entries; what a crash left of an unfinished one is cut off."""
        segments = segments_of(self._directory)
        if not segments:
            return 0
        self._first, path = segments[-1]
        data, sequence = path.read_bytes(), self._first
        self._starts = array("Q", [0])
        try:
            previous = GENESIS if sequence == 0 else _stated_previous(path, sequence)
            for after, self._last, _ in frames.walk(data, sequence, previous):
                sequence += 1
                self._starts.append(after)
        except TornError as torn:
            kept = self._starts[-1]
            _log.warning("an unfinished audit entry is cut off", sequence=torn.sequence, file=str(path), bytes=len(data) - kept)
            with path.open("r+b") as file:
                file.truncate(kept)
                os.fsync(file.fileno())
        if sequence == self._first:  # Begun, and nothing came.
            path.unlink()
            return self._cut_last_segment()
        return sequence

    def _newest(self) -> Path:
        return self._directory / "segments" / f"{self._first:016}.frames"

    def _writable_segment(self) -> IO[bytes]:
        if self._segment is not None and self._starts[-1] >= SEGMENT_BYTES:
            self._segment.close()
            self._segment = None
        if self._segment is None:
            if self._starts[-1] >= SEGMENT_BYTES or self.size == 0:
                self._first, self._starts = self.size, array("Q", [0])
            self._segment = self._newest().open("ab")
            self._newest().chmod(0o600)
            _sync_directory(self._newest().parent)
        return self._segment


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def verified_root(directory: Path, size: int | None = None) -> tuple[int, bytes]:
    """(entries, root) of the whole ledger, or of its first `size` entries, from the entries alone; every hash and link is checked.

    TamperedError names the first entry that is wrong, or the first that is missing of `size`.
    """
    frontier = Frontier()
    for entry in read_entries(directory):
        if frontier.size == size:
            break
        frontier.add(entry.leaf)
    if size is not None and frontier.size < size:
        raise TamperedError(frontier.size, f"it and what follows, up to entry {size - 1}, are missing")
    return frontier.size, frontier.root()
