"""Every message as a frozen dataclass. Rendered from schemas/avro by `riverbank schemas render`; do not edit.

Used by everything that speaks or listens.
Never holds logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class AbandonReason(StrEnum):
    """Why a round came to nothing."""

    TOO_FEW_UPDATES = "too_few_updates"
    TOO_FEW_ACKS = "too_few_acks"
    TOO_FEW_SHARES = "too_few_shares"
    BAD_SHARES = "bad_shares"
    BAD_SUM = "bad_sum"
    TOO_FEW_CUSTOMERS = "too_few_customers"
    AGGREGATOR_RESTARTED = "aggregator_restarted"
    MISBEHAVIOUR = "misbehaviour"


class ActionKind(StrEnum):
    """What an entry of an institution's own audit is about."""

    LOGIN = "login"
    ACCOUNT = "account"
    DECISION = "decision"
    FEEDBACK = "feedback"
    CONSENT = "consent"
    EXPORT = "export"
    ERASURE = "erasure"
    OBJECTION = "objection"
    CASE = "case"
    RELEASE = "release"
    PRIVACY = "privacy"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecorded:
    """One action inside an institution, for its own audit: who did what about whom, when. Never a feature, never a name of a customer."""

    entry_id: bytes
    """The same action has the same id, however often it is sent."""
    at_ms: int
    """When, by the clock of the process that says it."""
    kind: ActionKind
    """What it is about."""
    action: str
    """What was done, in snake_case: claimed, role_changed."""
    actor: str
    """Who did it: a user's id, or a process of the institution."""
    subject: str
    """The customer's pseudonym (audit/pseudonyms.py); empty where nobody is concerned."""
    detail: Mapping[str, str]
    """What else there is to know, by snake_case names: identifiers, versions, outcomes."""
    process: str
    """Which process of the institution says it."""
    software_version: str
    """Of that process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionsLogged:
    """The institution's audit writer says how far its ledger is on the disk; whoever waits for an entry waits for this."""

    next_offset: int
    """Every record of the topic of actions before this offset is in the ledger, and synced."""
    entries: int
    """How many entries the ledger has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributesObserved:
    """What an institution knows of a person, as a partner in a vertical model; the newest counts."""

    event_id: str
    """Identity of the observation."""
    customer: str
    """The name by which both parties know the person."""
    occurred_at_ms: int
    """When."""
    consented: bool
    """Whether it may be used together with the bank."""
    numbers: Mapping[str, float]
    """Numeric features by name."""
    categories: Mapping[str, str]
    """Categorical features by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One exchange, for the audit: what, who, when, digest, size, versions. Never content."""

    entry_id: bytes
    """Digest of topic and envelope: the same exchange has the same id."""
    at_ms: int
    """When it was sent."""
    actor: str
    """Who sent or observed it."""
    action: str
    """Message name, or fault kind."""
    topic: str
    """Where; empty for a fault."""
    head: str
    """Which head, or which group of it (credit/2); empty where none."""
    epoch: int
    """0 where none."""
    round: int
    """0 where none."""
    digest: bytes
    """Of the payload."""
    size_bytes: int
    """Of the whole record value."""
    schema_fingerprint: str
    """Of the payload, hexadecimal."""
    software_version: str
    """Of the sender."""
    outcome: str
    """sent, or the fault's detail."""
    accused: str
    """For a fault: who; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRotated:
    """The CA passes its office on to another key: each of the two vouches for the other."""

    party: str
    """Name of the federation."""
    serial: int
    """Which change of the CA's key, from 1."""
    old_key: bytes
    """Ed25519 verify key that others have pinned."""
    new_key: bytes
    """Ed25519 verify key that follows it."""
    old_until_ms: int
    """Certificates by the old key count if the log took them before."""
    by_old: bytes
    """Over the fields above, by the old key."""
    by_new: bytes
    """Over the fields above, by the new key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTransaction:
    """A card payment, as the institution's authorisation system saw it."""

    event_id: str
    """Unique at the institution; a second event with this id is refused as a duplicate."""
    customer: str
    """The institution's own customer identifier; never leaves its cluster."""
    occurred_at_ms: int
    """When it happened, milliseconds since 1970 UTC."""
    consented: bool
    """Whether the customer consents to models learning from this event."""
    terminal: str
    """The merchant's terminal."""
    amount: float
    """In the account's currency, not negative."""


class PartyRole(StrEnum):
    """What a party of the federation is."""

    INSTITUTION = "institution"
    AGGREGATOR = "aggregator"
    OPERATOR = "operator"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyCertified:
    """The federation CA vouches for a party's keys. Members pin the CA and trust nobody else for keys."""

    federation: str
    """Name of the federation."""
    party: str
    """Institution, aggregator or operator."""
    role: PartyRole
    """What it may say."""
    serial: int
    """Which certificate of this party, from 1; the CA never uses one twice, and a higher one is newer."""
    issued_at_ms: int
    """When the CA signed it."""
    expires_at_ms: int
    """Nothing said from then on counts under it."""
    previous_until_ms: int
    """What is said under this party's earlier certificates counts until then."""
    verify_key: bytes
    """Ed25519; checks its signatures."""
    sealing_key: bytes
    """X25519; seals to it."""
    certificate: bytes
    """By the CA over the fields above (federation/members/certificates.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportCertified:
    """A TLS certificate for a process of a party. Part of an answer."""

    role: str
    """Which process."""
    certificate: bytes
    """X.509 in PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAnswer:
    """The CA's answer to one request. Travels as a file; no private key is in it."""

    request_digest: bytes
    """Of the request answered: an answer to another one is refused."""
    certified: PartyCertified
    """The party's keys."""
    transports: tuple[TransportCertified, ...]
    """In the order of the request."""
    authorities: bytes
    """Whom to trust on the federation's cluster: X.509 in PEM."""
    by_authority: bytes
    """Over the fields above, by the CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportRequested:
    """A process of a party asks for a TLS certificate. Part of a request."""

    role: str
    """What the process is: OU of the certificate."""
    hosts: tuple[str, ...]
    """Where it listens, if it is a broker."""
    request: bytes
    """PKCS #10 in PEM, signed with the process's own key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A party asks the CA to certify its public keys. Travels as a file; no private key is in it."""

    federation: str
    """Which federation."""
    party: str
    """Whose keys."""
    role: PartyRole
    """What it wants to be."""
    asked_at_ms: int
    """When."""
    verify_key: bytes
    """Ed25519."""
    sealing_key: bytes
    """X25519."""
    transports: tuple[TransportRequested, ...]
    """One for each of its processes."""
    by_new: bytes
    """Over the fields above, with the key asked for: its owner has it."""
    by_previous: bytes | None
    """The same with the key certified before, when keys are renewed in good order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCosigned:
    """A witness has seen this checkpoint go on from every one it cosigned before."""

    origin: str
    """The log."""
    actor: str
    """The witness."""
    size: int
    """The checkpoint's size."""
    root: bytes
    """The checkpoint's root."""
    line: str
    """The cosignature, a line of the note (C2SP tlog-cosignature)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRefused:
    """A witness was shown a history that does not go on from the one it knows."""

    origin: str
    """The log."""
    actor: str
    """The witness."""
    at_ms: int
    """When."""
    kind: str
    """split_view, rollback or inconsistent."""
    note: str
    """What it was shown, whole: the log's own signature is the evidence."""
    known_size: int
    """Of the checkpoint it cosigned last."""
    known_root: bytes
    """Of the checkpoint it cosigned last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyShown:
    """That the audit's tree begins with the one it was at a smaller size (RFC 9162, section 2.1.4)."""

    size: int
    """How many entries the smaller tree has."""
    path: tuple[bytes, ...]
    """The proof's hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSigned:
    """The audit says how large it is and what its root is. Compacted by origin and actor: the newest counts."""

    origin: str
    """The log: federation/party."""
    actor: str
    """Whose log it is: the audit."""
    at_ms: int
    """When it was signed."""
    note: str
    """The checkpoint with the log's signature, a C2SP signed note."""
    proofs: tuple[ConsistencyShown, ...]
    """That it goes on from the checkpoint before, and from those that the witnesses cosigned last."""


