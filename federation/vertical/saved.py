"""A party's state as a record for its own database, and back.

Called by `institution_workers.vertical`, which saves the record with its offset before it speaks.
Never sends anything: the record holds secrets, and those of runs that are over are not in it."""

from __future__ import annotations

import numpy as np

from federation import messages as m
from federation.errors import OwnFault
from federation.secagg.keys import Secret
from federation.vertical.effects import Parties
from federation.vertical.encryption import HeldKey, key_to_bytes, peer_key
from federation.vertical.exchange import VALUE_BYTES
from federation.vertical.fixed_point import Reals
from federation.vertical.intersection import positions_to_bytes
from federation.vertical.phases import BankPhase, PartnerPhase, Phase
from federation.vertical.run import Resolving, State
from federation.vertical.scorecard import Half, Lesson, Rows
from federation.vertical.training import Training, flags


def to_record(state: State) -> m.VerticalSaved:
    """The record: everything but who the parties are, which the configuration gives again."""
    work = state.work
    return m.VerticalSaved(
        phase=state.phase.name,
        run=state.run,
        said=state.said,
        heard=state.heard,
        deadline_ms=state.answer_by_ms,
        version=state.version,
        weights=_bytes(state.half.weights) if state.half else b"",
        precision=_bytes(state.half.precision) if state.half else b"",
        resolving=_resolving_saved(work) if isinstance(work, Resolving) else None,
        training=_training_saved(work) if isinstance(work, Training) else None,
    )


def from_record(parties: Parties, phases: type[BankPhase | PartnerPhase], record: m.VerticalSaved) -> State:
    """The state that `to_record` was given."""
    phase: Phase = phases[record.phase]
    half = Half(_reals(record.weights), _square(record.precision)) if record.weights else None
    work = _resolving(record.resolving) if record.resolving else _training(record.training, parties) if record.training else None
    return State(parties, phase, record.run, record.said, record.heard, record.deadline_ms, record.version, half, work)


def _resolving_saved(work: Resolving) -> m.IntersectionSaved:
    return m.IntersectionSaved(
        policy=work.policy,
        names=work.names,
        asked_at=positions_to_bytes(work.asked_at),
        shared=work.shared,
        secret=work.secret.reveal() if work.secret else b"",
    )


def _resolving(saved: m.IntersectionSaved) -> Resolving:
    asked_at = tuple(np.frombuffer(saved.asked_at, dtype="<u4").tolist())
    return Resolving(saved.policy, saved.names, asked_at, saved.shared, Secret(saved.secret) if saved.secret else None)


def _training_saved(work: Training) -> m.TrainingSaved:
    peer_modulus, peer_hiding_base = key_to_bytes(work.peer.key) if work.peer else (b"", b"")
    start, key = work.lesson.start, work.key
    if key is None:
        raise OwnFault("a rehearsal is not saved")
    return m.TrainingSaved(
        held_out=work.held_out,
        passes_max=work.passes_max,
        first_prime=_number(key.first),
        second_prime=_number(key.second),
        hiding_base=_number(key.hiding_base),
        peer_modulus=peer_modulus,
        peer_hiding_base=peer_hiding_base,
        starts=work.rows.starts.astype("<i8").tobytes(),
        coordinates=work.rows.coordinates.astype("<i8").tobytes(),
        labels=_flags(work.labels),
        bits=_flags(work.bits),
        offset=work.offset,
        start_weights=_bytes(start.weights),
        start_precision=_bytes(start.precision),
        weights=_bytes(work.weights),
        kept_weights=_bytes(work.kept_weights),
        kept=work.kept,
        loss=work.loss,
        kept_loss=work.kept_loss,
        gain=work.gain,
        peer_gain=work.peer_gain,
        number=work.number,
        rows_min=work.rows_min,
        blinds=b"".join(blind.to_bytes(VALUE_BYTES, "little") for blind in work.blinds),
    )


def _training(saved: m.TrainingSaved, parties: Parties) -> Training:
    first, second = (int.from_bytes(prime, "little") for prime in (saved.first_prime, saved.second_prime))
    rows = Rows(*(np.frombuffer(body, dtype="<i8").astype(np.int64) for body in (saved.starts, saved.coordinates)))
    start = Half(_reals(saved.start_weights), _square(saved.start_precision))
    peer = peer_key(saved.peer_modulus, saved.peer_hiding_base, accused="", bits_min=parties.bits) if saved.peer_modulus else None
    blinds = saved.blinds
    return Training(
        key=HeldKey(first * second, int.from_bytes(saved.hiding_base, "little"), first, second),
        peer=peer,
        rows=rows,
        held_out=saved.held_out,
        labels=flags(saved.labels) if saved.labels else None,
        bits=flags(saved.bits) if saved.bits else None,
        offset=saved.offset,
        lesson=Lesson.of(start, rows.part(0, len(rows) - saved.held_out), rows_min=saved.rows_min),
        weights=_reals(saved.weights),
        kept_weights=_reals(saved.kept_weights),
        passes_max=saved.passes_max,
        rows_min=saved.rows_min,
        kept=saved.kept,
        loss=saved.loss,
        kept_loss=saved.kept_loss,
        gain=saved.gain,
        peer_gain=saved.peer_gain,
        number=saved.number,
        blinds=tuple(int.from_bytes(blinds[at : at + VALUE_BYTES], "little") for at in range(0, len(blinds), VALUE_BYTES)),
    )


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "little")


def _bytes(values: Reals) -> bytes:
    return values.astype("<f8").tobytes()


def _reals(body: bytes) -> Reals:
    return np.frombuffer(body, dtype="<f8").astype(np.float64)


def _square(body: bytes) -> Reals:
    values = _reals(body)
    width = round(len(values) ** 0.5)
    return values.reshape(width, width)


def _flags(values: Reals | None) -> bytes:
    return b"" if values is None else values.astype(np.uint8).tobytes()
