"""A participant's state as a record for its own database, and back.

Called by `head_record`, whose record of a head has one of these for each lane.
Never sends anything: the record holds secrets, and erased ones are not in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from federation import messages as m
from federation.errors import OwnFault
from federation.rounds import participant
from federation.rounds.participant_state import EpochSecrets, OwnRound, ParticipantSettings, ParticipantState, SeedBox, SumsHelped
from federation.rounds.phases import EpochPhase, MemberStage, RoundPhase
from federation.rounds.transcript import Ending, Epoch, Round
from federation.rounds.transcript_epoch import all_keys
from federation.secagg.keys import Secret


def to_record(state: ParticipantState) -> m.ParticipantSaved:
    """The record: everything but the settings, which the configuration gives again."""
    known, lane = state.transcript, state.settings.lane
    return m.ParticipantSaved(
        head=lane.head,
        group=lane.group,
        party=state.settings.party,
        now_ms=state.now_ms,
        model_version=known.model_version,
        model_digest=known.model_digest,
        model_known=known.model_known,
        epoch_first=known.epoch_first,
        epoch_last=known.epoch_last,
        round_next=known.round_next,
        opened_at_ms=known.opened_at_ms,
        current=_epoch_saved(known.current),
        pending=_epoch_saved(known.pending),
        round=_round_saved(known.round),
        ended=ending_saved(known.ended),
        secrets=tuple(_secrets_saved(epoch, secrets) for epoch, secrets in sorted(state.secrets.items())),
        stage=state.stage.name,
        boxes=tuple(m.SeedBoxHeld(dealer=dealer, box=held.box, tag=held.tag) for dealer, held in sorted(state.own.boxes.items())),
        self_share=state.own.self_share.reveal() if state.own.self_share is not None else None,
        said=state.own.said,
        unadopted=sums_saved(state.unadopted),
        serials=serials_saved(known.serials),
    )


def from_record(settings: ParticipantSettings, record: m.ParticipantSaved) -> ParticipantState:
    """The state that `to_record` was given; OwnFault if it is another party's or another lane's."""
    if (record.party, record.head, record.group) != (settings.party, settings.lane.head, settings.lane.group):
        raise OwnFault(f"the saved state is of {record.party}, {record.head.value}/{record.group}")
    fresh = participant.initial(settings, model_version=record.model_version, model_digest=record.model_digest)
    transcript = replace(
        fresh.transcript,
        model_known=record.model_known,
        epoch_first=record.epoch_first,
        epoch_last=record.epoch_last,
        round_next=record.round_next,
        opened_at_ms=record.opened_at_ms,
        current=_epoch(record.current),
        pending=_epoch(record.pending),
        round=_round(record.round),
        ended=ending(record.ended),
        serials=serials_seen(record.serials),
    )
    own = OwnRound(
        boxes={held.dealer: SeedBox(held.box, held.tag) for held in record.boxes},
        self_share=Secret(record.self_share) if record.self_share is not None else None,
        said=record.said,
    )
    return replace(
        fresh,
        transcript=transcript,
        now_ms=record.now_ms,
        secrets={saved.epoch: _secrets(saved) for saved in record.secrets},
        stage=MemberStage[record.stage],
        own=own,
        unadopted=sums_helped(record.unadopted),
    )


def ending_saved(ended: Ending | None) -> m.EndingSaved | None:
    """How a round ended, for a record."""
    if ended is None:
        return None
    return m.EndingSaved(epoch=ended.epoch, round=ended.round, digest=ended.digest, abandoned=ended.abandoned)


def ending(saved: m.EndingSaved | None) -> Ending | None:
    """What `ending_saved` was given."""
    return None if saved is None else Ending(saved.epoch, saved.round, saved.digest, saved.abandoned)


def sums_saved(helped: SumsHelped) -> tuple[m.SumHelped, ...]:
    """Sums that we helped to open, for a record."""
    return tuple(m.SumHelped(round=number, survivors=survivors) for number, survivors in helped)


def sums_helped(saved: tuple[m.SumHelped, ...]) -> SumsHelped:
    """What `sums_saved` was given."""
    return tuple((each.round, each.survivors) for each in saved)


def serials_saved(serials: Mapping[str, int]) -> tuple[m.SerialSeen, ...]:
    """Under which certificates parties speak, for a record."""
    return tuple(m.SerialSeen(party=party, serial=serial) for party, serial in sorted(serials.items()))


def serials_seen(saved: tuple[m.SerialSeen, ...]) -> dict[str, int]:
    """What `serials_saved` was given."""
    return {seen.party: seen.serial for seen in saved}


def _seen(digests: Mapping[str, bytes]) -> tuple[m.RecordSeen, ...]:
    return tuple(m.RecordSeen(institution=name, digest=digest) for name, digest in sorted(digests.items()))


def _digests(seen: tuple[m.RecordSeen, ...]) -> dict[str, bytes]:
    return {record.institution: record.digest for record in seen}


def _epoch_saved(epoch: Epoch | None) -> m.EpochSaved | None:
    if epoch is None:
        return None
    return m.EpochSaved(
        announced=epoch.announced,
        digest=epoch.digest,
        keys=tuple(keys for _, keys in sorted(epoch.keys.items())),
        keys_seen=_seen(epoch.keys_digests),
        roster=epoch.roster,
        roster_digest=epoch.roster_digest,
        shares_seen=_seen(epoch.shares_digests),
        ready=epoch.ready,
        ready_digest=epoch.ready_digest,
    )


def _epoch(saved: m.EpochSaved | None) -> Epoch | None:
    if saved is None:
        return None
    phase = EpochPhase.READY if saved.ready is not None else EpochPhase.SHARES if saved.roster is not None else EpochPhase.KEYS
    return Epoch(
        announced=saved.announced,
        digest=saved.digest,
        phase=phase,
        keys={keys.institution: keys for keys in saved.keys},
        keys_digests=_digests(saved.keys_seen),
        advertised=frozenset(key for keys in saved.keys for key in all_keys(keys)) if saved.roster is None else frozenset(),
        roster=saved.roster,
        roster_digest=saved.roster_digest,
        shares_digests=_digests(saved.shares_seen),
        ready=saved.ready,
        ready_digest=saved.ready_digest,
    )


def _round_saved(current: Round | None) -> m.RoundSaved | None:
    if current is None:
        return None
    return m.RoundSaved(
        opened=current.opened,
        digest=current.digest,
        phase=current.phase.name,
        updates=_seen(current.updates),
        survivors=current.survivors,
        survivors_digest=current.survivors_digest,
        acks=_seen(current.acks),
    )


def _round(saved: m.RoundSaved | None) -> Round | None:
    if saved is None:
        return None
    return Round(
        opened=saved.opened,
        digest=saved.digest,
        phase=RoundPhase[saved.phase],
        updates=_digests(saved.updates),
        survivors=saved.survivors,
        survivors_digest=saved.survivors_digest,
        acks=_digests(saved.acks),
    )


def _secrets_saved(epoch: int, secrets: EpochSecrets) -> m.SecretsSaved:
    return m.SecretsSaved(
        epoch=epoch,
        channel=secrets.channel.reveal(),
        first_left=secrets.first_left,
        round_secrets=secrets.round_secrets.reveal(),
        channel_keys=secrets.channel_keys.reveal(),
        held=tuple(m.SharesHeld(dealer=dealer, shares=shares.reveal()) for dealer, shares in sorted(secrets.held.items())),
    )


def _secrets(saved: m.SecretsSaved) -> EpochSecrets:
    return EpochSecrets(
        channel=Secret(saved.channel),
        first_left=saved.first_left,
        round_secrets=Secret(saved.round_secrets),
        channel_keys=Secret(saved.channel_keys),
        held={held.dealer: Secret(held.shares) for held in saved.held},
    )
