"""How the messages of an epoch's set-up are read: invitation, keys, roster, shares, readiness, closing.

Called by `reading.fold`.
Never adopts a roster that the log's own keys do not bear out."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from federation import messages as m
from federation.limits import (
    CHUNK_LENGTH_MAX,
    COHORT_MAX,
    COHORT_MIN,
    ROUNDS_PER_EPOCH_MAX,
    threshold_of,
)
from federation.rounds.commitments import TAG_BYTES
from federation.rounds.effects import Received
from federation.rounds.phases import EpochPhase
from federation.rounds.transcript import Epoch, Transcript, epoch_move, repeated, require_peer
from federation.secagg.quantize import parameter_problem
from federation.secagg.sealing import BOX_OVERHEAD_BYTES
from federation.secagg.shares import SHARE_BYTES

_P: Final = 2**255 - 19
# The u-coordinates of order 1, 2, 4 and 8 on the curve and its twist, and their encodings above the prime (RFC 7748
# section 6.1 and libsodium's list): with them every shared secret is zero, and no member could mask.
LOW_ORDER: Final = frozenset({
    0,
    1,
    int.from_bytes(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"),
    int.from_bytes(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"),
    _P - 1,
    _P,
    _P + 1,
})  # fmt: skip


def is_low_order(key: bytes) -> bool:
    """Whether an X25519 public key of 32 bytes gives everybody the zero secret; the top bit is ignored, as RFC 7748 says."""
    return int.from_bytes(key, "little") % 2**255 in LOW_ORDER


def announced(transcript: Transcript, message: m.EpochAnnounced, received: Received) -> Transcript:
    """A new epoch is being set up, beside the one in use. Fault: one already is, its number is not new, or its terms are impossible."""
    sender = received.sender
    before = transcript.pending
    if before is not None and before.number == message.epoch:
        repeated(received, before.digest, "second_decision")
        return transcript
    require_peer(message.epoch > transcript.epoch_last, "stale", f"epoch {message.epoch} was announced before", accused=sender)
    phase = before.phase if before is not None else EpochPhase.CLOSED
    require_peer(phase is EpochPhase.CLOSED, "out_of_phase", "another epoch is being set up", accused=sender)
    invited = message.invited
    require_peer(
        COHORT_MIN <= len(invited) <= COHORT_MAX and invited == tuple(sorted(set(invited))) and transcript.aggregator not in invited,
        "bad_invitation", "too few, too many, or not a sorted set", accused=sender,
    )  # fmt: skip
    serials = dict(zip(invited, message.serials, strict=False))
    require_peer(
        len(message.serials) == len(invited) and min(serials.values()) >= 1, "bad_invitation", "not one serial for each", accused=sender
    )
    require_peer(1 <= message.rounds <= ROUNDS_PER_EPOCH_MAX, "bad_invitation", "no such number of rounds", accused=sender)
    require_peer(message.first_round >= 1, "bad_invitation", "rounds are numbered from 1", accused=sender)
    # Its first rounds may be over: an opening may have been on its way when the invitation was made.
    over = message.first_round + message.rounds <= transcript.round_next
    require_peer(not over, "bad_invitation", "its rounds are over", accused=sender)
    require_peer(message.keys_deadline_ms <= message.shares_deadline_ms, "bad_invitation", "deadlines out of order", accused=sender)
    problem = parameter_problem(message.parameters)
    require_peer(problem is None, "bad_parameters", problem or "", accused=sender)
    require_peer(message.parameters.chunk_length <= CHUNK_LENGTH_MAX, "bad_parameters", "a chunk does not fit a record", accused=sender)
    transcript = transcript.heard_under(serials)
    return replace(
        transcript, pending=Epoch(message, received.digest), epoch_first=transcript.epoch_first or message.epoch, epoch_last=message.epoch
    )


def keys(transcript: Transcript, message: m.EpochKeys, received: Received) -> Transcript:
    """An institution's public keys. Fault: not invited, another number of keys, a key of low order, a key somebody has advertised."""
    sender = received.sender
    epoch = transcript.find_epoch(message.epoch, accused=sender)
    if repeated(received, epoch.keys_digests.get(sender), "two_records"):
        return transcript
    phase = epoch_move(epoch, message, accused=sender)
    require_peer(sender in epoch.announced.invited, "not_entitled", "not invited", accused=sender)
    require_peer(len(message.round_keys) == 32 * epoch.announced.rounds, "bad_key", "not one key per round", accused=sender)
    offered = all_keys(message)
    require_peer(not any(is_low_order(key) for key in offered), "bad_key", "a key of low order", accused=sender)
    # A copied key would make its owner take the copier for himself and refuse to mask.
    once = len(set(offered)) == len(offered) and epoch.advertised.isdisjoint(offered)
    require_peer(once, "bad_key", "a key twice", accused=sender)
    return transcript.with_epoch(
        replace(
            epoch,
            phase=phase,
            keys={**epoch.keys, sender: message},
            keys_digests={**epoch.keys_digests, sender: received.digest},
            advertised=epoch.advertised.union(offered),
        )
    )


