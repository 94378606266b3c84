"""The institution's part in the rounds: the lane's log in, steps of `rounds.participant`, and their effects, saved before said.

Driven by `worker`, a step at a time.
Never says what is not in the journal, and never puts anything into a round but what `preparation` made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from federation.errors import OwnFault, PeerFault
from federation.ids import Lane, RoundId
from federation.limits import COHORT_MIN
from federation.messages import (
    ActionKind,
    EpochAnnounced,
    EpochKeys,
    EpochReady,
    EpochRoster,
    EpochShares,
    GroupsInvited,
    GroupsMerged,
    HeadName,
    HeadSaved,
    LotRevealed,
    LotSealed,
    MaskedChunk,
    MaskedUpdate,
    Message,
    ModelPublished,
    PartyCertified,
    PartyRole,
    RoundOpened,
    SharesRevealed,
    SurvivorsAcked,
)
from federation.rounds import head_participant, participant
from federation.rounds.effects import (
    ContributionReady,
    Effect,
    PartiesKnown,
    PrepareContribution,
    Publish,
    Received,
    Report,
    RoundEnded,
    Tick,
    model_digest,
)
from federation.rounds.head_participant import HeadParticipantState
from federation.rounds.head_record import from_head_record, to_head_record
from federation.rounds.participant import ParticipantSettings
from federation.rounds.phases import AGGREGATOR_ALONE_READS
from institution_workers.global_models import GlobalModels, made_of
from institution_workers.pupil import Basis, Pupil
from institution_workers.saving import save_pupil
from institution_workers.speaker import Speaker
from institution_workers.storage import StateUnusable, Store
from institution_workers.study import Study
from streams.codec import DecodeError, decode, encode, kind_of
from streams.courier import Courier
from streams.identity import Identity
from streams.parties import Parties
from streams.ports import Clock, Entropy, Log, LogReader, Outgoing, Position, Record
from streams.signed import Opened, unwrapped
from streams.telemetry import CONTRIBUTIONS, FAULTS, ROUND_NUMBER
from streams.topology import MODELS, ROUNDS, Cluster, lane_partition

_BATCH: Final = 200
_MEMBERS_NAMED: Final = (EpochAnnounced, EpochRoster, EpochReady, GroupsInvited)
_SAVED_BYTES_MAX: Final = 1 << 26  # An epoch of 256 members and 64 rounds takes about 2 MiB.
_LOG = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Budget:
    """What the rounds of a head may cost a customer (privacy.accountant.budget_of), in so many days."""

    cost_max: float
    period_days: int


@dataclass(frozen=True, slots=True)
class Member:
    """Who the institution is in the federation, and on what terms it contributes, whatever the aggregator proposes."""

    party: str
    budgets: Mapping[HeadName, Budget]
    members_min: int = COHORT_MIN  # Takes part in no smaller cohort.


@dataclass
class _Turn:
    """What one turn has gathered to be saved and said."""

    now_ms: int
    said: dict[HeadName, list[Message]] = field(default_factory=dict)
    faults: list[Report] = field(default_factory=list)
    pupils: set[HeadName] = field(default_factory=set)  # Changed.
    served: set[HeadName] = field(default_factory=set)  # Rest on a new model.
    secrets_erased: bool = False


class Participation:
    """All lanes of one institution. A step that raised LogUnavailable is repeated after `open`."""

    def __init__(
        self,
        log: Log,
        store: Store,
        study: Study,
        speaker: Speaker,
        courier: Courier,
        parties: Parties,
        identity: Identity,
        *,
        member: Member,
        clock: Clock,
        entropy: Entropy,
        reach: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """`reach` is told each labelled point, so that tests can crash there."""
        self._log = log
        self._store: Final = store
        self._study: Final = study
        self._speaker: Final = speaker
        self._courier = courier
        self._parties: Final = parties
        self._identity: Final = identity
        self._member = member
        self._clock = clock
        self._entropy = entropy
        self._reach = reach
        self._models: Final = GlobalModels(log, parties)
        self._reader: LogReader | None = None
        self._aggregator: str | None = None
        self._heads: dict[HeadName, HeadParticipantState] = {}
        self._refused: set[bytes] = set()  # Digests of models that are not what the log says they are.

    async def open(self) -> None:
        """Say what was left unsaid, learn who is certified, read on where the state ends."""
        await self.close()
        await self._speaker.flush()
        await self._identity.keep_up()
        heads = self._study.pupils
        topic = ROUNDS.full_name()
        starts = {head: self._store.next_offset(MODELS.full_name(), lane_partition(head)) for head in heads}
        await self._models.open(starts)
        places = [lane_partition(head) for head in heads]
        self._reader = await self._log.reader([Position(topic, place, self._store.next_offset(topic, place)) for place in places])

    async def step(self, wait_ms: int) -> int:
        """One turn over what the lanes' logs brought within `wait_ms`; how many records that was."""
        if self._reader is None:
            await self.open()
            return 0
        if not await self._know_aggregator():
            await asyncio.sleep(wait_ms / 1000)
            return 0
        records = await self._reader.poll(_BATCH, wait_ms)
        opened = [await self._opened(record) for record in records]
        if any(isinstance(each, Opened) and isinstance(each.message, _MEMBERS_NAMED) for each in opened):
            await self._parties.catch_up()  # Whoever names members has read who they are; so must we, before we judge.
        await self._models.obtain(self._wanted(opened))
        if records or self._adoptable():
            self._turn(records, opened)
        await self._speaker.flush()
        return len(records)

    async def close(self) -> None:
        """Stop reading."""
        await self._models.close()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()

    # --- what is known --------------------------------------------------------------------------------------------
    async def _know_aggregator(self) -> bool:
        """Whether the CA has named the aggregator; its key may change, its name may not."""
        aggregator = self._parties.directory.aggregator()
        if aggregator is None:
            await self._parties.catch_up()
            aggregator = self._parties.directory.aggregator()
        if aggregator is not None and aggregator.party != self._aggregator:
            self._aggregator = aggregator.party
            self._heads = {head: self._head(pupil, aggregator) for head, pupil in self._study.pupils.items()}
        return aggregator is not None

    async def _opened(self, record: Record) -> Opened | DecodeError | PeerFault | None:
        """The message, its signature verified; or what is wrong with it; None, and nothing verified, if it concerns the aggregator alone."""
        try:
            envelope = unwrapped(record.value or b"", ROUNDS)
            if kind_of(envelope.payload) in AGGREGATOR_ALONE_READS:
                return None
            return await self._parties.open_envelope(envelope, ROUNDS, at_ms=None)
        except (DecodeError, PeerFault) as fault:
            return fault

    def _who_is_who(self, now_ms: int) -> PartiesKnown:
        """What the lanes have to know of the directory."""
        directory = self._parties.directory
        certificates = directory.certificates.get(self._aggregator or "", ())
        return PartiesKnown(
            directory.acceptable(now_ms, PartyRole.INSTITUTION, PartyRole.AGGREGATOR),
            {each.serial: each.sealing_key for each in certificates},
        )

    def _head(self, pupil: Pupil, aggregator: PartyCertified) -> HeadParticipantState:
        """The head as last saved, or new."""
        settings = ParticipantSettings(
            federation=aggregator.federation,
            lane=Lane(pupil.head),
            party=self._member.party,
            aggregator=aggregator.party,
            terms=participant.Terms(
                dimension=len(pupil.layout),
                layout_digest=pupil.layout.digest,
                cost_max=self._member.budgets[pupil.head].cost_max,
                period_days=self._member.budgets[pupil.head].period_days,
                members_min=self._member.members_min,
            ),
        )
        saved = self._store.participant(pupil.head.value)
        if saved is None:
            return head_participant.initial(settings, model_version=0, model_digest=model_digest(np.zeros(len(pupil.layout))))
        try:
            record = decode(saved, (HeadSaved,), _SAVED_BYTES_MAX)
        except DecodeError as error:
            raise StateUnusable(
                f"the saved {pupil.head.value} rounds cannot be read ({error}): move the state folder away to start afresh"
            ) from error
        return from_head_record(settings, record)  # type: ignore[arg-type]  # The only type allowed above.

    def _wanted(self, opened: Iterable[Opened | DecodeError | PeerFault | None]) -> dict[HeadName, list[bytes]]:
        """Per head the global model that its log, these records included, names last, unless its pupil rests on it.

        Before a merged one come the model and the sums that it is made from.
        """
        named: dict[HeadName, list[bytes]] = {}
        for head, pupil in self._study.pupils.items():
            known = self._heads[head].head
            is_new = known.merged is not None and known.model_version != pupil.basis.version
            named[head] = made_of(known.merged.message) if known.merged is not None and is_new else [known.model_digest]
        for each in opened:
            if not isinstance(each, Opened) or each.sender != self._aggregator:
                continue
            if isinstance(each.message, GroupsMerged):
                named[each.message.head] = made_of(each.message)
            elif isinstance(each.message, (ModelPublished, RoundOpened)) and each.message.model_digest != named[each.message.head][-1]:
                named[each.message.head] = [each.message.model_digest]
        pupils = self._study.pupils
        return {head: digests for head, digests in named.items() if head in pupils and digests[-1] != pupils[head].base_digest}

    def _adoptable(self) -> bool:
        return any(
            pupil.basis.version != (known := self._heads[head].head).model_version
            and known.model_digest not in self._refused
            and self._models.newest(known) is not None
            for head, pupil in self._study.pupils.items()
        )

    # --- the turn -------------------------------------------------------------------------------------------------
    def _turn(self, records: Sequence[Record], opened: Sequence[Opened | DecodeError | PeerFault | None]) -> None:
        turn = _Turn(self._clock.now_ms())
        before = dict(self._heads)
        known = self._who_is_who(turn.now_ms)
        with self._store.turn():
            for head in self._heads:
                self._step(head, known, turn)
                self._step(head, Tick(turn.now_ms), turn)
            for record, each in zip(records, opened, strict=True):
                if each is not None:
                    self._read(record, each, turn)
            for head, pupil in self._study.pupils.items():
                self._adopt(head, pupil, turn)
                wanted = head_participant.wanted(self._heads[head]) if head in turn.served else None
                if wanted is not None:
                    self._contribute(head, wanted, turn)  # The model came after the opening that named it.
            self._reach("stepped")
            self._save(records, before, turn)
            self._reach("rounds written")
        self._reach("rounds saved")
        if turn.secrets_erased:
            self._store.erase_traces()

    def _read(self, record: Record, opened: Opened | DecodeError | PeerFault, turn: _Turn) -> None:
        if isinstance(opened, DecodeError):
            # Not even an envelope: there is nobody to accuse.
            turn.faults.append(Report(opened.reason.value, "", f"{ROUNDS.name}/{record.partition} at {record.offset}: {opened.detail}"))
        elif isinstance(opened, PeerFault):
            turn.faults.append(Report(opened.kind, opened.accused, opened.detail))
        else:
            head = getattr(opened.message, "head", None)
            if head not in self._heads or lane_partition(head) != record.partition:
                detail = f"a {type(opened.message).__name__} in another head's log"
                turn.faults.append(Report("wrong_partition", opened.sender, detail))
                return
            if isinstance(opened.message, MaskedUpdate) and opened.sender == self._member.party:
                self._hear_ourselves(head, opened.message, turn)
            self._step(head, Received(opened.sender, opened.message, opened.digest, opened.serial), turn)

    def _hear_ourselves(self, head: HeadName, said: MaskedUpdate, turn: _Turn) -> None:
        """A contribution in our name that our ledger has not paid for: the state is new, or an old copy, or somebody has our key."""
        if not self._study.ledger.heard(head, said.round, turn.now_ms):
            detail = "our ledger does not know this contribution: until it is a period old, no customer contributes"
            turn.faults.append(Report("ledger_gap", self._member.party, detail, RoundId(Lane(head, said.group), said.epoch, said.round)))

    def _step(self, head: HeadName, event: Received | Tick | ContributionReady | PartiesKnown, turn: _Turn) -> bool:
        """One event of a head and its effects; whether there were any."""
        self._heads[head], effects = head_participant.step(self._heads[head], event, self._entropy)
        for effect in effects:
            self._perform(head, effect, turn)
        return bool(effects)

    def _perform(self, head: HeadName, effect: Effect, turn: _Turn) -> None:
        match effect:
            case Publish(message):
                turn.said.setdefault(head, []).append(message)
            case PrepareContribution():
                self._contribute(head, effect, turn)
            case RoundEnded():
                self._end(head, effect, turn)
            case Report():
                turn.faults.append(effect)
            case _:
                raise OwnFault(f"a participant does not ask for {type(effect).__name__}")

    def _contribute(self, head: HeadName, wanted: PrepareContribution, turn: _Turn) -> None:
        """Whether anything was learned makes no difference to whether a contribution is made. What was said is not said again."""
        self._reach("contribution wanted")
        pupil = self._study.pupils[head]
        self._adopt(head, pupil, turn)
        if pupil.base_digest != wanted.model_digest:
            turn.faults.append(
                Report("model_unavailable", self._member.party, f"version {wanted.model_version} was not found", wanted.round_id)
            )
            return
        try:
            ready = self._study.contribution(head, wanted.parameters, honest_survivors=wanted.honest_survivors, entropy=self._entropy)
        except OwnFault as fault:
            turn.faults.append(Report("not_prepared", self._member.party, str(fault), wanted.round_id))
            return
        if self._step(head, ContributionReady(wanted.round_id, ready.made.values), turn):
            self._study.said(head, ready, epoch=wanted.round_id.epoch, round_=wanted.round_id.round)
            turn.pupils.add(head)
            if ready.made.customers.clamped:
                detail = f"{ready.made.customers.clamped} coordinates of the sum did not fit the ring and were cut: lower clip_quanta"
                turn.faults.append(Report("clamped", self._member.party, detail, wanted.round_id))
            self._study.learner.counts[f"round.{head.value}"] = wanted.round_id.round

    def _end(self, head: HeadName, ended: RoundEnded, turn: _Turn) -> None:
        turn.secrets_erased = True
        ROUND_NUMBER.labels(head.value).set(ended.round_id.round)
        if ended.model_version is None:
            return
        pupil = self._study.pupils[head]
        ours = pupil.contributed_to == (ended.round_id.epoch, ended.round_id.round)
        if ended.included and not ours:
            # Somebody else speaks in our name, or the state folder is an old copy. What we know is all ours to keep.
            detail = "the model includes a contribution that is not ours"
            turn.faults.append(Report("own_identity_twice", self._member.party, detail, ended.round_id))
        CONTRIBUTIONS.labels(head.value, "included" if ended.included else "left out").inc()
        pupil.acknowledge(ended.round_id.epoch, ended.round_id.round, included=ended.included and ours)
        turn.pupils.add(head)
        self._adopt(head, pupil, turn)

    def _adopt(self, head: HeadName, pupil: Pupil, turn: _Turn) -> None:
        """Rest on the model that the log names last, if its vector is at hand and, where groups were merged, what their sums make."""
        state = self._heads[head]
        known = state.head
        if pupil.basis.version == known.model_version and pupil.base_digest == known.model_digest:
            return
        found = self._models.newest(known)
        if found is None or known.model_digest in self._refused:
            return
        problem = self._models.problem(known, found)
        if problem is not None:
            self._refused.add(known.model_digest)
            turn.faults.append(Report("bad_merge", known.aggregator, f"model {known.model_version} is {problem}"))
            return
        ended = state.ended()
        epoch, number = (ended.epoch, ended.round) if ended is not None else (0, 0)
        pupil.adopt(found.vector, Basis(known.model_version, epoch, number))
        adopted = {"head": head.value, "version": str(known.model_version), "model": known.model_digest.hex()}
        self._study.note(ActionKind.RELEASE, "adopted", adopted, key=f"adopted {head.value} {known.model_digest.hex()}")
        self._store.set_offset(MODELS.full_name(), lane_partition(head), found.offset)
        turn.pupils.add(head)
        turn.served.add(head)

    # --- saved, then said -----------------------------------------------------------------------------------------
    def _save(self, records: Sequence[Record], before: dict[HeadName, HeadParticipantState], turn: _Turn) -> None:
        outgoing: list[Outgoing] = []
        for head, messages in turn.said.items():
            due = [message for message in messages if self._still_wanted(head, message, turn.now_ms)]
            sealed = self._courier.prepare(due, turn.now_ms)
            outgoing += sealed
            name = f"sent.{head.value}"
            sent_bytes = sum(len(record.value or b"") for record in sealed[: len(due)])
            self._study.learner.counts[name] = self._study.learner.counts.get(name, 0) + sent_bytes
        for fault in turn.faults:
            FAULTS.labels(fault.kind).inc()
        # Of each kind and party one a round: whoever floods the log does not make us flood the audit.
        for fault in {(fault.kind, fault.accused, fault.round_id): fault for fault in reversed(turn.faults)}.values():
            _LOG.warning("fault", kind=fault.kind, accused=fault.accused, detail=fault.detail)
            outgoing += self._courier.prepare_fault(fault.kind, fault.accused, fault.detail, fault.round_id, turn.now_ms)
        self._store.journal(Cluster.FEDERATION, outgoing)
        self._store.journal(Cluster.OWN, [self._study.serve(head, turn.now_ms) for head in sorted(turn.served)])
        for head in turn.pupils:
            save_pupil(self._store, self._study.pupils[head])
        for head, state in self._heads.items():
            if state is not before[head]:
                self._store.set_participant(head.value, encode(to_head_record(state)))
        for record in records:
            self._store.set_offset(record.topic, record.partition, record.offset + 1)
        self._store.set_counters(self._study.learner.counts)

    def _still_wanted(self, head: HeadName, message: Message, now_ms: int) -> bool:
        """Whether saying it helps anybody: after a long absence the log holds rounds that are long over."""
        if isinstance(message, (EpochKeys, EpochShares, LotSealed, LotRevealed)):
            return True
        lane = (
            self._heads[head].lane_of(message) if isinstance(message, (MaskedChunk, MaskedUpdate, SurvivorsAcked, SharesRevealed)) else None
        )
        current = lane.transcript.round if lane is not None else None
        if current is None or current.opened.round != getattr(message, "round", None):
            return False
        deadline_ms = current.opened.masked_deadline_ms if isinstance(message, MaskedUpdate) else current.opened.unmask_deadline_ms
        return now_ms < deadline_ms
