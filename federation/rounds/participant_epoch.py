"""An institution in the set-up of an epoch: keys drawn, shares dealt, shares received and checked.

Called by `participant.step` once the transcript has taken the message in.
Never deals shares for a roster that holds other keys of ours than we drew."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from federation.errors import PeerFault
from federation.ids import RoundId
from federation.rounds.commitments import share_tag
from federation.rounds.effects import Effect, Publish, Report
from federation.rounds.participant_state import EpochSecrets, ParticipantState
from federation.rounds.transcript import Epoch
from federation.rounds.unmasking import tag_of
from federation.secagg.agreement import round_public
from federation.secagg.keys import KEY_BYTES, Entropy, Secret, drawn, x25519_public
from federation.secagg.sealing import BOX_OVERHEAD_BYTES, PURPOSE_ROUND_KEYS, Address, box_shares, channel_key, open_shares
from federation.secagg.shares import SHARE_BYTES, draw_secret, joined, parted, split

Outcome = tuple[ParticipantState, tuple[Effect, ...]]


def on_announced(state: ParticipantState, message: m.EpochAnnounced, entropy: Entropy) -> Outcome:
    """Invited, in time and on acceptable terms: draw the epoch's keys and say the public ones."""
    settings = state.settings
    if settings.party not in message.invited or state.late(message.keys_deadline_ms):
        return state, ()
    problem = settings.terms.problem(message.parameters)
    if problem is not None:
        return state, (Report("bad_parameters", settings.aggregator, problem),)
    unfit = state.unfit([settings.party])
    if unfit is not None:
        return state, (Report("unfit_member", settings.aggregator, unfit),)
    channel = Secret(drawn(entropy, KEY_BYTES))
    round_secrets = [draw_secret(entropy) for _ in range(message.rounds)]
    secrets = EpochSecrets(channel, message.first_round, Secret(b"".join(secret.reveal() for secret in round_secrets)))
    keys = m.EpochKeys(
        head=message.head,
        group=message.group,
        epoch=message.epoch,
        institution=settings.party,
        channel_key=x25519_public(channel),
        round_keys=b"".join(round_public(secret) for secret in round_secrets),
    )
    return state.with_secrets(message.epoch, secrets), (Publish(keys),)


def on_keys(state: ParticipantState, message: m.EpochKeys) -> Outcome:
    """Our own keys, read back, must be ours: a second process under our name would hold other secrets."""
    secrets = state.secrets.get(message.epoch)
    if message.institution != state.settings.party or secrets is None or message.channel_key == x25519_public(secrets.channel):
        return state, ()
    return state.with_secrets(message.epoch, None), (Report("own_identity_twice", state.settings.party, "keys that are not ours"),)


def on_roster(state: ParticipantState, message: m.EpochRoster, entropy: Entropy) -> Outcome:
    """In the roster: deal shares of every round key to every member, each boxed and committed to."""
    settings, secrets = state.settings, state.secrets.get(message.epoch)
    epoch = state.transcript.find_epoch(message.epoch, accused=settings.aggregator)
    if secrets is None or settings.party not in epoch.members or state.late(epoch.announced.shares_deadline_ms):
        return state.with_secrets(message.epoch, None), ()
    if len(epoch.members) < settings.terms.members_min:
        fault = Report("small_roster", settings.aggregator, f"{len(epoch.members)} members are too few for us")
        return state.with_secrets(message.epoch, None), (fault,)
    # The aggregator knows as well as we do who was revoked; if it does not, it is its word against the operator's.
    unfit = state.unfit(epoch.members)
    if unfit is not None:
        return state.with_secrets(message.epoch, None), (Report("unfit_member", settings.aggregator, unfit),)
    first, last = epoch.announced.first_round, epoch.round_last()
    # dealt[r][k]: the share of round first + r for member k.
    dealt = [
        split(secrets.round_secret(number), threshold=epoch.threshold, members=len(epoch.members), entropy=entropy)
        for number in range(first, last + 1)
    ]
    channel_keys = _channel_keys(settings.party, epoch, secrets.channel)
    boxes, tags = [], []
    for k, member in enumerate(epoch.members):
        shares = [row[k] for row in dealt]
        tags += [_tag(state, epoch, first + r, settings.party, member, share) for r, share in enumerate(shares)]
        if member == settings.party:
            held = {member: Secret(joined(shares))}
            boxes.append(bytes(SHARE_BYTES * epoch.announced.rounds + BOX_OVERHEAD_BYTES))
        else:
            address = _address(state, epoch, sender=settings.party, recipient=member)
            boxes.append(box_shares(joined(shares), address, key=channel_keys[k], entropy=entropy))
    secrets = replace(secrets, channel=Secret(b""), channel_keys=Secret(b"".join(key.reveal() for key in channel_keys)), held=held)
    said = m.EpochShares(
        head=message.head,
        group=message.group,
        epoch=message.epoch,
        institution=settings.party,
        roster_digest=epoch.roster_digest,
        boxes=b"".join(boxes),
        share_tags=b"".join(tags),
    )
    return state.with_secrets(message.epoch, secrets), (Publish(said),)


