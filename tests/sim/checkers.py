"""What must hold of any history, whatever went wrong in it: one function per promise, each yields the breaches it finds.

Called by `test_seeds` on worlds; each is shown to bite in `test_checkers`.
Never consults the cores' own opinion: a checker recomputes from the log, the journals and what was contributed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from federation import messages as m
from federation.ids import digest_of
from federation.limits import COHORT_MIN
from federation.rounds.head_coordinator_state import HeadCoordinatorState
from federation.rounds.head_participant import HeadParticipantState
from federation.rounds.head_record import to_head_record
from federation.rounds.lots import drawing_seed, drawn_groups, groups_possible
from federation.rounds.unmasking import ABSENT
from federation.secagg import ring
from federation.secagg.sealing import unseal
from streams.codec import encode
from tests.sim.table import AGGREGATOR, FEDERATION
from tests.sim.world import DIMENSION, World

Breach = str
MessageT = TypeVar("MessageT", bound=Any)


def sums_are_exact(world: World) -> Iterator[Breach]:
    """An opened sum is the plain sum of what its contributors contributed, and of nobody else."""
    for message in (*_models(world), *_said(world, m.SumOpened)):
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


def merged_models_follow_from_sums(world: World) -> Iterator[Breach]:
    """Each merged model is the one before plus what the rule makes of the groups' means, each of three institutions at least."""
    for message in _first(world, m.GroupsMerged):
        means = []
        for said in message.sums:
            total = sum(ring.centred(world.contributed[name, message.round][0]) for name in said.contributors)
            means.append(total[:-1] / 1000.0 / (total[-1] / 10))
            if len(said.contributors) < COHORT_MIN:
                yield f"round {message.round}: a sum of {len(said.contributors)}"
        base, made = world.models[message.base_digest], world.models[message.model_digest]
        # Everybody has as many customers here, so a mean weighs a group by its size.
        weights = [len(said.contributors) for said in message.sums]
        in_mean = world.grouping.rule is m.GroupRule.MEAN
        if not np.allclose(made - base, np.average(means, axis=0, weights=weights) if in_mean else np.median(means, axis=0)):
            yield f"round {message.round}: the merged model does not follow from the groups' sums"


def one_grouping(world: World) -> Iterator[Breach]:
    """Nobody is in two groups of one round, and every group is the one that its members' lots have drawn."""
    seen: dict[tuple[str, int], int] = {}
    for message in _said(world, m.MaskedUpdate):
        if seen.setdefault((message.institution, message.round), message.group) != message.group:
            yield f"{message.institution} is in two groups of round {message.round}"
    lots: dict[int, dict[str, bytes]] = defaultdict(dict)
    for shown in _said(world, m.LotRevealed):
        lots[shown.epoch][shown.institution] = shown.lot
    for invited in _said(world, m.EpochAnnounced):
        if invited.group > 0:
            drawn = lots[invited.epoch]
            seed = drawing_seed(drawn, federation=FEDERATION, head=invited.head, epoch=invited.epoch)
            groups = drawn_groups(sorted(drawn), groups_possible(len(drawn), world.grouping.groups), seed)
            if groups[invited.group - 1] != invited.invited:
                yield f"group {invited.group} of drawing {invited.epoch} is not the one drawn"


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
    if world.in_round():
        yield "a round is still open"
    opened = {(each.group, each.round) for each in _said(world, m.RoundOpened)}
    ended = {(each.group, each.round) for kind in (m.ModelPublished, m.SumOpened, m.RoundAbandoned) for each in _said(world, kind)}
    yield from (f"round {number} of group {group} never ended" for group, number in sorted(opened - ended))
    merged = {each.round for kind in (m.GroupsMerged, m.MergeAbandoned) for each in _said(world, kind)}
    yield from (f"round {number} was never merged" for number in sorted({number for group, number in opened if group} - merged))


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
    acks: dict[tuple[int, int], set[str]] = defaultdict(set)
    thresholds: dict[tuple[int, int], int] = {}
    for received in world.log:
        match received.message:
            case m.EpochRoster() as roster:
                thresholds[roster.group, roster.epoch] = roster.threshold
            case m.SurvivorsAcked() as ack:
                acks[ack.group, ack.round].add(received.sender)
            case m.SharesRevealed() as revealed:
                if len(acks[revealed.group, revealed.round]) < thresholds[revealed.group, revealed.epoch]:
                    yield f"{received.sender} revealed shares of round {revealed.round} below the quorum"


