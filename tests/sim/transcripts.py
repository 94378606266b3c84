"""Transcripts of rounds as JSON: recorded at a table, and replayed against today's cores.

Used by `tests/vectors/rounds/generate.py` (records) and `tests/federation/rounds/test_vectors.py` (replays).
Never compares a dishonest party's records with anything: they are what the others must cope with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from federation import messages as m
from federation.ids import digest_of
from federation.rounds.effects import Event, PrepareContribution, Received, RingVector
from streams.codec import decode, encode
from tests.sim.table import Table

SEED = 20261124


def _reported(table: Table, since: int) -> list[list[str]]:
    """[who reports, kind, who is accused], sorted, of the reports since."""
    return sorted([who, report.kind, report.accused] for who, report in table.reports[since:])


class Recorder(Table):
    """A table that writes down every tick and every record as everybody reads it."""

    def __init__(self, names: str, **settings: object) -> None:
        super().__init__(names, seed=SEED, rounds_per_epoch=1, **settings)  # type: ignore[arg-type]
        self.steps: list[dict[str, Any]] = []

    def tick(self, passed_ms: int = 1_000) -> None:
        since = len(self.reports)
        super().tick(passed_ms)
        self.steps.append({"do": "tick", "now_ms": self.now_ms, "reported": _reported(self, since)})

    def deliver(self) -> Received:
        since = len(self.reports)
        received = super().deliver()
        self.steps.append({
            "do": "read", "sender": received.sender, "message": type(received.message).__name__,
            "payload": encode(received.message).hex(), "reported": _reported(self, since),
        })  # fmt: skip
        return received

    def to_json(self, about: str, dishonest: Iterable[str] = ()) -> dict[str, Any]:
        """Everything that a replay needs, and what it must lead to."""
        ends = [received.message for received in self.log if isinstance(received.message, m.ModelPublished | m.RoundAbandoned)]
        return {
            "about": about,
            "seed": SEED,
            "members": "".join(self.names),
            "dishonest": sorted(dishonest),
            "contributions": {name: values.tolist() for (name, _), values in sorted(self.contributions.items())},
            "chunks": {digest.hex(): [sender, body.hex()] for digest, (sender, body) in sorted(self.chunks.items())},
            "steps": self.steps,
            "ends": [_end(message) for message in ends],
        }


def _end(message: m.ModelPublished | m.RoundAbandoned) -> dict[str, Any]:
    if isinstance(message, m.ModelPublished):
        return {
            "contributors": "".join(message.contributors),
            "sum_digest": message.sum_digest.hex(),
            "model_digest": message.model_digest.hex(),
        }
    return {"reason": message.reason.value, "at_fault": list(message.at_fault)}


class Replay(Table):
    """Today's cores, fed with what is written; whatever honest parties say is kept, to be found in the transcript."""

    def __init__(self, written: dict[str, Any]) -> None:
        super().__init__(written["members"], seed=written["seed"], rounds_per_epoch=1)
        self.written = written
        self.spoken: dict[str, set[bytes]] = {}
        self.contribute = self._as_written
        self.written_chunks = {bytes.fromhex(digest): (sender, bytes.fromhex(body)) for digest, (sender, body) in written["chunks"].items()}

    def _as_written(self, name: str, _wanted: PrepareContribution) -> RingVector | None:
        values = self.written["contributions"].get(name)
        return None if values is None else np.array(values, dtype=np.uint32)

    def say(self, sender: str, message: m.Message) -> Received:
        payload = encode(message)
        self.spoken.setdefault(sender, set()).add(payload)
        return Received(sender, message, digest_of(payload), 1)

    def opened_chunk(self, digest: bytes, accused: str) -> RingVector:
        self.chunks |= {digest: self.written_chunks[digest]}
        return super().opened_chunk(digest, accused)

    def tell(self, name: str, event: Event) -> None:
        if name not in self.written["dishonest"]:
            super().tell(name, event)

    def run(self) -> None:
        """Every step in turn; AssertionError at the first that differs from what is written."""
        for number, step in enumerate(self.written["steps"]):
            since = len(self.reports)
            if step["do"] == "tick":
                self.now_ms = step["now_ms"] - 1
                self.tick(1)
            else:
                self._read(step, number)
            honest = [
                [report for report in reported if report[0] not in self.written["dishonest"]]
                for reported in (_reported(self, since), step["reported"])
            ]
            assert honest[0] == honest[1], f"step {number}, {step.get('message', 'tick')}"
        assert self.chunks.items() <= self.written_chunks.items()

    def _read(self, step: dict[str, Any], number: int) -> None:
        kind, payload = getattr(m, step["message"]), bytes.fromhex(step["payload"])
        if step["sender"] not in self.written["dishonest"]:
            assert payload in self.spoken.get(step["sender"], set()), (
                f"step {number}: {step['sender']} says another {step['message']} today"
            )
        received = Received(step["sender"], decode(payload, (kind,), 1_000_000), digest_of(payload), 1)
        self.log.append(received)
        self.tell_coordinator(received)
        for name in self.names:
            self.tell(name, received)

    def ends(self) -> list[dict[str, Any]]:
        """How the rounds in the transcript ended."""
        ends = [received.message for received in self.log if isinstance(received.message, m.ModelPublished | m.RoundAbandoned)]
        return [_end(message) for message in ends]
