"""What must hold of any history, whatever went wrong in it: one function per promise, each yields the breaches it finds.

Called by `test_seeds` on worlds; each is shown to bite in `test_checkers`.
Never consults the cores' own opinion: a checker recomputes from the log, the journals and what was contributed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from federation import messages as m
from federation.ids import digest_of
from federation.rounds.participant_record import to_record
from federation.rounds.unmasking import ABSENT
from federation.secagg import ring
from federation.secagg.sealing import unseal
from streams.codec import encode
from tests.sim.table import AGGREGATOR
from tests.sim.world import DIMENSION, World

Breach = str


def sums_are_exact(world: World) -> Iterator[Breach]:
    """A published sum is the plain sum of what its contributors contributed, and of nobody else."""
    for message in _models(world):
        total = ring.zeros(DIMENSION + 1)
        for name in message.contributors:
            for values in world.contributed.get((name, message.round), [])[:1]:
                ring.add(total, values)
        if digest_of(ring.to_bytes(total)) != message.sum_digest:
            yield f"round {message.round}: the published sum is not the plain sum of {', '.join(message.contributors)}"


def models_follow_from_sums(world: World) -> Iterator[Breach]:
    """Each model is the one before plus the weighted mean of the deltas."""
    for message in _models(world):
        total = sum(ring.centred(world.contributed[name, message.round][0]) for name in message.contributors)
        mean = total[:-1] / 1000.0 / (total[-1] / 10)
        base, made = world.models[message.base_digest], world.models[message.model_digest]
        if not np.allclose(made - base, mean):
            yield f"round {message.round}: the model does not follow from the sum"


def masked_once(world: World) -> Iterator[Breach]:
    """An institution says at most one masked update per round, with one set of chunks, and contributes at most one vector."""
    said: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for received in world.log:
        if isinstance(received.message, m.MaskedUpdate):
            said[received.sender, received.message.round].add(received.digest)
    yield from (f"{name} masked twice in round {number}" for (name, number), digests in said.items() if len(digests) > 1)
    yield from (f"{name} contributed twice to round {number}" for (name, number), made in world.contributed.items() if len(made) > 1)


def nothing_unmasked(world: World) -> Iterator[Breach]:
    """No chunk, opened as the aggregator can open it, is a piece of what was contributed."""
    pieces = {values[start : start + 2].tobytes() for made in world.contributed.values() for values in made for start in (0, 2)}
    yield from (
        f"{sender} sent an unmasked chunk" for digest, (sender, _) in world.chunks.items() if world.opened_chunk(digest).tobytes() in pieces
    )


def every_round_ends(world: World) -> Iterator[Breach]:
    """Every round that was opened ended, in a model or with a reason; none is open when the world stops."""
    if world.transcript().round is not None:
        yield "a round is still open"
    opened = {received.message.round for received in world.log if isinstance(received.message, m.RoundOpened)}
    ended = {received.message.round for received in world.log if isinstance(received.message, m.ModelPublished | m.RoundAbandoned)}
    yield from (f"round {number} never ended" for number in sorted(opened - ended))


def one_ack(world: World) -> Iterator[Breach]:
    """A member acks one list of survivors per round."""
    acks: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for received in world.log:
        if isinstance(received.message, m.SurvivorsAcked):
            acks[received.sender, received.message.round].add(received.message.survivors_digest)
    yield from (f"{name} acked two lists in round {number}" for (name, number), lists in acks.items() if len(lists) > 1)


def never_both_secrets(world: World) -> Iterator[Breach]:
    """A member never reveals two different shares of one peer in a round: its seed's and its key's would undo the peer's mask."""
    seen: dict[tuple[str, int, int], set[bytes]] = defaultdict(set)
    for received in world.log:
        message = received.message
        if not isinstance(message, m.SharesRevealed):
            continue
        plain = unseal(message.box, world.keys[AGGREGATOR].sealing_secret, plain_bytes=len(message.box) - 48, accused=received.sender)
        for at in range(0, len(plain), 32):
            if plain[at : at + 32] != ABSENT:
                seen[received.sender, message.round, at].add(plain[at : at + 32])
    yield from (
        f"{name} revealed two shares of one peer in round {number}" for (name, number, _), shares in seen.items() if len(shares) > 1
    )


