"""Every topic, one row each: what it carries, how it is keyed and partitioned, who writes, who reads, how long it is kept.

Provisioning, access lists, the docs page and the tests iterate over these rows.
Never write a topic's name anywhere else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from federation import messages as m
from federation.errors import require
from federation.limits import EVENT_BYTES_MAX, RECORD_BYTES_MAX

# Kafka's limit is on a batch of records, not on a record; a record's own limit is Topic.bytes_max, checked by the codec.
BATCH_BYTES_MAX: Final = 1_048_588
require(RECORD_BYTES_MAX + 4096 < BATCH_BYTES_MAX, "the largest record does not fit a batch")
_DAY_MS: Final = 24 * 3_600_000


class Role(StrEnum):
    """Who speaks and listens on a cluster."""

    SOURCE = "source"  # The institution's own systems.
    INSTITUTION = "institution"
    PORTAL = "portal"
    AGGREGATOR = "aggregator"
    AUDIT = "audit"  # The federation's.
    LEDGER = "ledger"  # Writes an institution's own audit; not AUDIT, which is the federation's and must not be able to stand in for it.
    CONSOLE = "console"
    OPERATOR = "operator"  # Says who is a member, publishes what the federation CA signed; makes topics and access lists, as the brokers' configuration lets it.
    BROKER = "broker"  # A Kafka broker, towards the others.


class Cluster(StrEnum):
    """Which Kafka cluster a topic lives on."""

    OWN = "own"  # One per institution: raw events, never shared.
    FEDERATION = "federation"


@dataclass(frozen=True)
class Topic:
    """One topic. On an own cluster the full name is `<institution>.<name>`; `partitions` is what provisioning creates."""

    name: str
    cluster: Cluster
    carries: tuple[type, ...]
    keyed_by: str
    written_by: frozenset[Role]
    read_by: frozenset[Role]
    partitions: int = 1
    keep_hours: int | None = 7 * 24  # None: compacted, kept while it is the newest of its key.
    signed: bool = False  # Values are SignedRecord envelopes.
    bytes_max: int = RECORD_BYTES_MAX

    def full_name(self, institution: str | None = None) -> str:
        """The name on the broker; own topics need the institution, federation topics refuse one."""
        if (self.cluster is Cluster.OWN) != (institution is not None):
            raise ValueError(f"{self.name}: an own topic needs an institution, a federation topic takes none")
        return self.name if institution is None else f"{institution}.{self.name}"

    def broker_settings(self) -> dict[str, str]:
        """What provisioning asks of the broker for this topic."""
        if self.keep_hours is None:
            # An erased customer's last record must go too, though nothing may be written afterwards.
            cleanup = {"cleanup.policy": "compact", "max.compaction.lag.ms": str(_DAY_MS), "segment.ms": str(_DAY_MS)}
        else:
            keep_ms = self.keep_hours * 3_600_000
            # Only closed segments are deleted: without this, a quiet topic keeps a day's records for a week more.
            cleanup = {"cleanup.policy": "delete", "retention.ms": str(keep_ms), "segment.ms": str(min(keep_ms, _DAY_MS))}
        return cleanup | {"max.message.bytes": str(BATCH_BYTES_MAX), "message.timestamp.type": "LogAppendTime"}


def _own(
    name: str, carries: type, keyed_by: str, by: set[Role], to: set[Role], *, keep: int | None = 7 * 24, size: int = EVENT_BYTES_MAX
) -> Topic:
    return Topic(name, Cluster.OWN, (carries,), keyed_by, frozenset(by), frozenset(to), keep_hours=keep, bytes_max=size)


_R = Role
TRANSACTIONS: Final = _own("events.transactions.v1", m.CardTransaction, "customer", {_R.SOURCE}, {_R.INSTITUTION})
APPLICATIONS: Final = _own("events.applications.v1", m.CreditApplication, "customer", {_R.SOURCE}, {_R.INSTITUTION})
INTERACTIONS: Final = _own("events.interactions.v1", m.ProductInteraction, "customer", {_R.SOURCE}, {_R.INSTITUTION})
OUTCOMES: Final = _own("events.outcomes.v1", m.OutcomeObserved, "subject", {_R.SOURCE}, {_R.INSTITUTION})
# The customer's word, whoever took it down: compacted, so that what he refused years ago still holds for a worker that starts afresh.
CONSENTS: Final = _own("consents.v1", m.ConsentsStated, "customer", {_R.SOURCE, _R.PORTAL}, {_R.INSTITUTION, _R.PORTAL}, keep=None)
FEEDBACK: Final = _own("feedback.v1", m.FeedbackGiven, "customer", {_R.PORTAL}, {_R.INSTITUTION, _R.PORTAL})
# Neither is kept for long where there is `riverbank rights purge`; the certificates name nobody.
ERASURES_ASKED: Final = _own("erasures_asked.v1", m.ErasureAsked, "customer", {_R.PORTAL}, {_R.INSTITUTION})
ERASURES_CERTIFIED: Final = replace(
    _own("erasures_certified.v1", m.ErasureCertified, "request_id", {_R.INSTITUTION}, {_R.PORTAL}, keep=400 * 24), signed=True
)
REVIEWS: Final = _own("reviews.v1", m.ReviewAsked, "event_id", {_R.INSTITUTION, _R.PORTAL}, {_R.PORTAL}, keep=90 * 24)
DEAD_LETTERS: Final = _own(
    "dead_letters.v1", m.DeadLetter, "source_topic", {_R.INSTITUTION}, {_R.INSTITUTION, _R.PORTAL}, keep=90 * 24, size=RECORD_BYTES_MAX
)
PROFILES: Final = _own("profiles.v1", m.CustomerProfile, "customer", {_R.INSTITUTION}, {_R.INSTITUTION, _R.PORTAL}, keep=None)
# Signed, though on the institution's own cluster: what customers are offered is its worker's word, whoever else can write there.
SERVING_MODELS: Final = replace(
    _own("serving_models.v1", m.ServingModel, "head", {_R.INSTITUTION}, {_R.PORTAL}, keep=None, size=RECORD_BYTES_MAX), signed=True
)
# What status.v1 says to the federation roughly, exactly: how many customers were learned from is nobody else's business.
PROGRESS: Final = _own("progress.v1", m.LearningProgress, "head", {_R.INSTITUTION}, {_R.PORTAL})
# What officers make cases of.
FLAGS: Final = _own("flags.v1", m.EventFlagged, "customer", {_R.INSTITUTION}, {_R.PORTAL})
# Vertical models: the partner's side of a person, and what the bank's own systems ask and are told.
ATTRIBUTES: Final = _own("events.attributes.v1", m.AttributesObserved, "customer", {_R.SOURCE}, {_R.INSTITUTION})
VERTICAL_ASKED: Final = _own("vertical_asked.v1", m.VerticalAsked, "request_id", {_R.PORTAL}, {_R.INSTITUTION})
VERTICAL_TOLD: Final = _own("vertical_told.v1", m.VerticalTold, "request_id", {_R.INSTITUTION}, {_R.PORTAL})
# What the institution's own people and processes did, for its own audit, and how far that has it on the disk.
ACTIONS: Final = _own("actions.v1", m.ActionRecorded, "entry_id", {_R.INSTITUTION, _R.PORTAL}, {_R.LEDGER}, keep=30 * 24)
ACTIONS_LOGGED: Final = _own("actions_logged.v1", m.ActionsLogged, "next_offset", {_R.LEDGER}, {_R.INSTITUTION, _R.PORTAL}, keep=24)

LANE_PARTITIONS: Final = 3  # One per head: a head's rounds are one totally ordered log.
PARTNERSHIP_PARTITIONS: Final = 4  # All that a bank and a partner say to each other is one ordered log.
CHUNK_PARTITIONS: Final = 4  # Chunks of a vector are summed in parallel by their owners.

_EVERYBODY: Final = frozenset({_R.INSTITUTION, _R.AGGREGATOR, _R.PORTAL, _R.CONSOLE, _R.AUDIT})


def _federation(
    name: str, carries: tuple[type, ...], keyed_by: str, by: set[Role], to: frozenset[Role], partitions: int = 1, keep: int | None = 7 * 24
) -> Topic:
    return Topic(name, Cluster.FEDERATION, carries, keyed_by, frozenset(by), to, partitions, keep, signed=True)


# Not enveloped: the CA's signature inside the message is the signature, and reading it needs no other party's key. Keyed by serial
# too: what was said under an older certificate must stay readable.
PARTIES: Final = Topic(
    "parties.v1", Cluster.FEDERATION, (m.PartyCertified, m.AuthorityRotated), "party, serial", frozenset({_R.OPERATOR}),
    _EVERYBODY | {_R.OPERATOR}, keep_hours=None,
)  # fmt: skip
MEMBERS: Final = _federation("members.v1", (m.MemberStanding,), "party", {_R.OPERATOR}, _EVERYBODY | {_R.OPERATOR}, keep=None)
ROUNDS: Final = _federation(
    "rounds.v1",
    (
        m.EpochAnnounced, m.EpochKeys, m.EpochRoster, m.EpochShares, m.EpochReady, m.EpochClosed,
        m.RoundOpened, m.MaskedUpdate, m.SurvivorsNamed, m.SurvivorsAcked, m.SharesRevealed,
        m.ModelPublished, m.RoundAbandoned,
        m.GroupsInvited, m.LotSealed, m.LotsFixed, m.LotRevealed, m.DrawingVoided, m.SumOpened, m.GroupsMerged, m.MergeAbandoned,
    ),
    "head", {_R.INSTITUTION, _R.AGGREGATOR}, _EVERYBODY, LANE_PARTITIONS, 30 * 24,
)  # fmt: skip
CHUNKS: Final = _federation(
    "chunks.v1", (m.MaskedChunk,), "head, chunk", {_R.INSTITUTION}, frozenset({_R.AGGREGATOR}), CHUNK_PARTITIONS, 30 * 24
)
SUM_REQUESTS: Final = _federation(
    "sum_requests.v1", (m.SumRequested,), "head, chunk", {_R.AGGREGATOR}, frozenset({_R.AGGREGATOR}), CHUNK_PARTITIONS, 24
)
SUMS: Final = _federation(
    "sums.v1", (m.ChunkSummed, m.ChunkRefused), "head", {_R.AGGREGATOR}, frozenset({_R.AGGREGATOR}), LANE_PARTITIONS, 24
)
MODELS: Final = _federation("models.v1", (m.ModelChunk, m.SumChunk), "head", {_R.AGGREGATOR}, _EVERYBODY, LANE_PARTITIONS, 30 * 24)
STATUS: Final = _federation(
    "status.v1",
    (m.InstitutionStatus,),
    "institution, head",
    {_R.INSTITUTION},
    frozenset({_R.CONSOLE, _R.PORTAL, _R.AGGREGATOR}),
    keep=7 * 24,
)
# A training of ten thousand rows is a few hundred MB of ciphertext, of no use once it is over.
VERTICAL: Final = _federation(
    "vertical.v1", (m.VerticalPart,), "bank, partner", {_R.INSTITUTION}, frozenset({_R.INSTITUTION}), PARTNERSHIP_PARTITIONS, 24
)
VERTICAL_SCORES: Final = _federation(
    "vertical_scores.v1", (m.JointScoreSealed,), "bank, partner", {_R.INSTITUTION}, frozenset({_R.INSTITUTION}), PARTNERSHIP_PARTITIONS, 24
)
VERTICAL_STATUS: Final = _federation(
    "vertical_status.v1", (m.VerticalStatus,), "bank, partner", {_R.INSTITUTION}, frozenset({_R.CONSOLE, _R.PORTAL})
)
AUDIT: Final = _federation(
    "audit.v1", (m.AuditEntry,), "entry_id", {_R.INSTITUTION, _R.AGGREGATOR, _R.OPERATOR}, frozenset({_R.AUDIT}), keep=30 * 24
)
# Compacted: the audit's newest checkpoint, and of each witness its newest word on one.
CHECKPOINTS: Final = _federation(
    "checkpoints.v1", (m.CheckpointSigned, m.CheckpointCosigned, m.CheckpointRefused), "origin, actor", {_R.AUDIT, _R.INSTITUTION},
    frozenset({_R.AUDIT, _R.INSTITUTION, _R.PORTAL, _R.CONSOLE}), keep=None,
)  # fmt: skip

OWN_TOPICS: Final = (
    CONSENTS,
    TRANSACTIONS,
    APPLICATIONS,
    INTERACTIONS,
    OUTCOMES,
    FEEDBACK,
    ERASURES_ASKED,
    ERASURES_CERTIFIED,
    REVIEWS,
    DEAD_LETTERS,
    PROFILES,
    SERVING_MODELS,
    PROGRESS,
    FLAGS,
    ATTRIBUTES,
    VERTICAL_ASKED,
    VERTICAL_TOLD,
    ACTIONS,
    ACTIONS_LOGGED,
)
FEDERATION_TOPICS: Final = (
    PARTIES,
    MEMBERS,
    ROUNDS,
    CHUNKS,
    SUM_REQUESTS,
    SUMS,
    MODELS,
    STATUS,
    VERTICAL,
    VERTICAL_SCORES,
    VERTICAL_STATUS,
    AUDIT,
    CHECKPOINTS,
)
LANE_TOPICS: Final = (ROUNDS, SUMS, MODELS)  # Partitioned by head: lane_partition.
EVENT_TOPICS: Final = (TRANSACTIONS, APPLICATIONS, INTERACTIONS, OUTCOMES, FEEDBACK)
# Where two records have the same millisecond, consents come first and erasures last: what a customer refused is refused, and what he did is erased.
LEARNING_TOPICS: Final = (CONSENTS, *EVENT_TOPICS, ERASURES_ASKED)


def partitions_of(topics: Iterable[Topic], institution: str | None = None) -> dict[str, int]:
    """Full name -> number of partitions, of rows that all live on one cluster."""
    return {topic.full_name(institution): topic.partitions for topic in topics}


_HEADS: Final = tuple(m.HeadName)


def lane_partition(head: m.HeadName) -> int:
    """Partition of ROUNDS, SUMS and MODELS where this head's log is."""
    return _HEADS.index(head)