def nothing_after_erasure(world: World) -> Iterator[Breach]:
    """The secrets of rounds that are over are not in what an institution has saved."""
    for name, shell in world.institutions.items():
        if shell.disk.record is None:
            continue
        saved = encode(shell.disk.record)
        rounds = [lane.state.round for lane in shell.disk.record.lanes]
        open_rounds = {each.opened.round for each in rounds if each is not None}
        for number, secret in world.round_secrets[name].items():
            if number not in open_rounds and secret in saved:
                yield f"{name} still holds the secret of round {number}, which is over"


def one_reading(world: World) -> Iterator[Breach]:
    """Everybody who has read the whole log has read the same, and the restarted aggregator too."""
    truth = _reading(world.read())
    shells = {**world.institutions, AGGREGATOR: world.aggregator}
    readers = {name: shell.state for name, shell in shells.items() if hasattr(shell, "state") and _caught_up(world, shell)}
    yield from (f"{name} reads the log otherwise" for name, state in readers.items() if _reading(state) != truth)


def only_the_unlucky_are_accused(world: World) -> Iterator[Breach]:
    """Nobody here cheats: crashes and delays may make a record stale or a decision second, and nothing worse."""
    harmless = {"late", "stale", "out_of_phase", "second_decision", "differencing"}
    yield from (
        f"{who} accuses {report.accused} of {report.kind}: {report.detail}" for who, report in world.reports if report.kind not in harmless
    )


def nobody_is_told_wrongly(world: World) -> Iterator[Breach]:
    """Who is told that its update is in a model finds itself among the contributors, and the other way round."""
    contributors = {message.round: message.contributors for message in _models(world)}
    for message in _first(world, m.GroupsMerged):
        contributors[message.round] = tuple(name for said in message.sums for name in said.contributors)
    for name, ended in world.ended:
        if ended.model_version is not None and ended.included != (name in contributors[ended.round_id.round]):
            yield f"{name} was told wrongly about round {ended.round_id.round}"


def the_record_is_small(world: World) -> Iterator[Breach]:
    """What an institution saves does not grow with the number of rounds."""
    for name, shell in world.institutions.items():
        if shell.disk.record is not None and len(encode(to_head_record(shell.state))) > 10_000 * len(world.names):
            yield f"{name} saves too much"


CHECKERS: tuple[Callable[[World], Iterator[Breach]], ...] = (
    sums_are_exact, models_follow_from_sums, merged_models_follow_from_sums, one_grouping, masked_once, nothing_unmasked, every_round_ends, one_ack, never_both_secrets,
    no_share_below_the_quorum, nothing_after_erasure, one_reading, only_the_unlucky_are_accused, nobody_is_told_wrongly, the_record_is_small,
)  # fmt: skip


def breaches(world: World) -> list[Breach]:
    """All that any checker finds."""
    return [breach for checker in CHECKERS for breach in checker(world)]


def _models(world: World) -> list[m.ModelPublished]:
    return _first(world, m.ModelPublished)


def _first(world: World, kind: type[MessageT]) -> list[MessageT]:
    """The models that the log took up: the first of each version."""
    first: dict[int, MessageT] = {}
    for message in _said(world, kind):
        first.setdefault(message.version, message)
    return list(first.values())


def _said(world: World, kind: type[MessageT]) -> list[MessageT]:
    return [received.message for received in world.log if isinstance(received.message, kind)]


def _reading(state: HeadParticipantState | HeadCoordinatorState) -> tuple[object, ...]:
    return state.head, {key: lane.transcript for key, lane in state.lanes.items()}


def _caught_up(world: World, shell: object) -> bool:
    return bool(getattr(shell, "offset", -1) == len(world.log) and getattr(shell, "down_until_ms", 0) is None)
