"""What an institution keeps for a lane: its own terms, the transcript, and its secrets, as long as they are needed.

Made by `participant.initial`, changed by `participant_epoch` and `participant_round`, saved through `participant_record`.
Never keeps a secret past the round or the epoch it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from federation import messages as m
from federation.errors import OwnFault
from federation.ids import Lane
from federation.limits import COHORT_MIN
from federation.privacy.accountant import affords, cost, noise_multiplier
from federation.rounds.phases import MemberStage
from federation.rounds.transcript import DIFFERENCE_MIN, DIFFERENCE_ROUNDS, Transcript
from federation.secagg.keys import KEY_BYTES, Secret

SumsHelped: TypeAlias = tuple[tuple[int, tuple[str, ...]], ...]
"""(round, survivors) of sums that we helped to open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under what terms the institution contributes, whatever the aggregator proposes."""

    dimension: int
    layout_digest: bytes
    cost_max: float = math.inf  # What the contributions of one customer may cost together (privacy.accountant.budget_of),
    period_days: int = 1  # in so many days.
    members_min: int = COHORT_MIN  # At most a third of a roster may collude with the aggregator, who chooses the roster.
    survivors_min: int = COHORT_MIN
    difference_min: int = DIFFERENCE_MIN  # Two sums of nearly the same data must differ by at least that many institutions.
    difference_rounds: int = DIFFERENCE_ROUNDS  # For how many rounds a sum that gave no model counts as nearly the same data.

    def problem(self, offered: m.RoundParameters) -> str | None:
        """Why the institution does not contribute under these parameters, or None."""
        if (offered.dimension, offered.layout_digest) != (self.dimension, self.layout_digest):
            return "another feature layout"
        if offered.period_days < self.period_days:
            return f"a customer's budget lasts {self.period_days} days here, not {offered.period_days}"
        multiplier = noise_multiplier(offered)
        if not affords(self.cost_max, offered.participations_max * cost(multiplier)):
            allowed = f"{offered.participations_max} contributions of a customer with noise multiplier {multiplier:.4g}"
            return f"{allowed} exceed our budget of epsilon"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantSettings:
    """Who the institution is in a lane, and whom it trusts to add."""

    federation: str
    lane: Lane
    party: str
    aggregator: str
    terms: Terms

    def __post_init__(self) -> None:
        if self.party == self.aggregator:
            raise OwnFault("nobody is both sides of a round")
        if min(self.terms.survivors_min, self.terms.members_min) < COHORT_MIN:
            raise OwnFault(f"fewer than {COHORT_MIN} members cannot hide among one another")


@dataclass(frozen=True, slots=True)
class EpochSecrets:
    """An institution's secrets of one epoch; those of past rounds are gone.

    `round_secrets` is 32 bytes for each round from `first_left` on; `held` the same of every dealer's shares, our own included.
    `channel_keys`, 32 bytes for each member in the roster's order (ours: zeros), are made when our shares are dealt, and `channel` is
    erased then: no other key can be made of it any more.
    """

    channel: Secret
    first_left: int
    round_secrets: Secret
    channel_keys: Secret = field(default_factory=lambda: Secret(b""))
    held: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    @property
    def dealt(self) -> bool:
        """Whether we have dealt our shares."""
        return len(self.channel_keys) > 0

    def channel_key(self, position: int) -> Secret:
        """The key of the boxes between us and the member at this position (from 1)."""
        return Secret(self.channel_keys.reveal()[KEY_BYTES * (position - 1) : KEY_BYTES * position])

    def round_secret(self, number: int) -> Secret:
        """The secret behind our key for a round; OwnFault if it is erased."""
        return Secret(self._of(self.round_secrets, number))

    def share(self, dealer: str, number: int) -> bytes | None:
        """The dealer's share for us for a round; None if we never got a good one."""
        return self._of(self.held[dealer], number) if dealer in self.held else None

    def erased_until(self, number: int) -> EpochSecrets:
        """Without the secrets of rounds before `number`."""
        gone = KEY_BYTES * max(0, number - self.first_left)
        return replace(
            self,
            first_left=max(number, self.first_left),
            round_secrets=Secret(self.round_secrets.reveal()[gone:]),
            held={dealer: Secret(shares.reveal()[gone:]) for dealer, shares in self.held.items()},
        )

    def _of(self, joined: Secret, number: int) -> bytes:
        at = KEY_BYTES * (number - self.first_left)
        part = joined.reveal()[at : at + KEY_BYTES] if at >= 0 else b""
        if len(part) != KEY_BYTES:
            raise OwnFault(f"the secrets of round {number} are erased")
        return part


@dataclass(frozen=True, slots=True)
class SeedBox:
    """A dealer's share of its self seed for us, still boxed, and the commitment to it."""

    box: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class OwnRound:
    """What an institution keeps of the open round beside the transcript. The self seed itself is not kept: it is dealt, then gone."""

    boxes: Mapping[str, SeedBox] = field(default_factory=dict)
    self_share: Secret | None = None  # Our own share of our self seed, once masked.
    said: bytes = b""  # The secret_commitment of our MaskedUpdate: no other one is ours.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParticipantState:
    """Everything; saved as a whole with the offset of the record that led to it."""

    settings: ParticipantSettings
    transcript: Transcript
    now_ms: int | None = None
    acceptable: Mapping[str, int] = field(default_factory=dict)  # As PartiesKnown says; not saved, the shell says it again.
    sealing_keys: Mapping[int, bytes] = field(default_factory=dict)  # As PartiesKnown says.
    secrets: Mapping[int, EpochSecrets] = field(default_factory=dict)  # By epoch: the one in use and the one being set up.
    stage: MemberStage = MemberStage.WATCHING
    own: OwnRound = OwnRound()
    unadopted: SumsHelped = ()  # That gave no model.
    elsewhere: SumsHelped = ()  # The same of the head's other lanes, as the head says with each record.

    def with_secrets(self, epoch: int, secrets: EpochSecrets | None) -> ParticipantState:
        """With the secrets of an epoch replaced, or erased."""
        others = {number: kept for number, kept in self.secrets.items() if number != epoch}
        return replace(self, secrets=others if secrets is None else {**others, epoch: secrets})

    def sealing_key(self) -> bytes:
        """The aggregator's X25519 key of the certificate under which it speaks in this lane: that key it has, whatever was certified since."""
        serial = self.transcript.serials.get(self.settings.aggregator, 0)
        if serial not in self.sealing_keys:
            raise OwnFault(f"the aggregator's certificate {serial} is not known")
        return self.sealing_keys[serial]

    def unfit(self, members: Iterable[str]) -> str | None:
        """Why we do not take part in rounds with these and the aggregator, or None."""
        for name in (self.settings.aggregator, *members):
            least, heard = self.acceptable.get(name), self.transcript.serials.get(name, 0)
            if least is None:
                return f"{name} may not take part"
            if heard < least:
                return f"{name} speaks under certificate {heard}, which does not count any more"
        return None

    def late(self, deadline_ms: int) -> bool:
        """Whether that deadline is over, as far as we know the time."""
        return self.now_ms is not None and self.now_ms >= deadline_ms
