"""A table with one log on it: the two cores, the real codec, no shells and no faults but silence.

Used by the tests of the rounds, of dropouts and of the transcripts; `fork` makes a second history out of a frozen one.
Never draws from the machine: every byte of entropy comes from the seed."""

from __future__ import annotations

import copy
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from federation import messages as m
from federation.ids import Lane, RoundId, body_digest_of, digest_of
from federation.rounds import coordinator, participant
from federation.rounds.coordinator_state import CoordinatorSettings, CoordinatorState
from federation.rounds.effects import (
    ChunksSummed,
    ContributionReady,
    Effect,
    Event,
    PartiesKnown,
    PrepareContribution,
    Publish,
    PublishModel,
    Received,
    Report,
    RingVector,
    RoundEnded,
    SumChunks,
    Tick,
    Vector,
    model_digest,
)
from federation.rounds.participant_state import ParticipantSettings, ParticipantState, Terms
from federation.secagg import ring
from federation.secagg.keys import Secret, x25519_public
from federation.secagg.sealing import SEAL_OVERHEAD_BYTES, unseal
from streams.codec import decode, encode

FEDERATION = "table"
AGGREGATOR = "aggregator"
LANE = Lane(m.HeadName.CREDIT)
LAYOUT = digest_of(b"layout")


