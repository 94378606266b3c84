"""The audit's tree against an independent implementation, and against whoever would like a false proof to hold."""

from __future__ import annotations

import os
import random

import pytest
from pymerkle import InmemoryTree

from audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from federation.errors import OwnFault

NIGHTLY = os.environ.get("RIVERBANK_NIGHTLY") == "1"
SMALL, LARGEST = 256, 1_000_000 if NIGHTLY else 20_000
MUTATIONS = 100_000


class Tree:
    """A tree with all its nodes and the root at every size."""

    def __init__(self, size: int) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.roots = [EMPTY_ROOT]
        self.leaves = [leaf_hash(b"%d" % number) for number in range(size)]
        frontier = Frontier()
        for number, leaf in enumerate(self.leaves):
            for level, found in enumerate(frontier.add(leaf)):
                self.nodes[level, number >> level] = found
            self.roots.append(frontier.root())

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(LARGEST)


@pytest.fixture(scope="module")
def other() -> InmemoryTree:
    found = InmemoryTree(algorithm="sha256")
    for number in range(SMALL):
        found.append_entry(b"%d" % number)
    return found


def reference_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(reference_root(leaves[:split]), reference_root(leaves[split:]))


def test_the_root_of_nothing_and_of_one_are_those_of_the_rfc():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_every_size_to_256_has_the_other_implementations_root_and_proofs(tree: Tree, other: InmemoryTree):
    for size in range(1, SMALL + 1):
        assert tree.roots[size] == other.get_root(size) == root_of(size, tree.node) == reference_root(tree.leaves[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, tree.node)
            theirs = other.prove_inclusion(index + 1, size).serialize()["path"]
            assert [each.hex() for each in [tree.leaves[index], *proof]] == theirs
            assert verify_inclusion(tree.leaves[index], index, size, proof, tree.roots[size])
        for old in range(1, size + 1):
            assert verify_consistency(old, tree.roots[old], size, tree.roots[size], consistency_proof(old, size, tree.node))


def test_a_thousand_random_sizes(tree: Tree):
    draw = random.Random(5)
    for _ in range(1000):
        size = draw.randint(1, LARGEST)
        index, old = draw.randrange(size), draw.randint(1, size)
        assert root_of(size, tree.node) == tree.roots[size]
        assert verify_inclusion(tree.leaves[index], index, size, inclusion_proof(index, size, tree.node), tree.roots[size])
        assert verify_consistency(old, tree.roots[old], size, tree.roots[size], consistency_proof(old, size, tree.node))


def mutated(draw: random.Random, proof: list[bytes]) -> list[bytes]:
    """The proof with one thing wrong: a bit, an element more, less, or two in each other's place."""
    kind, changed = draw.randrange(4), list(proof)
    if kind == 0 and changed:
        at, bit = draw.randrange(len(changed)), draw.randrange(256)
        changed[at] = (int.from_bytes(changed[at], "big") ^ 1 << bit).to_bytes(32, "big")
    elif kind == 1 and changed:
        del changed[draw.randrange(len(changed))]
    elif kind == 2 and len(set(changed)) > 1:
        one, two = draw.sample(range(len(changed)), 2)
        changed[one], changed[two] = changed[two], changed[one]
    else:
        changed.insert(draw.randint(0, len(changed)), draw.randbytes(32))
    return changed


def test_no_mutated_proof_is_accepted(tree: Tree):
    draw, accepted = random.Random(6), 0
    for _ in range(MUTATIONS // 2):
        size = draw.randint(2, 3000)
        index, old = draw.randrange(size), draw.randint(1, size - 1)
        right = inclusion_proof(index, size, tree.node)
        wrong = mutated(draw, right)
        accepted += wrong != right and verify_inclusion(tree.leaves[index], index, size, wrong, tree.roots[size])
        right = consistency_proof(old, size, tree.node)
        wrong = mutated(draw, right)
        accepted += wrong != right and verify_consistency(old, tree.roots[old], size, tree.roots[size], wrong)
    assert accepted == 0


def test_a_true_proof_proves_nothing_else(tree: Tree):
    draw = random.Random(7)
    for _ in range(2000):
        size = draw.randint(3, 3000)
        index, old = draw.randrange(size), draw.randint(1, size - 1)
        proof = inclusion_proof(index, size, tree.node)
        elsewhere = (index + 1) % size
        assert not verify_inclusion(tree.leaves[elsewhere], index, size, proof, tree.roots[size])
        assert not verify_inclusion(tree.leaves[index], elsewhere, size, proof, tree.roots[size])
        assert not verify_inclusion(tree.leaves[index], index, size, proof, tree.roots[size - 1])
        assert not verify_inclusion(tree.leaves[index], size, size, proof, tree.roots[size])
        proof = consistency_proof(old, size, tree.node)
        assert not verify_consistency(old, tree.roots[old + 1], size, tree.roots[size], proof)
        assert not verify_consistency(old, tree.roots[old], size, tree.roots[size + 1], proof)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_what_is_not_in_the_tree_has_no_proof(tree: Tree, index: int, size: int):
    with pytest.raises(OwnFault):
        inclusion_proof(index, size, tree.node)


@pytest.mark.parametrize(("old", "size"), [(0, 5), (6, 5)])
def test_no_tree_is_consistent_with_nothing_or_with_a_larger_one(tree: Tree, old: int, size: int):
    with pytest.raises(OwnFault):
        consistency_proof(old, size, tree.node)
    assert not verify_consistency(old, tree.roots[old], size, tree.roots[size], [])