class HeadName(StrEnum):
    """What a model predicts; one head has one sequence of rounds."""

    CREDIT = "credit"
    FRAUD = "fraud"
    PRODUCTS = "products"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRefused:
    """The sum of one chunk cannot be made: a body is absent, or is not what its author's update promised."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    chunk: int
    """Which piece."""
    survivors_digest: bytes
    """As requested."""
    at_fault: tuple[str, ...]
    """Whose bodies, sorted."""
    detail: str
    """For a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSummed:
    """The masked sum of one chunk."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    chunk: int
    """Which piece."""
    survivors_digest: bytes
    """As requested."""
    body: bytes
    """uint32 little-endian."""


class Purpose(StrEnum):
    """What a customer's data may be used for, as he may permit or refuse it."""

    LEARNING = "learning"
    FEDERATION = "federation"
    RECOMMENDATIONS = "recommendations"
    AUTOMATED_DECISIONS = "automated_decisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentsStated:
    """What a customer permits and refuses: all his choices at once. The newest record of a customer is the whole truth about him; a tombstone: he has said nothing."""

    customer: str
    """The institution's own customer identifier."""
    permitted: tuple[Purpose, ...]
    """Purposes that he has consented to."""
    refused: tuple[Purpose, ...]
    """Purposes that he has refused, withdrawn or objected to. A purpose in neither list: he has said nothing of it."""
    stated_at_ms: int
    """When he said so, milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditApplication:
    """An application for a loan or a credit line, with what was known when it was made."""

    event_id: str
    """Unique at the institution; a second event with this id is refused as a duplicate."""
    customer: str
    """The institution's own customer identifier; never leaves its cluster."""
    occurred_at_ms: int
    """When it happened, milliseconds since 1970 UTC."""
    consented: bool
    """Whether the customer consents to models learning from this event."""
    numbers: Mapping[str, float]
    """Numeric features by name; a name that the credit feature schema does not know is refused; an absent one is missing."""
    categories: Mapping[str, str]
    """Categorical features by name; as numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerProfile:
    """What the portal needs to recommend to one customer. Compacted by customer; never leaves the institution."""

    customer: str
    """The institution's own customer identifier."""
    held: tuple[str, ...]
    """Products held, sorted."""
    dismissed: tuple[str, ...]
    """Products the customer declined, sorted."""
    updated_at_ms: int
    """Event time of the last change."""


class RefusalReason(StrEnum):
    """Why a record was not learned from."""

    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    UNKNOWN_SCHEMA = "unknown_schema"
    NON_FINITE = "non_finite"
    INVALID = "invalid"
    FUTURE_DATED = "future_dated"
    DUPLICATE = "duplicate"
    UNKNOWN_SUBJECT = "unknown_subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that was refused, kept so that nothing is lost."""

    source_topic: str
    """Where it was read."""
    source_partition: int
    """Its partition."""
    source_offset: int
    """Its offset."""
    reason: RefusalReason
    """Why it was refused."""
    detail: str
    """What exactly is wrong, for a person."""
    refused_at_ms: int
    """When."""
    size_bytes: int
    """Size of the whole value."""
    digest: bytes
    """BLAKE2b-256 of the whole value, keyed with the same key as the value is sealed with."""
    key_id: bytes
    """Which key, 16 bytes: the institution's worker has it in its state."""
    value: bytes
    """The value, cut at 64 KiB, sealed with the key of the customer whom it names: with the key gone, nobody can read it."""