def _channel_keys(party: str, epoch: Epoch, channel: Secret) -> list[Secret]:
    """The key of the boxes between us and each member, in the roster's order; zeros for ourselves."""
    own_public = epoch.keys[party].channel_key
    return [
        Secret(bytes(KEY_BYTES)) if member == party else channel_key(channel, own_public, epoch.keys[member].channel_key, accused=member)
        for member in epoch.members
    ]


def on_shares(state: ParticipantState, message: m.EpochShares) -> Outcome:
    """A peer's shares for us: opened, compared with their commitments, kept; a dealer whose box is bad is reported."""
    party, secrets = state.settings.party, state.secrets.get(message.epoch)
    if secrets is None or not secrets.dealt or message.institution == party:
        return state, ()
    epoch = state.transcript.find_epoch(message.epoch, accused=message.institution)
    try:
        shares = _opened(state, epoch, secrets, message)
    except PeerFault as fault:
        return state, (Report(fault.kind, fault.accused, fault.detail),)
    held = {**secrets.held, message.institution: Secret(joined(shares))}
    return state.with_secrets(message.epoch, replace(secrets, held=held)), ()


def _opened(state: ParticipantState, epoch: Epoch, secrets: EpochSecrets, message: m.EpochShares) -> tuple[bytes, ...]:
    party, dealer, rounds = state.settings.party, message.institution, epoch.announced.rounds
    address, key = _address(state, epoch, sender=dealer, recipient=party), secrets.channel_key(epoch.positions[dealer])
    box_bytes = SHARE_BYTES * rounds + BOX_OVERHEAD_BYTES
    end = box_bytes * epoch.positions[party]
    plain = open_shares(message.boxes[end - box_bytes : end], address, key=key, plain_bytes=SHARE_BYTES * rounds)
    shares = parted(plain, rounds, accused=dealer)
    for number, share in enumerate(shares, start=epoch.announced.first_round):
        if _tag(state, epoch, number, dealer, party, share) != tag_of(epoch, message.share_tags, party, number):
            raise PeerFault("bad_share", f"the share of round {number} is not the one committed to", accused=dealer)
    return shares


def on_ready(state: ParticipantState, message: m.EpochReady) -> Outcome:
    """Keep the shares of the peers; without a place among them, keep nothing."""
    secrets = state.secrets.get(message.epoch)
    peers = {member.institution for member in message.members}
    if secrets is None:
        return state, ()
    if state.settings.party not in peers:
        return state.with_secrets(message.epoch, None), ()
    unfit = state.unfit(peers)
    if unfit is not None:
        return state.with_secrets(message.epoch, None), (Report("unfit_member", state.settings.aggregator, unfit),)
    held = {dealer: shares for dealer, shares in secrets.held.items() if dealer in peers}
    return state.with_secrets(message.epoch, replace(secrets, held=held)), ()


def _tag(state: ParticipantState, epoch: Epoch, number: int, dealer: str, holder: str, share: bytes) -> bytes:
    return share_tag(
        share,
        federation=state.settings.federation,
        round_id=RoundId(state.settings.lane, epoch.number, number),
        dealer=dealer,
        position=epoch.positions[holder],
        purpose=PURPOSE_ROUND_KEYS,
    )


def _address(state: ParticipantState, epoch: Epoch, *, sender: str, recipient: str) -> Address:
    return Address(
        federation=state.settings.federation,
        lane=state.settings.lane,
        epoch=epoch.number,
        round=0,
        sender=sender,
        recipient=recipient,
        roster_digest=epoch.roster_digest,
        purpose=PURPOSE_ROUND_KEYS,
    )
