"""A federation in one process: production cores behind journaling shells, the real codec and envelopes, a simulated log and clock.

Used by `test_seeds`; the shells keep to the duties that docs/protocol.md gives a shell: save, then speak.
Never looks at a real clock or draws real entropy: one seed is one history, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from federation import messages as m
from federation.ids import RoundId, body_digest_of
from federation.rounds import head_coordinator, head_participant
from federation.rounds.coordinator_state import CoordinatorSettings
from federation.rounds.effects import (
    ChunksSummed,
    ContributionReady,
    Effect,
    Event,
    LoadModel,
    LoadSum,
    ModelLoaded,
    PartiesKnown,
    PrepareContribution,
    Publish,
    PublishModel,
    PublishSum,
    Received,
    Report,
    RingVector,
    RoundEnded,
    SumChunks,
    SumLoaded,
    Tick,
    Vector,
    WakeAt,
    model_digest,
)
from federation.rounds.head_coordinator_state import Grouping, HeadCoordinatorState
from federation.rounds.head_participant import HeadParticipantState
from federation.rounds.head_record import from_head_record, to_head_record
from federation.rounds.head_transcript import lane_of
from federation.rounds.participant_state import ParticipantSettings, Terms
from federation.secagg import ring
from federation.secagg.keys import Secret, sign
from federation.secagg.sealing import SEAL_OVERHEAD_BYTES, unseal
from streams.codec import decode, encode
from streams.signed import open_record, seal_record
from streams.topology import CHUNKS, ROUNDS
from tests.credentials import Credentials
from tests.sim.faults import CALM, Crash, Cut, Faults, Trouble
from tests.sim.table import AGGREGATOR, FEDERATION, LANE, LAYOUT, Stream, parameters

DIMENSION = 3
RESTART_MS = 300


@dataclass(frozen=True, slots=True)
class Said:
    """A record as it lies in a journal, ready to be appended unchanged; `chunk` is the digest of a masked chunk's body, else empty."""

    value: bytes
    chunk: bytes = b""


@dataclass
class Disk:
    """What an institution has saved, all of one moment."""

    record: m.HeadSaved | None = None
    offset: int = 0
    journal: tuple[Said, ...] = ()


