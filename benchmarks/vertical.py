"""Private intersection and a training pass of a vertical scorecard, beside the references: prints JSON lines, one per cell.

Run as `python benchmarks/vertical.py [--names 10000] [--rows 10000] [--phe-python PATH] [--phe-rows N]`; PATH is an interpreter with phe and gmpy2 installed
(phe is GPL and no dependency of ours).
Never crosses a network or a disk: both parties' cores, one after the other on one core; processor time, the least of interleaved repeats."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rbcl

from federation.messages import OverlapPolicy, TablePurpose
from federation.vertical import intersection
from federation.vertical.effects import Table
from federation.vertical.encryption import HeldKey, key_to_bytes
from federation.vertical.scorecard import Half, Rows
from federation.vertical.training import Training, begun, say_blinded, say_numbers, say_opened, stepped, take_opened

BITS = 3072
BANK_FEATURES, PARTNER_FEATURES, BINS = 6, 12, 6
PHE = Path(__file__).with_name("phe_pass.py")


def timed(work: Callable[[], object]) -> float:
    """Processor seconds."""
    begun_at = time.process_time()
    work()
    return time.process_time() - begun_at


# --- intersection -------------------------------------------------------------------------------------------------
def reference(ours: list[bytes], theirs: list[bytes]) -> int:
    """ECDH-PSI in its shortest form: four passes, no order hidden, nothing checked."""

    def blinded(names: list[bytes], scalar: bytes) -> list[bytes]:
        return [
            rbcl.crypto_scalarmult_ristretto255(
                scalar, rbcl.crypto_core_ristretto255_from_hash(hashlib.blake2b(name, person=b"er-v1").digest())
            )
            for name in names
        ]

    a, b = rbcl.crypto_core_ristretto255_scalar_random(), rbcl.crypto_core_ristretto255_scalar_random()
    once, other = blinded(ours, a), blinded(theirs, b)
    twice = {rbcl.crypto_scalarmult_ristretto255(b, point) for point in once}
    return len(twice & {rbcl.crypto_scalarmult_ristretto255(a, point) for point in other})


def intersected(ours: list[str], theirs: list[str]) -> int:
    """The bank's question, the partner's answer, the bank's comparison."""
    context = intersection.run_context("bench", "bank", "partner", 1)
    asking, points = intersection.ask(ours, context, entropy=os.urandom)
    answer = intersection.answer(points, theirs, context, policy=OverlapPolicy.SHOWN, most=len(ours), entropy=os.urandom, accused="bank")
    return len(intersection.matches(asking, answer.raised, answer.own, accused="partner"))


def intersection_cell(count: int, repeats: int) -> dict[str, object]:
    """Both, in turn; half of the names are shared."""
    ours, theirs = [f"person-{n}" for n in range(count)], [f"person-{n}" for n in range(count // 2, count // 2 + count)]
    raw = [name.encode() for name in ours], [name.encode() for name in theirs]
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(repeats):
        seconds["reference"].append(timed(lambda: reference(*raw)))
        seconds["ours"].append(timed(lambda: intersected(ours, theirs)))
    least = {name: min(each) for name, each in seconds.items()}
    return {
        "what": "intersection", "names": count, "seconds": round(least["ours"], 3), "reference_seconds": round(least["reference"], 3),
        "ratio": round(least["ours"] / least["reference"], 3), "bytes": 3 * 32 * count,
    }  # fmt: skip


# --- training -----------------------------------------------------------------------------------------------------
def population(rows: int, features: int, rng: np.random.Generator) -> tuple[Rows, int]:
    """One-hot features of BINS bins each."""
    bins = rng.integers(0, BINS, (rows, features)) + BINS * np.arange(features) + 1
    return Rows.of(tuple(row) for row in bins.tolist()), BINS * features + 1


def exchange(owner: Training, chooser: Training, purpose: TablePurpose, sent: list[int]) -> Training:
    """The four steps and the chooser's Newton step."""
    numbers = say_numbers(owner, purpose, entropy=os.urandom)
    chooser, blinded = say_blinded(chooser, purpose, numbers, entropy=os.urandom, accused="owner")
    opened = say_opened(owner, purpose, blinded, accused="chooser")
    chooser, sums = take_opened(chooser, purpose, opened, accused="owner")
    sent.append(len(numbers.ciphertexts) + len(blinded.ciphertexts) + len(opened.values))
    return stepped(chooser, sums)


def training_cell(rows: int, phe_python: str | None, phe_rows: int) -> dict[str, object]:
    """One pass over `rows` shared rows, both directions; and phe's one direction of Hardy's protocol."""
    rng = np.random.Generator(np.random.PCG64(1))
    held_out = 10
    (ours, width), (theirs, their_width) = (population(rows + held_out, count, rng) for count in (BANK_FEATURES, PARTNER_FEATURES))
    labels = (rng.random(rows + held_out) < 0.2).astype(np.uint8).tobytes()
    keys = [HeldKey.drawn(BITS, entropy=os.urandom) for _ in range(2)]
    bank = begun(
        Table(ours, width, 10), Half.untaught(width, ridge=1.0), held_out=held_out, passes_max=9, labels=labels, offset=-1.4, key=keys[0]
    ).with_peer(*key_to_bytes(keys[1]), accused="partner", bits_min=BITS)
    partner = begun(Table(theirs, their_width, 10), Half.untaught(their_width, ridge=1.0), held_out=held_out, passes_max=9, key=keys[1])
    partner = partner.with_peer(*key_to_bytes(keys[0]), accused="bank", bits_min=BITS)
    sent: list[int] = []
    begun_at = time.process_time()
    bank = exchange(partner, bank, TablePurpose.SCORES, sent)
    middle = time.process_time()
    partner = exchange(bank, partner, TablePurpose.RESIDUALS, sent)
    ended = time.process_time()
    row: dict[str, object] = {
        "what": "training pass", "rows": rows, "bits": BITS, "bank_columns": width, "partner_columns": their_width,
        "seconds": round(ended - begun_at, 2), "to_bank_seconds": round(middle - begun_at, 2), "to_partner_seconds": round(ended - middle, 2),
        "bytes": sum(sent),
    }  # fmt: skip
    if phe_python:
        argv = [phe_python, str(PHE), str(phe_rows), str(PARTNER_FEATURES), str(BINS), str(BITS)]
        told = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        theirs_seconds = told["per_row_seconds"] * rows + told["fixed_seconds"]
        row |= {
            "phe_rows_measured": phe_rows, "phe_seconds_one_direction": round(theirs_seconds, 1),
            "phe_over_ours": round(theirs_seconds / (ended - middle), 1),
        }  # fmt: skip
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--phe-python", default=os.environ.get("PHE_PYTHON"))
    parser.add_argument("--phe-rows", type=int, default=500, help="phe's time is linear in rows: so many are measured")
    options = parser.parse_args()
    print(json.dumps(intersection_cell(options.names, options.repeats)), flush=True)
    print(json.dumps(training_cell(options.rows, options.phe_python, options.phe_rows)), flush=True)