class GroupRule(StrEnum):
    """How the means of several groups become one."""

    MEAN = "mean"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed_mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundParameters:
    """What a contribution must obey; fixed for an epoch."""

    dimension: int
    """Coordinates of the model vector; a contribution has one more, the number of customers."""
    layout_digest: bytes
    """Of the head's feature layout."""
    clip_norm: float
    """L2 bound of one customer's update, in model units."""
    clip_quanta: int
    """The same bound in quanta, the unit that contributions are rounded to."""
    count_quanta: int
    """Quanta that one customer adds to the last coordinate."""
    noise_sigma: float
    """Standard deviation of the noise guaranteed in the sum, in quanta."""
    participations_max: int
    """A customer takes part in at most so many rounds under this noise within period_days; other noise counts by 1/multiplier^2."""
    period_days: int
    """For how long a contribution counts against a customer's participations."""
    delta: float
    """The delta at which epsilon is stated."""
    chunk_length: int
    """Coordinates per chunk of the masked vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsInvited:
    """The aggregator invites institutions to draw lots for groups, each of which will set up keys of its own."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    invited: tuple[str, ...]
    """Institutions invited, sorted."""
    serials: tuple[int, ...]
    """Of each institution invited, in the same order: the lowest certificate serial that it may speak under."""
    groups: int
    """Into how many groups; fewer where a group would fall below the least cohort."""
    rule: GroupRule
    """How the groups' means become one."""
    trim: int
    """Of a trimmed mean: how many groups are left out at each end of each coordinate; else 0."""
    groups_min: int
    """A round with sums of fewer groups makes no model."""
    server_step: float
    """How far to go along the combined mean."""
    sealed_deadline_ms: int
    """Sealed lots after this are too late."""
    revealed_deadline_ms: int
    """Lots revealed after this are too late."""
    parameters: RoundParameters
    """For every round of every group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotListed:
    """Whose lot counts, and what it was committed to. Part of LotsFixed and of saved states."""

    institution: str
    """Whose lot."""
    commitment: bytes
    """As sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotsFixed:
    """The aggregator fixes whose lots count, while it can know no lot but its friends'."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    lots: tuple[LotListed, ...]
    """Sorted by institution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotRevealed:
    """An institution opens its lot; with the last one, everybody knows who is in which group."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    institution: str
    """Whose lot."""
    fixed_digest: bytes
    """Of the LotsFixed payload it has seen."""
    lot: bytes
    """32 bytes it has drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingSaved:
    """A drawing as the log shows it. Part of an institution's own saved state."""

    invited: GroupsInvited
    """The invitation."""
    digest: bytes
    """Of its payload."""
    sealed: tuple[LotListed, ...]
    """Commitments said, by institution."""
    fixed: LotsFixed | None
    """Once fixed."""
    fixed_digest: bytes
    """Of its payload; empty before."""
    revealed: tuple[LotRevealed, ...]
    """Lots revealed, by institution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingVoided:
    """The drawing came to nothing; the next one begins anew."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    reason: str
    """For a person."""
    at_fault: tuple[str, ...]
    """Who sealed a lot and did not reveal it, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndingSaved:
    """How the last round ended. Part of an institution's own saved state."""

    epoch: int
    """Which epoch."""
    round: int
    """Which round."""
    digest: bytes
    """Of the payload that ended it."""
    abandoned: bool
    """Whether without a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochAnnounced:
    """The aggregator invites institutions to set up keys for the next rounds."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    rounds: int
    """How many rounds the keys are for."""
    invited: tuple[str, ...]
    """Institutions invited, sorted."""
    serials: tuple[int, ...]
    """Of each institution invited, in the same order: the lowest certificate serial that it may speak under."""
    first_round: int
    """First round of the epoch."""
    keys_deadline_ms: int
    """Keys after this are too late."""
    shares_deadline_ms: int
    """Shares after this are too late."""
    parameters: RoundParameters
    """For every round of the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochClosed:
    """No further round will use this epoch's keys."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    reason: str
    """Why, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochKeys:
    """An institution's public keys for an epoch."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    institution: str
    """Who says it; must be the envelope's sender."""
    channel_key: bytes
    """X25519; peers seal shares to it."""
    round_keys: bytes
    """One X25519 public key of 32 bytes per round, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyMember:
    """One peer."""

    institution: str
    """Who."""
    shares_digest: bytes
    """Of its EpochShares payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReady:
    """The members whose shares are in: the peers of every round of the epoch."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    roster_digest: bytes
    """Of the EpochRoster payload."""
    members: tuple[ReadyMember, ...]
    """Sorted by institution; at least threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterMember:
    """One member of an epoch."""

    institution: str
    """Who."""
    keys_digest: bytes
    """Of its EpochKeys payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRoster:
    """The members of an epoch, fixed."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    members: tuple[RosterMember, ...]
    """Sorted by institution."""
    threshold: int
    """floor(2n/3)+1 of n members."""
    rounds: int
    """As announced."""
    first_round: int
    """As announced."""
    parameters: RoundParameters
    """As announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSeen:
    """Of a record of a round or an epoch: who said it, and its digest. Part of an institution's own saved state."""

    institution: str
    """Who said it."""
    digest: bytes
    """Of its payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSaved:
    """One epoch as the log shows it. Part of an institution's own saved state."""

    announced: EpochAnnounced
    """The invitation."""
    digest: bytes
    """Of its payload."""
    keys: tuple[EpochKeys, ...]
    """Keys said, by institution."""
    keys_seen: tuple[RecordSeen, ...]
    """Their digests."""
    roster: EpochRoster | None
    """Once named."""
    roster_digest: bytes
    """Of its payload; empty before."""
    shares_seen: tuple[RecordSeen, ...]
    """Digests of the shares dealt."""
    ready: EpochReady | None
    """Once named."""
    ready_digest: bytes
    """Of its payload; empty before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochShares:
    """Shamir shares of an institution's round keys, sealed to each member; also its consent to the roster."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    institution: str
    """Who says it; must be the envelope's sender."""
    roster_digest: bytes
    """Of the EpochRoster payload it saw."""
    boxes: bytes
    """Per roster member in roster order 32 bytes for each round and 40 more: its shares of every round key, boxed under the channel key with it; zeros for ourselves."""
    share_tags: bytes
    """Commitments to every share dealt: 16 bytes per member in roster order and round, the member's rounds together; a revealed share that differs names the revealer, shares that fit but rebuild another key name the dealer (federation/rounds/commitments.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedPlace:
    """One place of which an erasure is certified."""

    place: str
    """Table of the state, or topic."""
    done: str
    """What was done there, for a person."""
    items: int
    """To how many rows or records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureAsked:
    """A customer asks to be erased (GDPR art. 17). The record itself is deleted with the rest (riverbank rights purge)."""

    request_id: str
    """Of the request: the same id is the same request."""
    customer: str
    """The institution's own customer identifier."""
    salt: bytes
    """Uniform bytes that only the requester and this record know: they make the certificate's digest of the customer a commitment."""
    asked_at_ms: int
    """When, milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTo:
    """How far a process had read a topic: what lies before may be deleted without loss."""

    topic: str
    """Full name."""
    partition: int
    """Of the topic."""
    offset: int
    """Of the next record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureCertified:
    """A process has erased a customer: what, where, when. Names nobody: whoever knows the salt can tell whom it is about."""

    request_id: str
    """Of the request."""
    institution: str
    """Whose process certifies."""
    keeper: str
    """Which of its processes: worker."""
    customer_digest: bytes
    """BLAKE2b-256 of the customer, keyed with the request's salt."""
    request_digest: bytes
    """Of the request's record."""
    asked_at_ms: int
    """When it was asked for."""
    erased_at_ms: int
    """When the state was without him."""
    places: tuple[ErasedPlace, ...]
    """Everything that was looked through, empty places included."""
    read_to: tuple[ReadTo, ...]
    """The topics of events, as far as they were read when he was erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFlagged:
    """A payment or an application that the institution's model finds risky enough for an officer to look at, as it was scored; never leaves the institution."""

    head: HeadName
    """fraud or credit."""
    event_id: str
    """Of the payment or application: what feedback is given on."""
    customer: str
    """The institution's own customer identifier."""
    occurred_at_ms: int
    """When it happened, milliseconds since 1970 UTC."""
    amount: float
    """Of the payment, or of the loan or limit applied for; 0 when not told. In the account's currency."""
    terminal: str
    """Of a payment; empty for an application."""
    log_odds: float
    """What the model that the portal is served said of it."""
    active: tuple[int, ...]
    """Coordinates of the layout that are 1 for it, ascending, without the intercept."""
    points: tuple[float, ...]
    """What each of them added to log_odds, in their order; the rest of log_odds is what every event has."""
    model_version: int
    """Global model that the served one rests on."""
    epoch: int
    """Epoch of the round that made that version; 0 for version 0."""
    round: int
    """Round that made that version; 0 for version 0."""
    layout_digest: bytes
    """Layout that the coordinates belong to."""