def chunk_partition(head: m.HeadName, chunk: int) -> int:
    """Partition of CHUNKS and SUM_REQUESTS where this chunk is summed."""
    return (_HEADS.index(head) + chunk) % CHUNK_PARTITIONS


def render_topology() -> str:
    """The text of docs/topology.md."""
    head = (
        "# Topics\n\nRendered from the rows of `streams/topology.py` by `riverbank schemas render`; do not edit.\n\n"
        "An institution's own topics lie on its own Kafka cluster, and their full names begin with its name; no other\n"
        "institution, and not the aggregator, can read them. The federation's topics lie on the federation's cluster, and all\n"
        "but one of them carry `SignedRecord` envelopes. Values are single-object encoded Avro (`schemas/avro`).\n"
        "Kept: *compacted* means that the newest record of each key stays.\n"
    )
    sections = (("An institution's own topics", OWN_TOPICS), ("The federation's topics", FEDERATION_TOPICS))
    return head + "".join(f"\n## {title}\n\n{_rendered_rows(topics)}" for title, topics in sections)


def _rendered_rows(topics: Iterable[Topic]) -> str:
    lines = ["| topic | carries | keyed by | partitions | written by | read by | kept | signed | record at most |", "|---" * 9 + "|"]
    for topic in topics:
        cells = (
            f"`{topic.name}`",
            ", ".join(f"`{kind.__name__}`" for kind in topic.carries),
            topic.keyed_by,
            str(topic.partitions),
            ", ".join(sorted(topic.written_by)),
            ", ".join(sorted(topic.read_by)),
            "compacted" if topic.keep_hours is None else f"{topic.keep_hours} h",
            "yes" if topic.signed else "no",
            f"{topic.bytes_max:,} bytes",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
