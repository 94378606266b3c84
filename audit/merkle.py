"""The Merkle tree of the audit (RFC 9162, section 2.1, which is RFC 6962's tree): roots, proofs, and their verification.

Called by audit.ledger, which keeps the nodes, and by whoever verifies.
Never touches a file: where nodes lie is the caller's affair."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from federation.errors import OwnFault

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""(level, index) -> the hash of the complete subtree over leaves index * 2^level to (index + 1) * 2^level - 1, 32 bytes."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes (section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes (section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: enough to add leaves and to say the root; O(log size) hashes."""

    def __init__(self) -> None:
        """Of an empty tree."""
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []  # (level, hash) of the complete subtrees, largest first.

    @classmethod
    def of(cls, size: int, node: Node) -> Frontier:
        """The right edge of a tree of this size whose nodes are known."""
        frontier = cls()
        frontier.size, at = size, 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                frontier._peaks.append((level, node(level, at >> level)))
                at += 1 << level
        return frontier

    def add(self, leaf: bytes) -> list[bytes]:
        """Add a leaf's hash; the hashes of the subtrees it completes, of level 0 (itself), 1, 2, ..."""
        completed = [leaf]
        self.size += 1
        while self._peaks and self._peaks[-1][0] == len(completed) - 1:
            completed.append(node_hash(self._peaks.pop()[1], completed[-1]))
        self._peaks.append((len(completed) - 1, completed[-1]))
        return completed

    def root(self) -> bytes:
        """The root of all leaves so far (section 2.1.1), 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        right = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            right = node_hash(left, right)
        return right


def root_of(size: int, node: Node) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return Frontier.of(size, node).root()


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, from the leaf up (section 2.1.3.1). OwnFault unless index < size."""
    if not 0 <= index < size:
        raise OwnFault(f"there is no entry {index} in a tree of {size}")
    return _path(index, 0, size, node)


def _path(index: int, start: int, end: int, node: Node) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle, node), _range_root(middle, end, node)]
    return [*_path(index, middle, end, node), _range_root(start, middle, node)]


def consistency_proof(old: int, size: int, node: Node) -> list[bytes]:
    """That the first `old` leaves of the tree of `size` leaves are the tree of `old` leaves (section 2.1.4.1). OwnFault unless 0 < old <= size."""
    if not 0 < old <= size:
        raise OwnFault(f"a tree of {size} entries does not prove anything about one of {old}")
    return _subproof(old, 0, size, node, whole=True)


def _subproof(old: int, start: int, end: int, node: Node, *, whole: bool) -> list[bytes]:
    if old == end:
        return [] if whole else [_range_root(start, end, node)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, node, whole=whole), _range_root(middle, end, node)]
    return [*_subproof(old, middle, end, node, whole=False), _range_root(start, middle, node)]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _range_root(start: int, end: int, node: Node) -> bytes:
    """The root over leaves start to end - 1; `start` is a multiple of the power of two that the range fits into."""
    count = end - start
    level = count.bit_length() - 1
    if count == 1 << level:
        return node(level, start >> level)
    middle = start + (1 << level)
    return node_hash(node(level, start >> level), _range_root(middle, end, node))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the tree of `size` leaves with this root has the leaf hash `leaf` at `index` (section 2.1.3.2)."""
    if not 0 <= index < size or any(len(each) != HASH_BYTES for each in proof):
        return False
    here, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            found = node_hash(sibling, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `size` leaves begins with the tree of `old` leaves (section 2.1.4.2). A tree begins with itself."""
    if not 0 < old <= size or any(len(each) != HASH_BYTES for each in proof):
        return False
    if old == size:
        return not proof and old_root == root
    path = list(proof)
    if old & (old - 1) == 0:  # The old tree is a node of the new one, and the proof leaves it out.
        path.insert(0, old_root)
    if not path:
        return False
    here, last = old - 1, size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    found_old = found = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            found_old, found = node_hash(sibling, found_old), node_hash(sibling, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and found_old == old_root and found == root