class Verdict(StrEnum):
    """What a person said of a decision or a recommendation."""

    CONFIRMED = "confirmed"
    FALSE_POSITIVE = "false_positive"
    ACCEPTED = "accepted"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackGiven:
    """A person's feedback on a decision or a recommendation; it teaches the local model."""

    event_id: str
    """The Idempotency-Key: the same key is the same feedback."""
    head: HeadName
    """Which model it is about."""
    subject: str
    """event_id of the transaction or application, or the recommendation_id."""
    customer: str
    """The institution's own customer identifier."""
    product: str | None
    """For head products: the product accepted or declined."""
    verdict: Verdict
    """What the person said."""
    occurred_at_ms: int
    """When it was given, milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumOpened:
    """A group's round ended in an opened sum, whose chunks lie in the models' topic."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    round: int
    """Which round of that head; never reused, and the same for all groups."""
    contributors: tuple[str, ...]
    """Whose updates are in it, sorted."""
    customers: int
    """Customers behind it, as the noisy sum says."""
    survivors_digest: bytes
    """Of the SurvivorsNamed payload."""
    sum_digest: bytes
    """Of the opened sum, uint32 little-endian."""
    opened_at_ms: int
    """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheringSaved:
    """The round that a head's groups are in. Part of an institution's own saved state."""

    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    round: int
    """Which round of that head; never reused, and the same for all groups."""
    opened: tuple[int, ...]
    """Groups that have opened it."""
    ended: tuple[int, ...]
    """Groups that have ended it."""
    sums: tuple[SumOpened, ...]
    """Of those whose sum was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSum:
    """A group's sum in a merged model."""

    group: int
    """Which group."""
    contributors: tuple[str, ...]
    """As in its SumOpened."""
    customers: int
    """As in its SumOpened."""
    sum_digest: bytes
    """As in its SumOpened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsMerged:
    """The groups' sums of a round became one new global model, by the rule of the drawing."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    round: int
    """Which round of that head; never reused, and the same for all groups."""
    version: int
    """Of the new model; one more than the model the round started from."""
    model_digest: bytes
    """Of the new vector."""
    base_digest: bytes
    """Of the vector the round started from."""
    sums: tuple[MergedSum, ...]
    """Every sum that was opened in the round, by group."""
    epsilon: float | None
    """What participations_max rounds like this cost a customer at most, at the parameters' delta; null without noise."""
    published_at_ms: int
    """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumHelped:
    """A sum that this institution helped to open and that gave no model. Part of its own saved state."""

    round: int
    """Which round."""
    survivors: tuple[str, ...]
    """Whose updates were in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialSeen:
    """The highest certificate serial under which a party has spoken in a lane. Part of an institution's own saved state."""

    party: str
    """Who."""
    serial: int
    """Lower ones are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened:
    """A round begins."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    ready_digest: bytes
    """Of the EpochReady payload."""
    model_version: int
    """Version of the global model to start from."""
    model_digest: bytes
    """Of that model's vector."""
    opened_at_ms: int
    """When."""
    masked_deadline_ms: int
    """Updates after this are too late."""
    unmask_deadline_ms: int
    """The round is abandoned if it is not finished by then."""
    survivors_min: int
    """Fewer contributors than this: abandoned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSaved:
    """The open round as the log shows it. Part of an institution's own saved state."""

    opened: RoundOpened
    """The opening."""
    digest: bytes
    """Of its payload."""
    phase: str
    """Name of its phase (federation/rounds/phases.py)."""
    updates: tuple[RecordSeen, ...]
    """Masked updates."""
    survivors: tuple[str, ...]
    """Once named."""
    survivors_digest: bytes
    """Of the payload that named them; empty before."""
    acks: tuple[RecordSeen, ...]
    """Acks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesHeld:
    """A dealer's shares for this institution. Part of its own saved state; never sent."""

    dealer: str
    """Who dealt them."""
    shares: bytes = field(repr=False)
    """32 bytes for each round whose secrets are not yet erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsSaved:
    """An institution's secrets of one epoch. Part of its own saved state; never sent."""

    epoch: int
    """Which epoch."""
    channel: bytes = field(repr=False)
    """X25519 scalar that the channel keys are made of; empty once they are."""
    first_left: int
    """First round whose secrets are not erased."""
    round_secrets: bytes = field(repr=False)
    """32 bytes per round from first_left on."""
    channel_keys: bytes = field(repr=False)
    """32 bytes per roster member in roster order: the key of the boxes between it and us (zeros for ourselves); empty before our shares are dealt."""
    held: tuple[SharesHeld, ...]
    """Shares held, by dealer; our own of our own keys included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedBoxHeld:
    """A boxed share of a peer's self-mask seed. Part of an institution's own saved state."""

    dealer: str
    """Whose seed."""
    box: bytes
    """Still closed."""
    tag: bytes
    """Commitment to the share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantSaved:
    """Everything an institution's side of a lane must not forget between two runs. Kept in its own database; never sent."""

    head: HeadName
    """Which head."""
    group: int
    """Which group; 0 where the head has none."""
    party: str
    """Whose state."""
    now_ms: int | None
    """Last time heard of."""
    model_version: int
    """Newest model the log names."""
    model_digest: bytes
    """Of its vector."""
    model_known: bool
    """Whether the log has named a model."""
    epoch_first: int
    """First epoch read of."""
    epoch_last: int
    """Last epoch announced."""
    round_next: int
    """First round not yet opened."""
    opened_at_ms: int
    """When the last round opened."""
    current: EpochSaved | None
    """The epoch of the rounds."""
    pending: EpochSaved | None
    """The epoch being set up."""
    round: RoundSaved | None
    """The open round."""
    ended: EndingSaved | None
    """How the last round ended."""
    secrets: tuple[SecretsSaved, ...]
    """Of the epochs in use and being set up."""
    stage: str
    """Name of our stage in the open round (federation/rounds/phases.py)."""
    boxes: tuple[SeedBoxHeld, ...]
    """Seed shares received in the open round."""
    self_share: bytes | None = field(repr=False)
    """Our own share of our self-mask seed, once masked."""
    said: bytes
    """secret_commitment of our masked update; empty before."""
    unadopted: tuple[SumHelped, ...]
    """Sums that gave no model; guards against differencing."""
    serials: tuple[SerialSeen, ...]
    """What each party has spoken under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSaved:
    """An institution's side of one lane. Part of its own saved state."""

    epoch: int
    """Of which drawing; 0 for the lane of a head without groups."""
    state: ParticipantSaved
    """Everything of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSaved:
    """Everything an institution's side of a head must not forget between two runs. Kept in its own database; never sent."""

    head: HeadName
    """Which head."""
    party: str
    """Whose state."""
    now_ms: int | None
    """Last time heard of."""
    model_version: int
    """Newest model the log names."""
    model_digest: bytes
    """Of its vector."""
    model_known: bool
    """Whether the log has named a model."""
    epoch_first: int
    """First drawing read of."""
    epoch_last: int
    """Last drawing invited to."""
    round_next: int
    """First round not yet opened."""
    opened_at_ms: int
    """When the last round opened."""
    current: DrawingSaved | None
    """The drawing of the rounds."""
    pending: DrawingSaved | None
    """The drawing under way, or whose groups set up their keys."""
    gathering: GatheringSaved | None
    """The round that the groups are in."""
    ended: EndingSaved | None
    """How the last round of the groups ended."""
    merged: GroupsMerged | None
    """The newest model, if it was merged."""
    merged_terms: GroupsInvited | None
    """The terms it was merged on."""
    lot: bytes | None = field(repr=False)
    """Our lot in the drawing under way, until it is revealed."""
    unadopted: tuple[SumHelped, ...]
    """Sums of groups that are over that gave no model; guards against differencing."""
    serials: tuple[SerialSeen, ...]
    """What each party has spoken under."""
    lanes: tuple[LaneSaved, ...]
    """Of the head's own lane and of every group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionStatus:
    """How one institution's learning of one head goes: counts and scores only, no customer."""

    institution: str
    """Who says it; must be the envelope's sender."""
    head: HeadName
    """Which head."""
    at_ms: int
    """When."""
    round: int
    """Last round it took part in."""
    model_version: int
    """Global model it rests on."""
    events_read: int
    """Records read, refused ones included."""
    events_learned: int
    """Examples learned from."""
    dead_letters: int
    """Records refused."""
    waiting_for_label: int
    """Decisions whose label has not come."""
    lag_records: int
    """Records behind the end of its topics."""
    lag_ms: int
    """Age of the oldest record not yet read; 0 when none."""
    scored: int
    """Predictions with a known outcome."""
    quality_federated: float
    """Prequential AUC (credit, fraud) or HR@3 (products) of the federated model; -1 until defined."""
    quality_local: float
    """The same of the model that never sees the federation; -1 until defined."""
    bytes_sent: int
    """Round records sent by it for this head."""
    updates_clipped: int
    """Contributions whose norm was cut."""


