"""Whole transcripts, byte for byte: today's cores say what is written, and refuse what is marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from federation.ids import digest_of
from federation.secagg import ring
from tests.sim.transcripts import Replay

FOLDER = Path(__file__).parents[2] / "vectors" / "rounds"
FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_transcript_replays(path: Path):
    """Every honest record is said again in the same bytes, every fault is reported by the same parties, every round ends the same way."""
    written = json.loads(path.read_text())
    replay = Replay(written)
    replay.run()

    assert replay.ends() == written["ends"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_published_sum_is_the_plain_sum(path: Path):
    """The sum in the transcript is the sum of the contributions written beside it."""
    written = json.loads(path.read_text())
    for end in written["ends"]:
        if "sum_digest" in end:
            total = [sum(values) % 2**32 for values in zip(*(written["contributions"][name] for name in end["contributors"]), strict=True)]
            body = b"".join(value.to_bytes(4, "little") for value in total)
            assert digest_of(body).hex() == end["sum_digest"]
            assert len(body) == ring.VALUE_BYTES * 4


def test_every_file_has_a_provenance():
    """The README says where each transcript comes from and what it shows."""
    readme = (FOLDER / "README.md").read_text()

    assert FILES
    assert all(f"`{path.name}`" in readme for path in FILES)


def test_a_changed_byte_is_noticed():
    """A transcript with one byte of an honest record changed does not replay."""
    written = json.loads((FOLDER / "five_two_silent.json").read_text())
    step = next(step for step in written["steps"] if step.get("message") == "MaskedUpdate")
    step["payload"] = step["payload"][:-2] + ("00" if step["payload"][-2:] != "00" else "01")
    with pytest.raises(AssertionError, match="says another MaskedUpdate today"):
        Replay(written).run()