def all_keys(message: m.EpochKeys) -> list[bytes]:
    """The channel key, then the key of every round."""
    return [message.channel_key, *(message.round_keys[at : at + 32] for at in range(0, len(message.round_keys), 32))]


def roster(transcript: Transcript, message: m.EpochRoster, received: Received) -> Transcript:
    """The members are fixed. Fault "forged_roster": a member without these keys in the log, another threshold, terms other than announced."""
    sender = received.sender
    epoch = transcript.find_epoch(message.epoch, accused=sender)
    if epoch.roster is not None and repeated(received, epoch.roster_digest, "second_decision"):
        return transcript
    phase = epoch_move(epoch, message, accused=sender)
    names = tuple(member.institution for member in message.members)
    require_peer(names == tuple(sorted(set(names))), "forged_roster", "not a sorted set", accused=sender)
    require_peer(len(names) >= COHORT_MIN, "forged_roster", "a cohort below the least", accused=sender)
    for member in message.members:
        require_peer(
            epoch.keys_digests.get(member.institution) == member.keys_digest,
            "forged_roster", f"{member.institution} has not advertised these keys", accused=sender,
        )  # fmt: skip
    require_peer(message.threshold == threshold_of(len(names)), "forged_roster", "another threshold", accused=sender)
    terms = (message.rounds, message.first_round, message.parameters)
    as_announced = (epoch.announced.rounds, epoch.announced.first_round, epoch.announced.parameters)
    require_peer(terms == as_announced, "forged_roster", "terms other than announced", accused=sender)
    return transcript.with_epoch(
        replace(
            epoch,
            phase=phase,
            roster=message,
            roster_digest=received.digest,
            keys={name: epoch.keys[name] for name in names},
            keys_digests={name: epoch.keys_digests[name] for name in names},
            advertised=frozenset(),
        )
    )


def shares(transcript: Transcript, message: m.EpochShares, received: Received) -> Transcript:
    """A member's shares, and with them its consent to the roster. Fault: no member, another roster, boxes or tags of the wrong shape."""
    sender = received.sender
    epoch = transcript.find_epoch(message.epoch, accused=sender)
    if repeated(received, epoch.shares_digests.get(sender), "two_records"):
        return transcript
    phase = epoch_move(epoch, message, accused=sender)
    names = epoch.members
    require_peer(sender in names, "not_entitled", "not a member", accused=sender)
    require_peer(message.roster_digest == epoch.roster_digest, "split_view", "consents to another roster", accused=sender)
    rounds = epoch.announced.rounds
    boxes_bytes = len(names) * (SHARE_BYTES * rounds + BOX_OVERHEAD_BYTES)
    require_peer(len(message.boxes) == boxes_bytes, "bad_box", "not one box per member", accused=sender)
    require_peer(len(message.share_tags) == TAG_BYTES * len(names) * rounds, "bad_share", "not one tag per share", accused=sender)
    return transcript.with_epoch(replace(epoch, phase=phase, shares_digests={**epoch.shares_digests, sender: received.digest}))


def ready(transcript: Transcript, message: m.EpochReady, received: Received) -> Transcript:
    """The peers of every round are fixed. Fault "forged_ready": one whose shares are not in the log, or fewer than the threshold."""
    sender = received.sender
    epoch = transcript.find_epoch(message.epoch, accused=sender)
    if epoch.ready is not None and repeated(received, epoch.ready_digest, "second_decision"):
        return transcript
    phase = epoch_move(epoch, message, accused=sender)
    names = tuple(member.institution for member in message.members)
    require_peer(message.roster_digest == epoch.roster_digest, "forged_ready", "another roster", accused=sender)
    require_peer(names == tuple(sorted(set(names))), "forged_ready", "not a sorted set", accused=sender)
    require_peer(len(names) >= max(epoch.threshold, COHORT_MIN), "forged_ready", "fewer than the threshold", accused=sender)
    for member in message.members:
        require_peer(
            epoch.shares_digests.get(member.institution) == member.shares_digest,
            "forged_ready", f"{member.institution} has not dealt these shares", accused=sender,
        )  # fmt: skip
    return transcript.with_epoch(replace(epoch, phase=phase, ready=message, ready_digest=received.digest))


def closed(transcript: Transcript, message: m.EpochClosed, received: Received) -> Transcript:
    """No round will use these keys. Fault: the epoch is unknown, or a round of it is open."""
    sender = received.sender
    epoch = transcript.find_epoch(message.epoch, accused=sender)
    epoch_move(epoch, message, accused=sender)
    if transcript.pending is not None and transcript.pending.number == epoch.number:
        return replace(transcript, pending=None)
    require_peer(transcript.round is None, "out_of_phase", "a round of the epoch is open", accused=sender)
    return replace(transcript, current=None)