class InteractionKind(StrEnum):
    """What the customer did with a product."""

    ACQUIRED = "acquired"
    VIEWED = "viewed"
    DECLINED = "declined"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntersectionAnswered:
    """Partner to bank: your points blinded again, and mine."""

    raised: bytes
    """One point for each asked; in the order of the question if the outcome is shown, else shuffled."""
    own: bytes
    """The partner's names, hashed and blinded, in an order of its own."""


class OverlapPolicy(StrEnum):
    """Who learns what of an intersection."""

    SHOWN = "shown"
    COUNTED = "counted"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntersectionAsked:
    """Bank to partner: asks which of these names are shared, or how many."""

    policy: OverlapPolicy
    """Who is to learn what."""
    points: bytes
    """The names, hashed to ristretto255 and blinded, 32 bytes each, in an order of the bank's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntersectionClosed:
    """Bank to partner: the outcome, as far as it is shown."""

    shared: int
    """How many agree."""
    positions: bytes
    """Shown: places in the partner's list of the shared ones, row after row. Hidden: of the one assigned to each place of the answer. 4 bytes each."""
    bits_key: bytes
    """Hidden: ElGamal key of the bits; else empty."""
    bits: bytes
    """Hidden: for each place of the answer an encrypted bit, whether it agrees; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntersectionSaved:
    """An intersection as one party remembers it."""

    policy: OverlapPolicy
    """Who learns what."""
    names: tuple[str, ...] = field(repr=False)
    """Bank: in the order asked. Partner: in the order of its list."""
    asked_at: bytes = field(repr=False)
    """Partner: place in the answer -> place in the question, 4 bytes each."""
    shared: int
    """How many agree, once known."""
    secret: bytes = field(repr=False)
    """Bank: of the points, then of the bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointScoreAnswered:
    """Partner to bank: its half of the score."""

    points: float
    """Log-odds."""
    version: int
    """Version of the scorecard; 0: no answer."""
    detail: str
    """Why there is no answer; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointScoreAsked:
    """Bank to partner: asks for its points of a row."""

    alignment: int
    """Run of the intersection in which it was found."""
    row: int
    """Its row there."""
    version: int
    """Version of the scorecard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointScoreSealed:
    """A question for the partner's points of a shared customer, or the answer."""

    bank: str
    """Who asks."""
    partner: str
    """Who answers."""
    institution: str
    """Which of the two says it; must be the envelope's sender."""
    request: int
    """Which question, counted up by the bank; its answer has the same number."""
    deadline_ms: int
    """The answer is of no use later."""
    body: bytes
    """JointScoreAsked or JointScoreAnswered, sealed to the other party's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningProgress:
    """How one institution's learning of one head goes, exactly; for the institution itself."""

    head: HeadName
    """Which head."""
    status: InstitutionStatus
    """What the federation is told roughly."""
    customers_left_out: int
    """Times that a customer was left out of a contribution because the budget was spent."""
    epsilon_spent: float | None
    """Of the customer who has spent most, at most, at the delta of the last contribution; null without one, or without noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRecord:
    """One record of an audit topic as the audit's ledger keeps it, with the writer's judgment at the time. The ledger's entries carry nothing else."""

    logged_at_ms: int
    """When the topic took it, by the broker's clock."""
    topic: str
    """Where it lay, full name."""
    offset: int
    """Where in the topic's partition it lay."""
    reason: str
    """Empty for an entry whose signature held; else why it was refused."""
    accused: str
    """Of what was refused: who signed it; empty where nobody can be accused."""
    detail: str
    """Of what was refused: a sentence."""
    value: bytes
    """The record's value, whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotSealed:
    """An institution commits to its lot, before it has seen anybody's."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    institution: str
    """Whose lot."""
    commitment: bytes
    """To the lot (federation/rounds/lots.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedChunk:
    """A piece of a masked vector, sealed to the aggregator."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    institution: str
    """Who says it; must be the envelope's sender."""
    chunk: int
    """Which piece, from 0."""
    chunks: int
    """How many there are."""
    body: bytes
    """uint32 little-endian values, sealed to the aggregator (federation/secagg/sealing.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedUpdate:
    """An institution's contribution: digests of its masked chunks and the shares of its self-mask seed."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    institution: str
    """Who says it; must be the envelope's sender."""
    ready_digest: bytes
    """As opened."""
    model_digest: bytes
    """As opened."""
    chunk_digests: tuple[bytes, ...]
    """Of each MaskedChunk's body, in order."""
    secret_commitment: bytes
    """Commitment to the secret behind the self mask; names the dealer of shares that rebuild another one."""
    seed_boxes: bytes
    """72 bytes per roster member in roster order: its share of the self-mask seed, boxed under the channel key with it; zeros for ourselves and for members not ready."""
    share_tags: bytes
    """Commitments to the shares: 16 bytes per roster member in roster order."""


