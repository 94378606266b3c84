"""An institution in a round: its contribution masked once, the survivors acked once, its shares revealed once.

Called by `participant.step`.
Never masks a second vector under one round's keys, and never reveals both secrets of one member."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.ids import body_digest_of
from federation.limits import corrupt_of
from federation.rounds.commitments import TAG_BYTES, secret_commitment, share_tag
from federation.rounds.effects import ContributionReady, Effect, PrepareContribution, Publish, Report, RingVector, RoundEnded
from federation.rounds.participant_state import EpochSecrets, OwnRound, ParticipantState, SeedBox
from federation.rounds.phases import MEMBER_MOVES, AckQuorum, MemberStage, RoundPhase
from federation.rounds.transcript import SEED_BOX_BYTES, Epoch, Round, Transcript
from federation.rounds.transcript_round import survivors_min
from federation.rounds.unmasking import ABSENT
from federation.secagg.agreement import pair_seed, round_public, round_scalar, self_seed
from federation.secagg.keys import Entropy, Secret
from federation.secagg.masks import apply_masks, pair_sign
from federation.secagg.quantize import contribution_length
from federation.secagg.ring import to_bytes
from federation.secagg.sealing import PURPOSE_SELF_SEED, Address, box_shares, open_shares, seal
from federation.secagg.shares import SHARE_BYTES, checked_share, draw_secret, split

Outcome = tuple[ParticipantState, tuple[Effect, ...]]


def on_opened(state: ParticipantState, message: m.RoundOpened) -> Outcome:
    """A member asks its shell for a contribution; too late for one, it still acks and reveals for the others."""
    settings, secrets = state.settings, state.secrets.get(message.epoch)
    state = replace(state, stage=MemberStage.WATCHING, own=OwnRound())
    epoch = state.transcript.running()
    if secrets is None or settings.party not in epoch.peers:
        return state, ()
    state = state.with_secrets(message.epoch, secrets.erased_until(message.round))
    unfit = state.unfit(epoch.peers)
    if unfit is not None:
        return state, (Report("unfit_member", settings.aggregator, unfit, state.transcript.round_id()),)
    least = survivors_min(epoch, message)
    if least < settings.terms.survivors_min:
        return state, (Report("bad_round", settings.aggregator, f"{least} survivors are too few for us", state.transcript.round_id()),)
    state = replace(state, stage=MEMBER_MOVES[state.stage][m.RoundOpened])
    asked = wanted(state)
    return state, (asked,) if asked is not None else ()


def wanted(state: ParticipantState) -> PrepareContribution | None:
    """The contribution that the open round still waits for from us, or None. A shell asks again after a restart."""
    current = state.transcript.round
    if current is None or state.stage is not MemberStage.PREPARING or state.late(current.opened.masked_deadline_ms):
        return None
    epoch = state.transcript.running()
    return PrepareContribution(
        round_id=state.transcript.round_id(),
        model_version=current.opened.model_version,
        model_digest=current.opened.model_digest,
        parameters=epoch.parameters,
        honest_survivors=survivors_min(epoch, current.opened) - corrupt_of(len(epoch.members)),
        masked_deadline_ms=current.opened.masked_deadline_ms,
    )


def contribute(state: ParticipantState, event: ContributionReady, entropy: Entropy) -> Outcome:
    """The masked chunks and the masked update, to be said exactly as they are. A contribution that comes too late is dropped.

    OwnFault: a second one for this round, or a vector of the wrong shape.
    """
    current = state.transcript.round
    if current is None or event.round_id != state.transcript.round_id():
        return state, ()
    if state.stage is MemberStage.MASKED:
        raise OwnFault(f"{event.round_id} has been masked; a second vector under its keys would undo the mask")
    if state.stage is not MemberStage.PREPARING or state.late(current.opened.masked_deadline_ms):
        return state, ()
    epoch = state.transcript.running()
    if event.values.dtype != np.uint32 or event.values.shape != (contribution_length(epoch.parameters),):
        raise OwnFault("a contribution is uint32, of the length of the round")
    secrets = state.secrets[epoch.number]
    self_secret = draw_secret(entropy)
    values = _masked(state, epoch, secrets, self_secret, event.values)
    chunks = _chunks(state, epoch, values, entropy)
    update, own_share = _update(state, epoch, secrets, self_secret, chunks, entropy)
    own = replace(state.own, self_share=Secret(own_share), said=update.secret_commitment)
    state = replace(state, stage=MEMBER_MOVES[state.stage][ContributionReady], own=own)
    return state, (*(Publish(chunk) for chunk in chunks), Publish(update))


def _masked(state: ParticipantState, epoch: Epoch, secrets: EpochSecrets, self_secret: Secret, values: RingVector) -> RingVector:
    party, current = state.settings.party, state.transcript.opened_round()
    round_id, federation = state.transcript.round_id(), state.settings.federation
    round_secret = secrets.round_secret(round_id.round)
    scalar, public = round_scalar(round_secret), round_public(round_secret)
    pairs = [
        (
            pair_sign(party, peer),
            pair_seed(
                scalar,
                public,
                epoch.round_public(peer, round_id.round),
                federation=federation,
                round_id=round_id,
                model_digest=current.opened.model_digest,
                # The opening names the ready set. Its digest binds that and all else it says: members who were shown two
                # openings of one round, with other deadlines or numbers of survivors, do not cancel each other's masks.
                ready_digest=current.digest,
                accused=peer,
            ),
        )
        for peer in epoch.peers
        if peer != party
    ]
    masked = values.copy()
    apply_masks(masked, self_seed(self_secret, federation=federation, round_id=round_id), pairs)
    return masked


def _chunks(state: ParticipantState, epoch: Epoch, values: RingVector, entropy: Entropy) -> tuple[m.MaskedChunk, ...]:
    opened, length = state.transcript.opened_round().opened, epoch.parameters.chunk_length
    return tuple(
        m.MaskedChunk(
            head=opened.head,
            group=opened.group,
            epoch=opened.epoch,
            round=opened.round,
            institution=state.settings.party,
            chunk=chunk,
            chunks=epoch.chunks(),
            body=seal(to_bytes(values[chunk * length : (chunk + 1) * length]), state.sealing_key(), entropy=entropy),
        )
        for chunk in range(epoch.chunks())
    )


def _update(
    state: ParticipantState, epoch: Epoch, secrets: EpochSecrets, self_secret: Secret, chunks: tuple[m.MaskedChunk, ...], entropy: Entropy
) -> tuple[m.MaskedUpdate, bytes]:
    """The update, and our own share of our self seed."""
    party, opened = state.settings.party, state.transcript.opened_round().opened
    shares = split(self_secret, threshold=epoch.threshold, members=len(epoch.members), entropy=entropy)
    peers = frozenset(epoch.peers) - {party}
    boxes = [
        box_shares(
            share,
            _seed_address(state, epoch, sender=party, recipient=member),
            key=secrets.channel_key(position),
            entropy=entropy,
        )
        if member in peers
        else bytes(SEED_BOX_BYTES)
        for (member, position), share in zip(epoch.positions.items(), shares, strict=True)
    ]
    update = m.MaskedUpdate(
        head=opened.head,
        group=opened.group,
        epoch=opened.epoch,
        round=opened.round,
        institution=party,
        ready_digest=epoch.ready_digest,
        model_digest=opened.model_digest,
        chunk_digests=tuple(body_digest_of(chunk.body) for chunk in chunks),
        secret_commitment=secret_commitment(
            self_secret, federation=state.settings.federation, round_id=state.transcript.round_id(), dealer=party
        ),
        seed_boxes=b"".join(boxes),
        share_tags=b"".join(_seed_tag(state, epoch, party, member, share) for member, share in zip(epoch.members, shares, strict=True)),
    )
    return update, shares[epoch.positions[party] - 1]


def on_masked(state: ParticipantState, message: m.MaskedUpdate) -> Outcome:
    """Keep the box that is for us. An update under our name that we have not said: stand aside, our identity is in use twice."""
    if state.stage is MemberStage.WATCHING:
        return state, ()
    party = state.settings.party
    if message.institution == party:
        if message.secret_commitment == state.own.said:
            return state, ()
        fault = Report("own_identity_twice", party, "a masked update that is not ours", state.transcript.round_id())
        return replace(state, stage=MemberStage.WATCHING), (fault,)
    position = state.transcript.running().positions[party]
    box = SeedBox(_part(message.seed_boxes, SEED_BOX_BYTES, position), _part(message.share_tags, TAG_BYTES, position))
    return replace(state, own=replace(state.own, boxes={**state.own.boxes, message.institution: box})), ()


def _part(joined: bytes, length: int, position: int) -> bytes:
    """What stands at `position`, from 1, of pieces of one length."""
    return joined[length * (position - 1) : length * position]


def on_survivors(state: ParticipantState, message: m.SurvivorsNamed) -> Outcome:
    """Ack the list, once; refuse it if together with an earlier sum it would single out one or a few institutions."""
    if MEMBER_MOVES[state.stage].get(m.SurvivorsNamed) is None:
        return state, ()
    current = state.transcript.opened_round()
    unfit = state.unfit(())
    if unfit is not None:
        fault = Report("unfit_member", state.settings.aggregator, unfit, state.transcript.round_id())
        return replace(state, stage=MemberStage.WATCHING), (fault,)
    problem = _singles_out(state, current)
    if problem is not None:
        fault = Report("differencing", state.settings.aggregator, problem, state.transcript.round_id())
        return replace(state, stage=MemberStage.WATCHING), (fault,)
    ack = m.SurvivorsAcked(
        head=message.head,
        group=message.group,
        epoch=message.epoch,
        round=message.round,
        institution=state.settings.party,
        survivors_digest=current.survivors_digest,
    )
    return replace(state, stage=MEMBER_MOVES[state.stage][m.SurvivorsNamed]), (Publish(ack),)


def _singles_out(state: ParticipantState, current: Round) -> str | None:
    """Why this sum, beside one that we helped to open and that gave no model, would say too much about too few; or None."""
    terms, number = state.settings.terms, current.opened.round
    for earlier_number, earlier in (*state.unadopted, *state.elsewhere):
        difference = len(set(earlier) ^ set(current.survivors))
        if 0 < difference < terms.difference_min and number - earlier_number <= terms.difference_rounds:
            return f"differs by {difference} from the survivors of round {earlier_number}, whose sum gave no model"
    return None


def on_acked(state: ParticipantState, entropy: Entropy) -> Outcome:
    """At the threshold's ack: one share per peer, of its self seed if it survived, of its round key if it dropped out."""
    current = state.transcript.opened_round()
    if current.phase is not RoundPhase.UNMASKING or AckQuorum not in MEMBER_MOVES[state.stage]:
        return state, ()
    epoch, opened = state.transcript.running(), current.opened
    secrets = state.secrets[epoch.number]
    shares, faults = [], []
    for peer in epoch.peers:
        try:
            shares.append(_share_of(state, epoch, current, secrets, peer) or ABSENT)
        except PeerFault as fault:
            shares.append(ABSENT)
            faults.append(Report(fault.kind, fault.accused, fault.detail, state.transcript.round_id()))
    said = m.SharesRevealed(
        head=opened.head,
        group=opened.group,
        epoch=opened.epoch,
        round=opened.round,
        institution=state.settings.party,
        survivors_digest=current.survivors_digest,
        box=seal(b"".join(shares), state.sealing_key(), entropy=entropy),
    )
    stage = MEMBER_MOVES[state.stage][AckQuorum]
    # Kept until a model comes of it: what the aggregator may have seen counts, not what it says.
    unadopted = (*state.unadopted, (opened.round, current.survivors))
    return replace(state, stage=stage, unadopted=unadopted), (*faults, Publish(said))


