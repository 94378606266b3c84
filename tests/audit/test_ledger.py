"""Stories of the ledger: what is written stays, whoever changes it is found out and the place named, crashes lose nothing that was promised."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from audit import ledger as ledger_module
from audit.frames import HEAD_BYTES, TamperedError, TornError
from audit.ledger import Ledger, LedgerError, read_entries, segments_of, verified_root
from audit.merkle import inclusion_proof, verify_inclusion

ENTRIES = 60


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files, so that what happens between them is tried too."""
    monkeypatch.setattr(ledger_module, "SEGMENT_BYTES", 2000)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A ledger of 60 entries in several segments."""
    book = Ledger.open(tmp_path)
    for number in range(0, ENTRIES, 5):
        book.append([b"entry %d " % each + bytes(each) for each in range(number, number + 5)])
    book.close()
    assert len(segments_of(tmp_path)) > 2
    return tmp_path


def whole(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for _, path in segments_of(directory))


def rewritten(directory: Path, data: bytes, sizes: list[int]) -> None:
    """Put these bytes into the segments, as a thief who keeps the cuts where they were; the last takes what is left."""
    at = 0
    for (_, path), size in zip(segments_of(directory), [*sizes[:-1], len(data)], strict=True):
        path.write_bytes(data[at : at + size])
        at += size


def frame_spans(directory: Path) -> list[tuple[int, int]]:
    """(start, end) of every frame in the concatenated segments."""
    spans, at, data = [], 0, whole(directory)
    while at < len(data):
        end = at + HEAD_BYTES + int.from_bytes(data[at : at + 4], "big")
        spans.append((at, end))
        at = end
    return spans


def test_what_was_written_is_read_and_its_root_follows_from_the_entries(written: Path):
    book = Ledger.open(written)
    assert [entry.content for entry in book.read()] == [b"entry %d " % number + bytes(number) for number in range(ENTRIES)]
    assert [entry.sequence for entry in book.read(37)] == list(range(37, ENTRIES))
    assert verified_root(written) == (ENTRIES, book.root())
    entry = next(book.read(17))
    assert verify_inclusion(entry.leaf, 17, ENTRIES, inclusion_proof(17, ENTRIES, book.node), book.root())
    book.close()


def test_a_ledger_goes_on_where_it_stopped(written: Path):
    book = Ledger.open(written)
    before = book.root()
    assert [entry.sequence for entry in book.append([b"one more"])] == [ENTRIES]
    assert book.root() != before
    assert verified_root(written) == (ENTRIES + 1, book.root())
    assert verified_root(written, ENTRIES) == (ENTRIES, before)
    book.close()


def test_two_processes_do_not_write_one_ledger(written: Path):
    book = Ledger.open(written)
    with pytest.raises(LedgerError, match="another process"):
        Ledger.open(written)
    book.close()


def test_a_thousand_byte_flips_deletions_reorders_and_truncations_are_all_found_where_they_are(written: Path):
    draw, original, spans = random.Random(3), whole(written), frame_spans(written)
    sizes = [path.stat().st_size for _, path in segments_of(written)]
    size, root = verified_root(written)
    found = 0
    for trial in range(1000):
        hit = draw.randrange(ENTRIES)
        start, end = spans[hit]
        match trial % 4:
            case 0:
                at = draw.randrange(start, end)
                changed = original[:at] + bytes([original[at] ^ draw.randint(1, 255)]) + original[at + 1 :]
            case 1:
                changed = original[:start] + original[end:]
            case 2:
                other = draw.choice([number for number in range(ENTRIES) if number != hit])
                hit, other = min(hit, other), max(hit, other)
                (a, b), (c, d) = spans[hit], spans[other]
                changed = original[:a] + original[c:d] + original[b:c] + original[a:b] + original[d:]
            case _:
                changed = original[: draw.randrange(start, end)]
        rewritten(written, changed, sizes)
        with pytest.raises(TamperedError) as caught:
            verified_root(written, size)
        found += caught.value.sequence == hit
    rewritten(written, original, sizes)
    assert found == 1000
    assert verified_root(written, size) == (size, root)


def test_a_history_rewritten_with_right_hashes_has_another_root(written: Path, tmp_path: Path):
    root = verified_root(written)
    forged = Ledger.open(tmp_path / "forged")
    forged.append([b"forged" if entry.sequence == 4 else entry.content for entry in read_entries(written)])
    forged.close()
    assert verified_root(tmp_path / "forged")[1] != root[1]


@pytest.mark.parametrize("left", [1, HEAD_BYTES, HEAD_BYTES + 41])
def test_an_entry_torn_by_a_crash_is_cut_off_and_the_ledger_goes_on(written: Path, left: int):
    path = segments_of(written)[-1][1]
    start, _ = frame_spans(written)[-1]
    kept = path.stat().st_size - (len(whole(written)) - start)
    path.write_bytes(path.read_bytes()[: kept + left])
    with pytest.raises(TornError):
        verified_root(written)
    book = Ledger.open(written, covered=ENTRIES - 1)
    assert book.size == ENTRIES - 1
    book.append([b"again"])
    assert verified_root(written) == (ENTRIES, book.root())
    book.close()


def test_zeros_that_a_crash_left_behind_the_last_entry_are_cut_off(written: Path):
    with segments_of(written)[-1][1].open("ab") as file:
        file.write(bytes(512))
    book = Ledger.open(written)
    assert verified_root(written) == (ENTRIES, book.root())
    book.close()


def test_entries_that_a_checkpoint_covers_are_not_given_up_silently(written: Path):
    segments_of(written)[-1][1].unlink()
    with pytest.raises(TamperedError, match="a signed checkpoint covers them"):
        Ledger.open(written, covered=ENTRIES)


def test_a_changed_entry_in_the_newest_file_keeps_the_ledger_closed(written: Path):
    path = segments_of(written)[-1][1]
    data = bytearray(path.read_bytes())
    data[HEAD_BYTES + 45] ^= 1
    path.write_bytes(data)
    with pytest.raises(TamperedError):
        Ledger.open(written)


@pytest.mark.parametrize("damage", ["level 0 short", "level 2 short", "level 3 gone", "all gone", "level 0 long"])
def test_nodes_that_a_crash_lost_are_made_again(written: Path, damage: str):
    root = verified_root(written)[1]
    nodes = written / "nodes"
    match damage:
        case "level 0 short":
            os.truncate(nodes / "level-00", 32 * 41)
        case "level 2 short":
            os.truncate(nodes / "level-02", 32 * 3 + 7)
        case "level 3 gone":
            (nodes / "level-03").unlink()
        case "all gone":
            for path in nodes.iterdir():
                path.unlink()
        case _:
            with (nodes / "level-00").open("ab") as file:
                file.write(bytes(64))
    book = Ledger.open(written)
    assert book.root() == root
    for number in (0, 31, ENTRIES - 1):
        leaf = next(book.read(number)).leaf
        assert verify_inclusion(leaf, number, ENTRIES, inclusion_proof(number, ENTRIES, book.node), root)
    book.append([b"next"])
    assert verified_root(written) == (ENTRIES + 1, book.root())
    book.close()


def test_a_full_disk_appends_nothing_and_the_next_attempt_succeeds(written: Path, monkeypatch: pytest.MonkeyPatch):
    book = Ledger.open(written)
    root = book.root()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(ledger_module.os, "fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            book.append([b"lost?"])
    assert (book.size, book.root()) == (ENTRIES, root)
    assert verified_root(written) == (ENTRIES, root)
    book.append([b"kept"])
    assert verified_root(written) == (ENTRIES + 1, book.root())
    book.close()


def test_every_prefix_of_a_write_recovers(tmp_path: Path):
    book = Ledger.open(tmp_path)
    book.append([b"first"])
    start = len(whole(tmp_path))
    book.append([b"second", b"third"])
    book.close()
    path, data = segments_of(tmp_path)[0][1], whole(tmp_path)
    sizes = set()
    for end in range(start, len(data) + 1):
        path.write_bytes(data[:end])
        book = Ledger.open(tmp_path, covered=1)
        sizes.add(book.size)
        assert verified_root(tmp_path) == (book.size, book.root())
        book.close()
    assert sizes == {1, 2, 3}