class Standing(StrEnum):
    """How a party stands in the federation."""

    INVITED = "invited"
    VERIFIED = "verified"
    SUSPENDED = "suspended"
    LEFT = "left"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStanding:
    """An operator says how a party stands. Compacted by party: the newest entry holds everything."""

    party: str
    """Of whom."""
    serial: int
    """Which entry about this party, from 1; the highest counts, in whatever order they arrive."""
    standing: Standing
    """How it stands; only a verified institution takes part in rounds."""
    certificate_serial_min: int
    """The party's certificates below this serial are void; never lowered."""
    void_from_ms: int
    """What the log took from then on under a void certificate does not count; 0 while none is void."""
    at_ms: int
    """When the operator said it."""
    reason: str
    """Why, in a sentence without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipMasked:
    """Partner to bank: the encrypted bits, flipped by the partner's coins, in the order of the bank's question."""

    bits: bytes
    """64 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeAbandoned:
    """A round of a head in groups ended without a model; the next one goes on."""

    head: HeadName
    """Which head."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    round: int
    """Which round of that head; never reused, and the same for all groups."""
    reason: AbandonReason
    """Why."""
    detail: str
    """For a person."""
    abandoned_at_ms: int
    """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChunk:
    """A piece of a published global model."""

    head: HeadName
    """Which head."""
    version: int
    """Which model."""
    model_digest: bytes
    """Of the whole vector: a version may have been tried twice, with other vectors."""
    chunk: int
    """Which piece, from 0."""
    chunks: int
    """How many there are."""
    body: bytes
    """float64 little-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPublished:
    """A round ended in a new global model."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    version: int
    """Of the new model; one more than the model the round started from."""
    model_digest: bytes
    """Of the new vector."""
    base_digest: bytes
    """Of the vector the round started from."""
    contributors: tuple[str, ...]
    """Whose updates are in it, sorted."""
    customers: int
    """Customers whose updates are in it, as the noisy sum says."""
    survivors_digest: bytes
    """Of the SurvivorsNamed payload."""
    sum_digest: bytes
    """Of the opened sum, uint32 little-endian."""
    noise_sigma: float
    """Standard deviation of the noise in the sum, in quanta, at least."""
    epsilon: float | None
    """What participations_max rounds like this cost a customer at most, at the parameters' delta; null without noise."""
    published_at_ms: int
    """When."""