def no_share_below_the_quorum(world: World) -> Iterator[Breach]:
    """Shares are revealed only after threshold-many acks lie in the log before them."""
    acks: dict[int, set[str]] = defaultdict(set)
    thresholds: dict[int, int] = {}
    epochs: dict[int, int] = {}
    for received in world.log:
        match received.message:
            case m.EpochRoster() as roster:
                thresholds[roster.epoch] = roster.threshold
            case m.RoundOpened() as opened:
                epochs.setdefault(opened.round, opened.epoch)
            case m.SurvivorsAcked() as ack:
                acks[ack.round].add(received.sender)
            case m.SharesRevealed() as revealed:
                if len(acks[revealed.round]) < thresholds[revealed.epoch]:
                    yield f"{received.sender} revealed shares of round {revealed.round} below the quorum"


def nothing_after_erasure(world: World) -> Iterator[Breach]:
    """The secrets of rounds that are over are not in what an institution has saved."""
    for name, shell in world.institutions.items():
        if shell.disk.record is None:
            continue
        saved = encode(shell.disk.record)
        open_round = shell.disk.record.round.opened.round if shell.disk.record.round is not None else None
        for number, secret in world.round_secrets[name].items():
            if number != open_round and secret in saved:
                yield f"{name} still holds the secret of round {number}, which is over"


def one_reading(world: World) -> Iterator[Breach]:
    """Everybody who has read the whole log has read the same, and the restarted aggregator too."""
    truth = world.transcript()
    readers = {
        name: shell.state.transcript for name, shell in world.institutions.items() if hasattr(shell, "state") and _caught_up(world, shell)
    }
    if _caught_up(world, world.aggregator) and hasattr(world.aggregator, "state"):
        readers[AGGREGATOR] = world.aggregator.state.transcript
    yield from (f"{name} reads the log otherwise" for name, transcript in readers.items() if transcript != truth)


def only_the_unlucky_are_accused(world: World) -> Iterator[Breach]:
    """Nobody here cheats: crashes and delays may make a record stale or a decision second, and nothing worse."""
    harmless = {"late", "stale", "out_of_phase", "second_decision", "differencing"}
    yield from (
        f"{who} accuses {report.accused} of {report.kind}: {report.detail}" for who, report in world.reports if report.kind not in harmless
    )


def nobody_is_told_wrongly(world: World) -> Iterator[Breach]:
    """Who is told that its update is in a model finds itself among the contributors, and the other way round."""
    models = {message.round: message for message in _models(world)}
    for name, ended in world.ended:
        if ended.model_version is not None and ended.included != (name in models[ended.round_id.round].contributors):
            yield f"{name} was told wrongly about round {ended.round_id.round}"


def the_record_is_small(world: World) -> Iterator[Breach]:
    """What an institution saves does not grow with the number of rounds."""
    for name, shell in world.institutions.items():
        if shell.disk.record is not None and len(encode(to_record(shell.state))) > 30_000:
            yield f"{name} saves too much"


CHECKERS: tuple[Callable[[World], Iterator[Breach]], ...] = (
    sums_are_exact, models_follow_from_sums, masked_once, nothing_unmasked, every_round_ends, one_ack, never_both_secrets,
    no_share_below_the_quorum, nothing_after_erasure, one_reading, only_the_unlucky_are_accused, nobody_is_told_wrongly, the_record_is_small,
)  # fmt: skip


def breaches(world: World) -> list[Breach]:
    """All that any checker finds."""
    return [breach for checker in CHECKERS for breach in checker(world)]


def _models(world: World) -> list[m.ModelPublished]:
    """The models that the log took up: the first of each version."""
    first: dict[int, m.ModelPublished] = {}
    for received in world.log:
        if isinstance(received.message, m.ModelPublished):
            first.setdefault(received.message.version, received.message)
    return list(first.values())


def _caught_up(world: World, shell: object) -> bool:
    return bool(getattr(shell, "offset", -1) == len(world.log) and getattr(shell, "down_until_ms", 0) is None)