def _share_of(state: ParticipantState, epoch: Epoch, current: Round, secrets: EpochSecrets, peer: str) -> bytes | None:
    """The one share of `peer` that this list of survivors calls for; None if we hold none."""
    party = state.settings.party
    if peer not in current.survivors:
        return secrets.share(peer, current.opened.round)
    if peer == party:
        return state.own.self_share.reveal() if state.own.self_share is not None else None
    boxed = state.own.boxes[peer]
    share = open_shares(
        boxed.box,
        _seed_address(state, epoch, sender=peer, recipient=party),
        key=secrets.channel_key(epoch.positions[peer]),
        plain_bytes=SHARE_BYTES,
    )
    checked_share(share, accused=peer)
    if _seed_tag(state, epoch, peer, party, share) != boxed.tag:
        raise PeerFault("bad_share", "the share of its self seed is not the one committed to", accused=peer)
    return share


def on_ended(state: ParticipantState, before: Transcript, message: m.ModelPublished | m.SumOpened | m.RoundAbandoned) -> Outcome:
    """Erase the round's secrets; tell the shell, which rebases its local learning if there is a model.

    Of a group's sum nothing is told yet: what comes of it, the head's merged model says (`head_participant`).
    """
    round_id = before.round_id()
    secrets = state.secrets.get(round_id.epoch)
    if secrets is not None:
        state = state.with_secrets(round_id.epoch, secrets.erased_until(round_id.round + 1))
    recent = tuple(kept for kept in state.unadopted if round_id.round - kept[0] < state.settings.terms.difference_rounds)
    state = replace(state, stage=MemberStage.WATCHING, own=OwnRound(), unadopted=recent)
    match message:
        case m.SumOpened():
            return state, ()
        case m.RoundAbandoned():
            return state, (RoundEnded(round_id, None, None, included=False),)
        case m.ModelPublished():
            included = state.settings.party in message.contributors
            ended = RoundEnded(round_id, message.version, message.model_digest, included=included)
            return replace(state, unadopted=()), (ended,)


def _seed_tag(state: ParticipantState, epoch: Epoch, dealer: str, holder: str, share: bytes) -> bytes:
    return share_tag(
        share,
        federation=state.settings.federation,
        round_id=state.transcript.round_id(),
        dealer=dealer,
        position=epoch.positions[holder],
        purpose=PURPOSE_SELF_SEED,
    )


def _seed_address(state: ParticipantState, epoch: Epoch, *, sender: str, recipient: str) -> Address:
    return Address(
        federation=state.settings.federation,
        lane=state.settings.lane,
        epoch=epoch.number,
        round=state.transcript.opened_round().opened.round,
        sender=sender,
        recipient=recipient,
        roster_digest=epoch.roster_digest,
        purpose=PURPOSE_SELF_SEED,
    )