class TablePurpose(StrEnum):
    """What a table of a vertical training is for."""

    SCORES = "scores"
    RESIDUALS = "residuals"
    LOSS = "loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersEncrypted:
    """One party's table, encrypted under its key: step 1 of an exchange."""

    purpose: TablePurpose
    """What for."""
    number: int
    """Which pass, from 1."""
    gain: float
    """By how much the sender's last step lowered the objective."""
    ciphertexts: bytes
    """Set after set, several rows in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeObserved:
    """The label of an earlier event: a fraud was confirmed or ruled out, a loan was charged off or repaid."""

    event_id: str
    """Identity of this outcome."""
    head: HeadName
    """Whose label it is."""
    subject: str
    """event_id of the transaction or application it labels."""
    positive: bool
    """True: fraud, or default."""
    occurred_at_ms: int
    """When the outcome became known, milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassEnded:
    """Bank to partner: whether there is another pass."""

    number: int
    """Which pass has ended."""
    finished: bool
    """No further one."""
    kept: int
    """Whose weights are kept so far: those after this pass."""
    version: int
    """Finished: version of the scorecard; else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductInteraction:
    """A customer took, looked at, declined or gave up a product."""

    event_id: str
    """Unique at the institution; a second event with this id is refused as a duplicate."""
    customer: str
    """The institution's own customer identifier; never leaves its cluster."""
    occurred_at_ms: int
    """When it happened, milliseconds since 1970 UTC."""
    consented: bool
    """Whether the customer consents to models learning from this event."""
    product: str
    """A product of the catalogue (schemas/features/products.toml)."""
    kind: InteractionKind
    """What happened."""
    segment: str | None
    """The customer's segment where the institution has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAsked:
    """A decision that a person has to make, for its customer objects to automated ones (GDPR art. 22). Names the event, not the customer, so that it outlives nobody's erasure."""

    head: HeadName
    """Which model may not decide."""
    event_id: str
    """The payment or application to be decided: the same event is the same review."""
    reason: str
    """Why a person decides: objection."""
    asked_at_ms: int
    """When it was asked for, milliseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundAbandoned:
    """A round ended without a model; the next one goes on."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    reason: AbandonReason
    """Why."""
    detail: str
    """For a person."""
    at_fault: tuple[str, ...]
    """Parties named, sorted; empty when nobody is."""
    abandoned_at_ms: int
    """When."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAbandoned:
    """A run of a vertical partnership has ended without a result."""

    reason: str
    """One of: refused, deadline, fault, stale."""
    detail: str
    """A sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingModel:
    """What the portal scores with: the institution's current model of one head. Compacted by head; never leaves the institution."""

    head: HeadName
    """Which head."""
    version: int
    """Version of the global model it rests on."""
    epoch: int
    """Epoch of the round that made that version; 0 for version 0."""
    round: int
    """Round that made that version; 0 for version 0."""
    layout_digest: bytes
    """Feature layout the vector belongs to."""
    vector: bytes
    """float64 little-endian, one per coordinate of the layout."""
    events_learned: int
    """By this institution, up to this model."""
    saved_at_ms: int
    """When it was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesRevealed:
    """A member's shares: of each survivor's self-mask seed and each dropped member's round key, never both of one."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    institution: str
    """Who says it; must be the envelope's sender."""
    survivors_digest: bytes
    """Of the SurvivorsNamed payload."""
    box: bytes
    """Sealed to the aggregator: 32 bytes per ready member in order (federation/secagg/shares.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecord:
    """The envelope of every record on the federation's topics."""

    sender: str
    """Party that signed."""
    payload: bytes
    """One message, single-object encoded; of a MaskedChunk, ChunkSummed or ModelChunk the digest of its body stands in the body's place."""
    signature: bytes
    """Ed25519 over the domain, federation, topic and the payload's digest (streams/signed.py)."""
    body: bytes
    """The body whose digest stands in the payload, so that a large one is hashed once; empty for every other message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumChunk:
    """A piece of a group's opened sum, noise included, from which anybody can work out the merged model."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1."""
    epoch: int
    """Which drawing of that head, from 1; also the number of its groups' key epochs."""
    round: int
    """Which round of that head; never reused, and the same for all groups."""
    sum_digest: bytes
    """Of the whole sum."""
    chunk: int
    """Which piece, from 0."""
    chunks: int
    """How many there are."""
    body: bytes
    """uint32 little-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumTerm:
    """One term of a chunk's sum."""

    institution: str
    """Whose."""
    chunk_digest: bytes
    """Of the chunk's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumRequested:
    """The coordinator asks the owner of a chunk partition for the masked sum."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    chunk: int
    """Which piece."""
    length: int
    """Its number of values."""
    survivors_digest: bytes
    """Of the SurvivorsNamed payload."""
    terms: tuple[SumTerm, ...]
    """What to add, sorted by institution."""
    opened_at_ms: int
    """When the round was opened: its chunks are not older than that in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsBlinded:
    """The sums of the other party's columns, blinded: step 2."""

    purpose: TablePurpose
    """As asked."""
    number: int
    """As asked."""
    ciphertexts: bytes
    """One for each column, under the key of the table's owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsOpened:
    """The blinded sums, decrypted: step 3."""

    purpose: TablePurpose
    """As asked."""
    number: int
    """As asked."""
    values: bytes
    """5 bytes each: uniform to whoever does not know the blinding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """One contributor."""

    institution: str
    """Who."""
    update_digest: bytes
    """Of its MaskedUpdate payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorsAcked:
    """A member agrees to one list of survivors; at most one per round."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    institution: str
    """Who says it; must be the envelope's sender."""
    survivors_digest: bytes
    """Of the SurvivorsNamed payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorsNamed:
    """Whose updates are summed. The first in the log's order is the only one."""

    head: HeadName
    """Which head."""
    group: int
    """Which group of that head, from 1; 0 where the head has no groups."""
    epoch: int
    """Which key epoch of that head, from 1."""
    round: int
    """Which round of that head, from 1; never reused."""
    ready_digest: bytes
    """As opened."""
    survivors: tuple[Survivor, ...]
    """Sorted by institution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAccepted:
    """Partner to bank: agreed; my key."""

    modulus: bytes
    """The partner's Paillier key for this run: N, little-endian."""
    hiding_base: bytes
    """Its h^N modulo N^2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAsked:
    """Bank to partner: let us train on these rows."""

    alignment: int
    """0, or the run of a hidden alignment all of whose rows are trained on."""
    rows: bytes
    """Alignment run and row of each training row, 8 and 4 bytes; then of each held-out row."""
    held_out: int
    """How many of them, at the end, are held out to measure the loss."""
    warm: bool
    """Whether to start from the weights at hand; else from zero."""
    version: int
    """Version of the scorecard they start from; 0 if not warm."""
    passes_max: int
    """Passes after which it ends in any case."""
    modulus: bytes
    """The bank's Paillier key for this run: N, little-endian."""
    hiding_base: bytes
    """Its h^N modulo N^2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSaved:
    """A training as one party remembers it."""

    held_out: int
    """Rows held out."""
    passes_max: int
    """Passes after which it ends."""
    first_prime: bytes = field(repr=False)
    """Of the own key."""
    second_prime: bytes = field(repr=False)
    """Of the own key."""
    hiding_base: bytes
    """Of the own key."""
    peer_modulus: bytes
    """Of the other party's key; empty until known."""
    peer_hiding_base: bytes
    """Of the other party's key."""
    starts: bytes
    """Where each row's coordinates begin, int64."""
    coordinates: bytes = field(repr=False)
    """Coordinates that are 1, int64."""
    labels: bytes = field(repr=False)
    """One byte a row, at the bank; else empty."""
    bits: bytes = field(repr=False)
    """One byte a row if hidden; else empty."""
    offset: float
    """Added to the own half of every score."""
    start_weights: bytes = field(repr=False)
    """float64."""
    start_precision: bytes = field(repr=False)
    """float64."""
    weights: bytes = field(repr=False)
    """float64."""
    kept_weights: bytes = field(repr=False)
    """float64: after the best pass."""
    kept: int
    """The best pass."""
    loss: float
    """Held-out loss of the newest pass, per row."""
    kept_loss: float
    """Of the best pass."""
    gain: float
    """By how much the own last step lowered the objective."""
    peer_gain: float
    """The other party's."""
    number: int
    """Which pass."""
    rows_min: int
    """A column with fewer training rows is left out."""
    blinds: bytes = field(repr=False)
    """5 bytes each: of the exchange that is on its way."""