class World:
    """Everybody, and the log between them."""

    def __init__(
        self, seed: int, *, faults: Faults | None = None, institutions: int | None = None, grouping: Grouping | None = None
    ) -> None:
        self.seed, self.grouping = seed, grouping
        self.trouble = Trouble(seed, Faults.drawn(seed) if faults is None else faults)
        count = institutions if institutions is not None else self.trouble.between(3, 6)
        self.names = tuple("ABCDEFGHIJKL"[:count])
        self.credentials = Credentials(FEDERATION, self.names, ca=Secret(Stream(seed, "ca")(32)))
        self.keys = self.credentials.keys
        self.now_ms = 1_000_000
        self.log: list[Received] = []
        self.history = hashlib.blake2b(digest_size=16)  # Of every byte appended, in order.
        self.chunks: dict[bytes, tuple[str, bytes]] = {}
        self.models: dict[bytes, Vector] = {model_digest(np.zeros(DIMENSION)): np.zeros(DIMENSION)}
        self.sums: dict[bytes, RingVector] = {}
        self.reports: list[tuple[str, Report]] = []
        self.ended: list[tuple[str, RoundEnded]] = []
        self.contributed: dict[tuple[str, int], list[RingVector]] = {}  # Saved, hence said sooner or later.
        self.round_secrets: dict[str, dict[int, bytes]] = {name: {} for name in self.names}
        self.aggregator = AggregatorShell(self)
        self.reader = (
            0,
            head_participant.initial(self.settings_of("reader"), model_version=0, model_digest=model_digest(np.zeros(DIMENSION))),
        )
        self.zombies: list[tuple[AggregatorShell, int]] = []
        self.institutions = {name: InstitutionShell(self, name) for name in self.names}

    # --- the log ---------------------------------------------------------------------------------------------------
    def seal(self, sender: str, message: m.Message) -> Said:
        """The exact bytes of a record."""
        chunk = isinstance(message, m.MaskedChunk)
        value = seal_record(
            message,
            sender=sender,
            sign=lambda signed: sign(self.keys[sender].signing_seed, signed),
            federation=FEDERATION,
            topic=CHUNKS if chunk else ROUNDS,
        )
        return Said(value, body_digest_of(message.body) if isinstance(message, m.MaskedChunk) else b"")

    def append(self, said: Said) -> None:
        """Onto the log; everybody will read the same bytes."""
        opened = open_record(
            said.value, topic=CHUNKS if said.chunk else ROUNDS, federation=FEDERATION, verify=self.credentials.directory.verify
        )
        self.history.update(said.value)
        if isinstance(opened.message, m.MaskedChunk):
            self.chunks[said.chunk] = (opened.sender, opened.message.body)
            return
        self.log.append(Received(opened.sender, opened.message, opened.digest, opened.serial))
        if self.trouble.chance(self.trouble.faults.repeat):
            self.log.append(self.log[-1])  # A producer that got no answer has sent it again.

    def summed(self, asked: SumChunks) -> ChunksSummed:
        """What the chunk workers answer."""
        total = ring.zeros(DIMENSION + 1)
        for name, digests in asked.chunk_digests:
            ring.add(total, np.concatenate([self.opened_chunk(digest) for digest in digests]))
            assert all(self.chunks[digest][0] == name for digest in digests)
        return ChunksSummed(asked.round_id, asked.survivors_digest, total)

    def opened_chunk(self, digest: bytes) -> RingVector:
        """A masked chunk as the aggregator sees it."""
        sender, body = self.chunks[digest]
        plain = unseal(body, self.keys[AGGREGATOR].sealing_secret, plain_bytes=len(body) - SEAL_OVERHEAD_BYTES, accused=sender)
        return ring.from_bytes(plain, len(plain) // 4, accused=sender)

    # --- time ------------------------------------------------------------------------------------------------------
    def run(self, rounds: int, *, turns_max: int = 4_000) -> None:
        """Go on until the log has ended that many more rounds and has none open."""
        target = self.rounds_ended() + rounds
        for _ in range(turns_max):
            if self.rounds_ended() >= target and not self.in_round():
                return
            self.turn()
        raise AssertionError(f"stuck: {self.rounds_ended()} rounds ended, {target} wanted")

    def turn(self) -> None:
        """One turn of one shell that has something to do; if nobody has, time passes."""
        shells: dict[str, Shell] = {AGGREGATOR: self.aggregator, **self.institutions}
        shells |= {f"zombie {index}": zombie for index, (zombie, _) in enumerate(self.zombies)}
        busy = [name for name, shell in shells.items() if shell.has_work()]
        if not busy:
            later = [at_ms for shell in shells.values() if (at_ms := shell.next_ms()) is not None and at_ms > self.now_ms]
            self.now_ms = min(min(later, default=self.now_ms + 1_000), self.now_ms + 1_000)
            return
        self.now_ms += self.trouble.between(0, 20)
        shells[self.trouble.one_of(busy)].run_turn()
        self.zombies = [(zombie, turns - 1) for zombie, turns in self.zombies if turns > 1]

    def calm_down(self) -> None:
        """From now on nothing goes wrong any more."""
        self.trouble.faults = CALM
        self.zombies = []

    # --- what the log says -----------------------------------------------------------------------------------------
    def settings_of(self, name: str) -> ParticipantSettings:
        """An institution's settings, or those of somebody who only reads."""
        return ParticipantSettings(
            federation=FEDERATION,
            lane=LANE,
            party=name,
            aggregator=AGGREGATOR,
            terms=Terms(dimension=DIMENSION, layout_digest=LAYOUT),
        )

    def read(self) -> HeadParticipantState:
        """The log, read by somebody who is never invited; kept up as the log grows."""
        offset, state = self.reader
        for received in self.log[offset:]:
            state, _ = head_participant.step(state, received, Stream("reader"))
        self.reader = (len(self.log), state)
        return state

    def in_round(self) -> bool:
        """Whether a round is open, or one of the groups is still to be merged."""
        state = self.read()
        return state.head.gathering is not None or any(lane.transcript.round is not None for lane in state.lanes.values())

    def rounds_ended(self) -> int:
        """How many rounds have been opened, less the open one."""
        return self.read().head.round_next - 1 - self.in_round()


class Shell:
    """What both shells share: crashing, being cut off, polling."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.offset = 0
        self.down_until_ms: int | None = None
        self.cut_until_ms = 0
        self.skew_ms = world.trouble.between(-200, 200)
        self.wake_ms: int | None = None

    def now(self) -> Tick:
        return Tick(self.world.now_ms + self.skew_ms)

    def next_ms(self) -> int | None:
        """When it has something to do if nothing comes in."""
        candidates = [at for at in (self.down_until_ms, self.wake_ms) if at is not None]
        if self.cut_until_ms > self.world.now_ms:
            candidates.append(self.cut_until_ms)
        return min(candidates, default=None)

    def has_work(self) -> bool:
        if self.cut_until_ms > self.world.now_ms:
            return False
        if self.down_until_ms is not None:
            return self.world.now_ms >= self.down_until_ms
        woken = self.wake_ms is not None and self.world.now_ms >= self.wake_ms
        return woken or self.offset < len(self.world.log)

    def poll(self) -> list[Received]:
        trouble, log = self.world.trouble, self.world.log
        end = len(log)
        if trouble.chance(trouble.faults.partial):
            end = trouble.between(self.offset, end)
        batch = log[self.offset : end]
        self.offset = end
        repeated = [received for received in batch for _ in range(2 if trouble.chance(trouble.faults.repeat) else 1)]
        trouble.reach("polled")
        return repeated

    def say(self, said: Said) -> None:
        if self.cut_until_ms > self.world.now_ms:
            raise Cut
        self.world.append(said)

    def run_turn(self) -> None:
        """A turn, or what a supervisor does about it."""
        trouble = self.world.trouble
        if trouble.chance(trouble.faults.cut):
            self.cut_until_ms = self.world.now_ms + trouble.between(100, 8_000)
        try:
            if self.down_until_ms is not None:
                self.down_until_ms = None
                self.restart()
            self.one_turn()
        except (Crash, Cut):
            self.fall()

    def fall(self) -> None:
        self.down_until_ms = max(self.world.now_ms, self.cut_until_ms) + RESTART_MS

    def restart(self) -> None:
        raise NotImplementedError

    def one_turn(self) -> None:
        raise NotImplementedError


class InstitutionShell(Shell):
    """An institution: state and journal on a disk that is written all at once."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.disk = Disk()
        self.entropy = Stream(world.seed, "entropy", name)
        self.settings = world.settings_of(name)
        self.attempts = 0
        self.down_until_ms = world.now_ms + (world.trouble.between(0, 12_000) if world.trouble.chance(0.3) else 0)

    def restart(self) -> None:
        """As the process starts: from the disk alone."""
        self.offset, self.wanted = self.disk.offset, None
        if self.disk.record is None:
            self.state = head_participant.initial(self.settings, model_version=0, model_digest=model_digest(np.zeros(DIMENSION)))
        else:
            record = decode(encode(self.disk.record), (m.HeadSaved,), 8_000_000)
            assert isinstance(record, m.HeadSaved)
            self.state = from_head_record(self.settings, record)
        self.flush()
        acceptable = self.world.credentials.directory.acceptable(self.world.now_ms, *m.PartyRole)
        known = PartiesKnown(acceptable, {1: self.world.keys[AGGREGATOR].sealing_key})
        for event in (known, self.now()):
            self.state, _ = head_participant.step(self.state, event, self.entropy)
        self.wanted = head_participant.wanted(self.state)

    def has_work(self) -> bool:
        return super().has_work() or (self.down_until_ms is None and self.cut_until_ms <= self.world.now_ms and self.wanted is not None)

    def one_turn(self) -> None:
        made: list[tuple[RoundId, RingVector]] = []
        messages: list[m.Message] = []
        for event in self.events():
            before = self.state
            self.state, effects = head_participant.step(self.state, event, self.entropy)
            if isinstance(event, ContributionReady) and self.state is not before:
                made.append((event.round_id, event.values))
            messages += self.perform(effects)
        self.world.trouble.reach("stepped")
        # One atomic write: the state, where it stopped reading, and what it is about to say.
        self.disk = Disk(
            to_head_record(self.state), self.offset, (*self.disk.journal, *(self.world.seal(self.name, each) for each in messages))
        )
        for round_id, values in made:
            self.world.contributed.setdefault((self.name, round_id.round), []).append(values)
        self.world.trouble.reach("saved")
        self.flush()

    def events(self) -> Iterator[Event]:
        yield self.now()
        yield from self.poll()
        trouble = self.world.trouble
        if self.wanted is not None and not trouble.chance(trouble.faults.idle):
            wanted, self.wanted = self.wanted, None
            self.attempts += 1
            # Not the same values at a second attempt: the masks must never meet two vectors.
            rng = np.random.Generator(np.random.PCG64(list(f"{self.world.seed}/{self.name}/{self.attempts}".encode())))
            values = rng.integers(-500, 501, DIMENSION + 1, dtype=np.int64)
            values[-1] = 100
            yield ContributionReady(wanted.round_id, ring.from_integers(values))

    def perform(self, effects: tuple[Effect, ...]) -> list[m.Message]:
        messages = []
        for effect in effects:
            match effect:
                case Publish(message):
                    messages.append(message)
                case PrepareContribution(round_id):
                    self.wanted = effect
                    secrets = self.state.lanes[lane_of(round_id)].secrets[round_id.epoch]
                    self.world.round_secrets[self.name][round_id.round] = secrets.round_secret(round_id.round).reveal()
                case RoundEnded():
                    self.world.ended.append((self.name, effect))
                    self.wanted = None
                case Report():
                    self.world.reports.append((self.name, effect))
                case _:
                    raise AssertionError(f"not an institution's effect: {effect}")
        return messages

    def flush(self) -> None:
        for said in self.disk.journal:
            self.say(said)
            self.world.trouble.reach("said one")
        self.world.trouble.reach("said")
        self.disk = replace(self.disk, journal=())
        self.world.trouble.reach("cleared")


class AggregatorShell(Shell):
    """The aggregator: nothing on disk; the log rebuilds it."""

    def __init__(self, world: World) -> None:
        super().__init__(world, AGGREGATOR)
        self.settings = CoordinatorSettings(
            federation=FEDERATION,
            lane=LANE,
            party=AGGREGATOR,
            sealing_secrets=(world.keys[AGGREGATOR].sealing_secret,),
            parameters=parameters(DIMENSION),
            rounds_per_epoch=3,
            rounds_left_min=2,
            renewal_wait_ms=15_000,
        )
        self.down_until_ms = world.now_ms

    def fresh(self) -> HeadCoordinatorState:
        return head_coordinator.initial(
            self.settings, self.world.grouping, invited=dict.fromkeys(self.world.names, 1), model_version=0, model=np.zeros(DIMENSION)
        )

    def restart(self) -> None:
        """Read the log to its end, effects discarded; only then look at the clock."""
        self.state, self.answers, self.wake_ms = self.fresh(), [], None
        for received in self.world.log:
            self.state, _ = head_coordinator.step(self.state, received)
        self.offset = len(self.world.log)
        self.wake_ms = self.world.now_ms

    def run_turn(self) -> None:
        """Now and then the supervisor takes a living aggregator for dead: for a while there are two."""
        trouble = self.world.trouble
        if self.world.aggregator is self and self.down_until_ms is None and trouble.chance(trouble.faults.zombie):
            self.world.zombies.append((self, trouble.between(1, 60)))
            self.world.aggregator = AggregatorShell(self.world)
        super().run_turn()

    def has_work(self) -> bool:
        return super().has_work() or (self.down_until_ms is None and any(at <= self.world.now_ms for at, _ in self.answers))

    def next_ms(self) -> int | None:
        known = super().next_ms()
        answers = [at for at, _ in self.answers] if self.down_until_ms is None else []
        return min([at for at in (known, *answers) if at is not None], default=None)

    def one_turn(self) -> None:
        self.wake_ms = None
        due = [event for at, event in self.answers if at <= self.world.now_ms]
        self.answers = [(at, event) for at, event in self.answers if at > self.world.now_ms]
        for event in (*self.poll(), *due, self.now()):
            self.state, effects = head_coordinator.step(self.state, event)
            self.world.trouble.reach("stepped")
            for effect in effects:
                self.perform(effect)

    def perform(self, effect: Effect) -> None:
        soon_ms = self.world.now_ms + self.world.trouble.between(0, 300)
        match effect:
            case Publish(message):
                self.say(self.world.seal(AGGREGATOR, message))
                self.world.trouble.reach("said one")
            case PublishModel(message, vector):
                self.world.models[model_digest(vector)] = vector
                self.world.trouble.reach("saved")
                self.say(self.world.seal(AGGREGATOR, message))
                self.world.trouble.reach("said one")
            case PublishSum(message, total):
                self.world.sums[message.sum_digest] = total
                self.world.trouble.reach("saved")
                self.say(self.world.seal(AGGREGATOR, message))
                self.world.trouble.reach("said one")
            case SumChunks():
                self.answers.append((soon_ms, self.world.summed(effect)))
            case LoadSum(group, digest):
                self.answers.append((soon_ms, SumLoaded(group, self.world.sums[digest])))
            case LoadModel(_, digest):
                self.answers.append((soon_ms, ModelLoaded(self.world.models[digest])))
            case WakeAt(at_ms):
                self.wake_ms = at_ms - self.skew_ms
            case Report():
                self.world.reports.append((AGGREGATOR, effect))
            case _:
                raise AssertionError(f"not an aggregator's effect: {effect}")