class Stream:
    """Entropy from a seed: call by call, the SHAKE-256 of seed and count."""

    def __init__(self, *seed: object) -> None:
        self._seed = "/".join(map(str, seed))
        self._calls = 0

    def __call__(self, count: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(f"{self._seed}/{self._calls}".encode()).digest(count)


def parameters(dimension: int = 3, **changes: float) -> m.RoundParameters:
    """Small and without noise, so that sums can be compared exactly."""
    terms: dict[str, float] = {
        "clip_norm": 1.0, "clip_quanta": 1000, "count_quanta": 10, "noise_sigma": 0.0, "chunk_length": 2, **changes,
    }  # fmt: skip
    return m.RoundParameters(
        dimension=dimension,
        layout_digest=LAYOUT,
        clip_norm=terms["clip_norm"],
        clip_quanta=int(terms["clip_quanta"]),
        count_quanta=int(terms["count_quanta"]),
        noise_sigma=terms["noise_sigma"],
        participations_max=1,
        period_days=365,
        delta=1e-6,
        chunk_length=int(terms["chunk_length"]),
    )


def contribution_of(name: str, round_id: RoundId, dimension: int) -> RingVector:
    """What an institution contributes: drawn from its name and the round, within the bounds of `parameters`; ten customers."""
    rng = np.random.Generator(np.random.PCG64(list(f"{name}/{round_id}".encode())))
    values = rng.integers(-500, 501, dimension + 1, dtype=np.int64)
    values[-1] = 10 * 10  # Ten customers at ten quanta each.
    return ring.from_integers(values)


class Table:
    """The state of everybody and the log between them."""

    def __init__(
        self,
        names: Iterable[str],
        *,
        seed: int = 0,
        dimension: int = 3,
        terms: Mapping[str, int | float] | None = None,
        lane: Lane = LANE,
        **settings: object,
    ) -> None:
        self.names = tuple(sorted(names))
        self.dimension = dimension
        self.sealing_secret = Secret(Stream(seed, "sealing")(32))
        arguments: dict[str, object] = {"parameters": parameters(dimension), "rounds_per_epoch": 2, "rounds_left_min": 1, **settings}
        self.coordinator_settings = CoordinatorSettings(
            federation=FEDERATION, lane=lane, party=AGGREGATOR, sealing_secrets=(self.sealing_secret,), **arguments  # type: ignore[arg-type]
        )  # fmt: skip
        self.terms = Terms(dimension=dimension, layout_digest=LAYOUT, **(terms or {}))  # type: ignore[arg-type]
        self.serials: dict[str, int] = {}  # Of the certificates that parties speak under; 1 unless it stands here.
        self.start: Vector = np.zeros(dimension)
        self.coordinator = self.fresh_coordinator()
        self.members = {name: self.fresh_member(name) for name in self.names}
        self.entropy = {name: Stream(seed, name) for name in self.names}
        self.now_ms = 1_000_000
        self.log: list[Received] = []
        self.unread: deque[Received] = deque()
        self.chunks: dict[bytes, tuple[str, bytes]] = {}
        self.silent: Callable[[str, m.Message], bool] = lambda _sender, _message: False
        self.contribute: Callable[[str, PrepareContribution], RingVector | None] = lambda name, wanted: contribution_of(
            name, wanted.round_id, self.dimension
        )
        self.contributions: dict[tuple[str, int], RingVector] = {}
        self.reports: list[tuple[str, Report]] = []
        self.ended: list[tuple[str, RoundEnded]] = []
        self.models: dict[int, Vector] = {0: self.start}

    def fresh_coordinator(self) -> CoordinatorState:
        """An aggregator that has read nothing."""
        return coordinator.initial(self.coordinator_settings, invited=dict.fromkeys(self.names, 1), model_version=0, model=self.start)

    def fresh_member(self, name: str) -> ParticipantState:
        """An institution that has read nothing."""
        settings = ParticipantSettings(
            federation=FEDERATION,
            lane=self.coordinator_settings.lane,
            party=name,
            aggregator=AGGREGATOR,
            terms=self.terms,
        )
        fresh = participant.initial(settings, model_version=0, model_digest=model_digest(self.start))
        return participant.step(fresh, self.who_is_who(), Stream())[0]

    def who_is_who(self, **changed: int | None) -> PartiesKnown:
        """Everybody may take part under certificate 1, but for these changes; None: may not."""
        acceptable = dict.fromkeys((*self.names, AGGREGATOR), 1) | changed
        known = {name: serial for name, serial in acceptable.items() if serial is not None}
        return PartiesKnown(known, {1: x25519_public(self.sealing_secret)})

    def fork(self) -> Table:
        """Another table with the same past."""
        other = copy.copy(self)
        for attribute in ("members", "entropy", "log", "unread", "chunks", "contributions", "reports", "ended", "models"):
            setattr(other, attribute, copy.copy(getattr(self, attribute)))
        other.entropy = {name: copy.copy(stream) for name, stream in self.entropy.items()}
        other.contribute = lambda name, wanted: contribution_of(name, wanted.round_id, other.dimension)
        return other

    # --- the log ---------------------------------------------------------------------------------------------------
    def say(self, sender: str, message: m.Message) -> Received:
        """Append a record, unless its sender is silent; the bytes go through the real codec."""
        payload = encode(message)
        received = Received(sender, decode(payload, (type(message),), 1_000_000), digest_of(payload), self.serials.get(sender, 1))
        if not self.silent(sender, message):
            self.log.append(received)
            self.unread.append(received)
        return received

    def deliver(self) -> Received:
        """Let everybody read the next record."""
        received = self.unread.popleft()
        self.tell_coordinator(received)
        for name in self.names:
            self.tell(name, received)
        return received

    def tick(self, passed_ms: int = 1_000) -> None:
        """Time passes for everybody."""
        self.now_ms += passed_ms
        self.tell_coordinator(Tick(self.now_ms))
        for name in self.names:
            self.tell(name, Tick(self.now_ms))

    # --- the parties -----------------------------------------------------------------------------------------------
    def tell_coordinator(self, event: Event) -> None:
        """One step of the aggregator, and what it asks for."""
        self.coordinator, effects = coordinator.step(self.coordinator, event)
        for effect in effects:
            self._perform_for_coordinator(effect)

    def tell(self, name: str, event: Event) -> None:
        """One step of an institution, and what it asks for."""
        self.members[name], effects = participant.step(self.members[name], event, self.entropy[name])
        for effect in effects:
            self._perform_for_member(name, effect)

    def _perform_for_coordinator(self, effect: Effect) -> None:
        match effect:
            case Publish(message):
                self.say(AGGREGATOR, message)
            case PublishModel(message, vector):
                assert isinstance(message, m.ModelPublished)
                self.models[message.version] = vector
                self.say(AGGREGATOR, message)
            case SumChunks():
                self.tell_coordinator(self.summed(effect))
            case Report():
                self.reports.append((AGGREGATOR, effect))
            case _:
                pass

    def _perform_for_member(self, name: str, effect: Effect) -> None:
        match effect:
            case Publish(m.MaskedChunk() as chunk):
                self.chunks[body_digest_of(chunk.body)] = (name, chunk.body)
            case Publish(message):
                self.say(name, message)
            case PrepareContribution(round_id):
                values = self.contribute(name, effect)
                if values is not None:
                    self.contributions[name, round_id.round] = values
                    self.tell(name, ContributionReady(round_id, values))
            case Report():
                self.reports.append((name, effect))
            case RoundEnded():
                self.ended.append((name, effect))
            case _:
                pass

    def summed(self, asked: SumChunks) -> ChunksSummed:
        """The answer of the workers that add chunks."""
        total = ring.zeros(self.dimension + 1)
        for name, digests in asked.chunk_digests:
            ring.add(total, np.concatenate([self.opened_chunk(digest, name) for digest in digests]))
        return ChunksSummed(asked.round_id, asked.survivors_digest, total)

    def opened_chunk(self, digest: bytes, accused: str) -> RingVector:
        """A masked chunk as the aggregator sees it."""
        _, body = self.chunks[digest]
        plain = unseal(body, self.sealing_secret, plain_bytes=len(body) - SEAL_OVERHEAD_BYTES, accused=accused)
        return ring.from_bytes(plain, len(plain) // 4, accused=accused)

    # --- going on --------------------------------------------------------------------------------------------------
    def drain(self) -> None:
        """Deliver until nothing is unread."""
        while self.unread:
            self.deliver()

    def until(self, *kinds: type[m.Message], count: int = 1, steps_max: int = 2_000) -> Received:
        """Go on until the log holds, and nobody has yet read, the `count`-th next record of one of these types."""
        for _ in range(steps_max):
            if self.unread and isinstance(self.unread[0].message, kinds):
                count -= 1
                if count == 0:
                    return self.unread[0]
            if self.unread:
                self.deliver()
            else:
                self.tick()
        raise AssertionError(f"no {' or '.join(kind.__name__ for kind in kinds)} came")

    def until_ended(self, rounds: int = 1) -> None:
        """Go on until that many more rounds have ended and everybody has read so."""
        for _ in range(rounds):
            self.until(m.ModelPublished, m.RoundAbandoned)
            self.deliver()

    def said(self, kind: type[m.Message]) -> list[Received]:
        """The log's records of one type."""
        return [received for received in self.log if isinstance(received.message, kind)]

    def plain_sum(self, names: Iterable[str], number: int) -> RingVector:
        """The sum that nobody is supposed to see the parts of."""
        total = ring.zeros(self.dimension + 1)
        for name in names:
            ring.add(total, self.contributions[name, number])
        return total