class VerticalVerb(StrEnum):
    """What the bank's own systems may ask of its vertical worker."""

    INTERSECT = "intersect"
    TRAIN = "train"
    PREDICT = "predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalAsked:
    """A request to the bank's vertical worker from its own systems."""

    request_id: str
    """Chosen by the asker."""
    verb: VerticalVerb
    """What to do."""
    customer: str
    """Whom to predict; else empty."""
    policy: OverlapPolicy
    """Of an intersection."""
    warm: bool
    """Whether a training goes on from the weights at hand."""
    deadline_ms: int
    """The answer is of no use later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalPart:
    """A piece of what one party of a vertical partnership says to the other: whose content only the other can open."""

    bank: str
    """The party with the labels."""
    partner: str
    """The other party."""
    institution: str
    """Which of the two says it; must be the envelope's sender."""
    run: int
    """Which run of theirs; a new one has a higher number than any before."""
    sequence: int
    """Which message of this sender in this run, from 1."""
    part: int
    """Which piece of it, from 0."""
    parts: int
    """How many there are."""
    says: str
    """Type of the message inside, for the audit."""
    deadline_ms: int
    """Its sender waits for an answer until then."""
    body: bytes
    """This piece of the message, sealed to the other party's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalSaved:
    """One party's state of a vertical partnership."""

    phase: str
    """Of the run."""
    run: int
    """The newest run."""
    said: int
    """Messages said in it."""
    heard: int
    """Messages heard in it."""
    deadline_ms: int
    """Of the answer that is waited for."""
    version: int
    """Of the scorecard."""
    weights: bytes = field(repr=False)
    """float64; empty until taught."""
    precision: bytes = field(repr=False)
    """float64."""
    resolving: IntersectionSaved | None
    """The intersection under way."""
    training: TrainingSaved | None
    """The training under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalStatus:
    """How a vertical partnership goes, as one of its parties sees it: no customer, and no count that would tell how far the two overlap."""

    bank: str
    """The party with the labels."""
    partner: str
    """The other party."""
    institution: str
    """Who says it; must be the envelope's sender."""
    at_ms: int
    """When."""
    phase: str
    """What it is doing."""
    run: int
    """Its newest run."""
    number: int
    """The newest pass of the training that runs, or ran last."""
    loss: float
    """Held-out log loss after the newest pass; -1 until known, or known to the other party."""
    gain: float
    """By how much its own last step lowered the objective, per row; -1 until known."""
    version: int
    """Version of the scorecard."""
    predictions: int
    """Joint predictions made or answered."""
    degraded: int
    """Predictions made without the partner."""
    refused: int
    """Runs and questions refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalTold:
    """What became of a request."""

    request_id: str
    """As asked."""
    done: bool
    """Whether it was done."""
    degraded: bool
    """A prediction without the partner."""
    probability: float
    """Of default; -1 where none."""
    version: int
    """Of the scorecard that was used or made; 0 where none."""
    shared: int
    """Customers found shared; -1 where none."""
    detail: str
    """A sentence."""
    told_at_ms: int
    """When."""


Message = (
    ActionRecorded
    | ActionsLogged
    | AttributesObserved
    | AuditEntry
    | AuthorityRotated
    | CardTransaction
    | PartyCertified
    | TransportCertified
    | CertificateAnswer
    | TransportRequested
    | CertificateRequest
    | CheckpointCosigned
    | CheckpointRefused
    | ConsistencyShown
    | CheckpointSigned
    | ChunkRefused
    | ChunkSummed
    | ConsentsStated
    | CreditApplication
    | CustomerProfile
    | DeadLetter
    | RoundParameters
    | GroupsInvited
    | LotListed
    | LotsFixed
    | LotRevealed
    | DrawingSaved
    | DrawingVoided
    | EndingSaved
    | EpochAnnounced
    | EpochClosed
    | EpochKeys
    | ReadyMember
    | EpochReady
    | RosterMember
    | EpochRoster
    | RecordSeen
    | EpochSaved
    | EpochShares
    | ErasedPlace
    | ErasureAsked
    | ReadTo
    | ErasureCertified
    | EventFlagged
    | FeedbackGiven
    | SumOpened
    | GatheringSaved
    | MergedSum
    | GroupsMerged
    | SumHelped
    | SerialSeen
    | RoundOpened
    | RoundSaved
    | SharesHeld
    | SecretsSaved
    | SeedBoxHeld
    | ParticipantSaved
    | LaneSaved
    | HeadSaved
    | InstitutionStatus
    | IntersectionAnswered
    | IntersectionAsked
    | IntersectionClosed
    | IntersectionSaved
    | JointScoreAnswered
    | JointScoreAsked
    | JointScoreSealed
    | LearningProgress
    | LoggedRecord
    | LotSealed
    | MaskedChunk
    | MaskedUpdate
    | MemberStanding
    | MembershipMasked
    | MergeAbandoned
    | ModelChunk
    | ModelPublished
    | NumbersEncrypted
    | OutcomeObserved
    | PassEnded
    | ProductInteraction
    | ReviewAsked
    | RoundAbandoned
    | RunAbandoned
    | ServingModel
    | SharesRevealed
    | SignedRecord
    | SumChunk
    | SumTerm
    | SumRequested
    | SumsBlinded
    | SumsOpened
    | Survivor
    | SurvivorsAcked
    | SurvivorsNamed
    | TrainingAccepted
    | TrainingAsked
    | TrainingSaved
    | VerticalAsked
    | VerticalPart
    | VerticalSaved
    | VerticalStatus
    | VerticalTold
)
