"""What an operator may set: one TOML file per process, environment variables over it, every field with its bounds.

Called by the CLI and by each worker's run(); RIVERBANK_AGGREGATOR__ROUND_MS=500 overrides round_ms under [aggregator].
Never holds a secret: keys and passwords lie in files that only their owner can read, and settings name the files."""

from __future__ import annotations

import ipaddress
import math
import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentUnreadableError

from federation.limits import (
    COHORT_MAX,
    COHORT_MIN,
    COORDINATE_QUANTA_MAX,
    LIST_MAX,
    NAME_LENGTH_MAX,
    PERIOD_DAYS_MAX,
    ROUNDS_PER_EPOCH_MAX,
)
from federation.messages import GroupRule, HeadName, OverlapPolicy, Purpose
from streams.topology import OWN_TOPICS, Role

_PREFIX: Final = "RIVERBANK_"
_DELIMITER: Final = "__"
_DAY_MS: Final = 24 * 3_600_000
_EPOCH_MS_MAX: Final = 15 * _DAY_MS  # Half of what the rounds' topic is kept for (streams/topology.py).


class SettingsError(Exception):
    """The settings are wrong; `problems` has one sentence per field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _is_key(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError("must be 64 lower-case hexadecimal digits")
    return text


def _has_no_password(dsn: str) -> str:
    # Between "//" and "@" stands user:password.
    if ":" in dsn.partition("//")[2].rpartition("@")[0]:
        raise ValueError("must not contain a password: name a file for it")
    return dsn


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must not name anything twice")
    return values


# Part of topic names, file names and addresses, hence the narrow alphabet.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=NAME_LENGTH_MAX)]
Bootstrap = Annotated[str, Field(pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$")]
Heads = Annotated[tuple[HeadName, ...], AfterValidator(_all_different), Field(min_length=1)]
Duration = Annotated[int, Field(ge=1, le=_DAY_MS)]
Step = Annotated[float, Field(gt=0, le=10)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True)


class TlsSettings(_Section):
    """How a process shows a Kafka cluster who it is, and whom it takes for that cluster; the files are PEM."""

    ca_file: Path
    """Authorities that certify the cluster's brokers and its clients."""
    cert_file: Path
    """This process's certificate, with those between it and the authority."""
    key_file: Path
    """The private key of that, readable by its owner only (mode 0600)."""
    password_file: Path | None = None
    """What the key is encrypted with, readable by its owner only (mode 0600); absent: it is not encrypted."""


class _Cluster(_Section):
    """A Kafka cluster as a client finds it."""

    bootstrap: Bootstrap
    """Its brokers: host:port, comma-separated."""
    tls: TlsSettings | None = None
    """Certificates and key; without them only this machine's brokers are spoken to."""

    @model_validator(mode="after")
    def _secured(self) -> Self:
        _require_tls(self.bootstrap, self.tls)
        return self


def _require_tls(bootstrap: str, tls: TlsSettings | None) -> None:
    if tls is None and not all(_is_loopback(broker.rpartition(":")[0]) for broker in bootstrap.split(",")):
        raise ValueError(f"tls is missing: {bootstrap} is another machine, and plain text is spoken with this one only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_own_cluster(institution: str | None, bootstrap: str | None, tls: TlsSettings | None, neither: str) -> None:
    if (institution is None) != (bootstrap is None):
        raise ValueError(f"institution and bootstrap belong together: a process of an institution has both, {neither} neither")
    if bootstrap is None and tls is not None:
        raise ValueError("tls is for bootstrap, which is absent")
    if bootstrap is not None:
        _require_tls(bootstrap, tls)


class FederationSettings(_Cluster):
    """The federation, as its members agreed on it, and its Kafka cluster."""

    name: Name
    """Its name; part of everything signed."""
    ca_verify_key: Annotated[str, AfterValidator(_is_key)]
    """The CA's Ed25519 verify key, hexadecimal; the only key a member takes on trust."""


class PartySettings(_Section):
    """Who this process speaks for."""

    name: Name
    """Its name in the federation."""
    key_file: Path
    """Its private keys, locked with a passphrase; readable by their owner only (mode 0600)."""
    passphrase_file: Path | None = None
    """The passphrase, readable by its owner only; absent: from RIVERBANK_PASSPHRASE, or asked for at a terminal."""


Delta = Annotated[float, Field(gt=0, le=1e-2)]
Days = Annotated[int, Field(ge=1, le=PERIOD_DAYS_MAX)]


class PrivacySettings(_Section):
    """What an institution lets the rounds of one head cost its customers, whatever the aggregator proposes (docs/privacy.md)."""

    epsilon_max: Annotated[float, Field(gt=0, le=100)] | Literal["unlimited"] = 8.0
    """Takes part in no round where a customer's contributions of a period could cost more than this, at `delta`."""
    delta: Delta = 1e-6
    """The probability that the bound may fail with."""
    period_days: Days = 365
    """How long a customer's contributions count; for ever: 36525."""

    @property
    def epsilon(self) -> float:
        """As a number."""
        return math.inf if self.epsilon_max == "unlimited" else self.epsilon_max


LegalBasis = Literal["consent", "contract", "legal_obligation", "legitimate_interest"]


class PurposeSettings(_Section):
    """One purpose of customers' data: the ground it rests on (GDPR art. 6(1)), and what holds while a customer has said nothing of it."""

    basis: LegalBasis
    """Under legal_obligation a customer's word changes nothing; under every other basis a refusal or objection is honoured."""
    unstated: bool
    """Whether the purpose is permitted by a customer who has said nothing of it."""

    def permits(self, stated: bool | None) -> bool:
        """Whether a customer's data may be used so; `stated`: what he said of it, None if nothing."""
        if self.basis == "legal_obligation":
            return True
        return self.unstated if stated is None else stated


class PurposesSettings(_Section):
    """What an institution uses its customers' data for, and on what ground (docs/rights.md). Worker and portal of an institution have the same."""

    learning: PurposeSettings = PurposeSettings(basis="consent", unstated=True)
    """Models learn from a customer's events. With basis consent only from events that say `consented`, which is the consent of who has stated nothing."""
    heads: dict[HeadName, PurposeSettings] = Field(default_factory=dict)
    """Heads that are learned on another ground than `learning`: fraud as a legitimate interest, say."""
    federation: PurposeSettings = PurposeSettings(basis="legitimate_interest", unstated=True)
    """A customer's clipped update is part of the masked sums of rounds."""
    recommendations: PurposeSettings = PurposeSettings(basis="legitimate_interest", unstated=True)
    """The portal recommends products to a customer."""
    automated_decisions: PurposeSettings = PurposeSettings(basis="contract", unstated=True)
    """A score decides by itself (GDPR art. 22); refused, a person decides."""

    def of(self, purpose: Purpose) -> PurposeSettings:
        """The ground of a purpose."""
        ground: PurposeSettings = getattr(self, purpose.value)
        return ground

    def learning_of(self, head: HeadName) -> PurposeSettings:
        """The ground on which a head is learned."""
        return self.heads.get(head, self.learning)

    @model_validator(mode="after")
    def _silence_is_no_consent(self) -> Self:
        for purpose in Purpose:
            ground = self.of(purpose)
            if ground.basis == "consent" and ground.unstated and purpose is not Purpose.LEARNING:
                raise ValueError(
                    f"{purpose.value} rests on consent, and silence is none (GDPR recital 32): set {purpose.value}.unstated = false"
                )
        return self


USUAL_PURPOSES: Final = PurposesSettings()


class InstitutionSettings(_Cluster):
    """One institution's worker, and the institution's own Kafka cluster."""

    state_dir: Path
    """Where its SQLite file lies: models, offsets, what it said in rounds."""
    heads: Heads = tuple(HeadName)
    """What it learns and takes part in."""
    learning_rates: dict[HeadName, Step] = Field(default_factory=lambda: dict(USUAL_LEARNING_RATES))
    """Step of the local learners of each head, in log-odds per unit of error; a head left out keeps its default."""
    serve_ms: Duration = 2000
    """The portal's model is renewed at most this often, and at once after a round."""
    privacy: dict[HeadName, PrivacySettings] = Field(default_factory=dict)
    """What each head may cost a customer; a head left out keeps the defaults."""
    members_min: Annotated[int, Field(ge=COHORT_MIN, le=COHORT_MAX)] = COHORT_MIN
    """Takes part in no round of fewer members than this: of a head in groups, of a smaller group."""
    poll_records_max: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """Records taken in one turn; between turns, rounds get their say."""
    future_tolerance_ms: Annotated[int, Field(ge=0, le=_DAY_MS)] = 300_000
    """An event dated later than this from now is refused."""
    status_ms: Duration = 1000
    """Its status is published this often."""
    waiting_max: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """Decisions remembered until their label comes; the oldest are forgotten first."""

    def learning_rate(self, head: HeadName) -> float:
        """The step of one head's learners."""
        return self.learning_rates.get(head, USUAL_LEARNING_RATES[head])

    def privacy_of(self, head: HeadName) -> PrivacySettings:
        """The policy of one head."""
        return self.privacy.get(head, PrivacySettings())


class HeadSettings(_Section):
    """How the rounds of one head are run."""

    clip_norm: Annotated[float, Field(gt=0, le=1e6)] = 0.5
    """L2 bound of one customer's update, in model units."""
    clip_quanta: Annotated[int, Field(ge=4, le=COORDINATE_QUANTA_MAX)] = 256
    """The same bound in quanta, the unit that updates are rounded to."""
    epsilon: Annotated[float, Field(gt=0, le=100)] = 8.0
    """What `participations_max` rounds may cost a customer, at `delta`: as much noise is made as that takes."""
    noise_multiplier: Annotated[float, Field(ge=0, le=1000)] | None = None
    """Given, it is the noise, whatever epsilon comes of it: standard deviation in the sum as a multiple of what one customer can change."""
    participations_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """A customer takes part in at most so many rounds in `period_days`."""
    period_days: Days = 365
    """How long a contribution counts against its customer; for ever: 36525."""
    delta: Delta = 1e-6
    """The delta that epsilon is stated at."""
    customers_min: Annotated[int, Field(ge=1)] = 1
    """A round with fewer customers makes no model; nor does one whose number of customers may be noise alone."""
    server_step: Annotated[float, Field(gt=0, le=1000)] = 10.0
    """How far to go along the mean update."""
    groups: Annotated[int, Field(ge=1, le=COHORT_MAX // COHORT_MIN)] = 1
    """Institutions are drawn into so many groups, each with a sum of its own; 1: all in one sum (docs/groups.md)."""
    group_rule: GroupRule = GroupRule.MEDIAN
    """How the groups' means become one, coordinate by coordinate: mean (weighted by customers), median or trimmed_mean."""
    trim: Annotated[int, Field(ge=0, le=COHORT_MAX // COHORT_MIN // 2)] = 0
    """With trimmed_mean: how many groups are left out at each end."""
    groups_min: Annotated[int, Field(ge=1, le=COHORT_MAX // COHORT_MIN)] | None = None
    """A round with sums of fewer groups makes no model. Absent: as few as the rule can do with."""

    @property
    def groups_needed(self) -> int:
        """How many groups' sums make a model: one for a mean, three for a median, 2 * trim + 1 for a trimmed mean, or groups_min."""
        least = {GroupRule.MEAN: 1, GroupRule.MEDIAN: 3, GroupRule.TRIMMED_MEAN: 2 * self.trim + 1}[self.group_rule]
        return least if self.groups_min is None else max(least, self.groups_min)

    @property
    def count_quanta(self) -> int:
        """Quanta that one customer is worth in the count: a quarter of the clip norm costs 3 % more noise in the coordinates."""
        return self.clip_quanta // 4

    @model_validator(mode="after")
    def _one_word_about_noise(self) -> Self:
        if {"epsilon", "noise_multiplier"} <= self.model_fields_set:
            raise ValueError("epsilon and noise_multiplier both say how much noise: keep one")
        return self

    @model_validator(mode="after")
    def _groups_fit_the_rule(self) -> Self:
        if (self.trim > 0) != (self.group_rule is GroupRule.TRIMMED_MEAN):
            raise ValueError("trim belongs to group_rule trimmed_mean, which needs a trim of at least 1")
        if self.groups > 1 and self.groups_needed > self.groups:
            raise ValueError(f"{self.group_rule.value} needs {self.groups_needed} groups")
        return self


# Measured on the data sets of docs/data.md (docs/decisions/2026-11-24-scorecard-features.md).
USUAL_LEARNING_RATES: Final[dict[HeadName, float]] = {HeadName.CREDIT: 0.2, HeadName.FRAUD: 0.3, HeadName.PRODUCTS: 0.06}
USUAL_HEADS: Final[dict[HeadName, HeadSettings]] = {
    HeadName.CREDIT: HeadSettings(server_step=10.0, noise_multiplier=0.0),
    HeadName.FRAUD: HeadSettings(server_step=60.0, noise_multiplier=0.0),
    HeadName.PRODUCTS: HeadSettings(server_step=8.0, noise_multiplier=0.0),
}


class AggregatorSettings(_Section):
    """The aggregator: how it runs the rounds. Whom it invites is the operator's word (members.v1)."""

    state_dir: Path
    """Where Faust keeps its working files; nothing that matters is kept there alone."""
    heads: dict[HeadName, HeadSettings] = Field(default_factory=lambda: dict(USUAL_HEADS), min_length=1)
    """The heads that have rounds, and how each is run."""
    round_ms: Duration = 3000
    """A round is opened this often."""
    masked_wait_ms: Duration = 1500
    """Masked updates later than this after the opening are too late."""
    unmask_wait_ms: Duration = 1500
    """A round that is not open this long after that is abandoned."""
    epoch_rounds: Annotated[int, Field(ge=1, le=ROUNDS_PER_EPOCH_MAX)] = 32
    """Rounds for which keys are agreed at once."""
    epoch_wait_ms: Duration = 10_000
    """Keys, and then shares, later than this after the invitation are too late."""
    survivors_min: Annotated[int, Field(ge=COHORT_MIN, le=COHORT_MAX)] | None = None
    """Fewer contributors than this: no model. Absent, and in each group of a head in groups: the threshold of the members."""

    @model_validator(mode="after")
    def _short_epochs(self) -> Self:
        if self.epoch_rounds * self.round_ms > _EPOCH_MS_MAX:
            raise ValueError(
                f"epoch_rounds * round_ms must be at most {_EPOCH_MS_MAX // _DAY_MS} days: a restart reads the log from the epoch's beginning"
            )
        return self

    def members_problem(self, head: HeadName, count: int) -> str | None:
        """Why no round of a head with so many members can give a model, or None. Who is a member changes while the aggregator runs."""
        if count < COHORT_MIN:
            return f"{count} members; rounds need {COHORT_MIN}"
        settings = self.heads[head]
        if settings.groups > 1:
            possible = count // COHORT_MIN
            needed = settings.groups_needed
            return None if possible >= needed else f"{count} members are enough for {possible} groups of {COHORT_MIN}; {needed} are needed"
        if self.survivors_min is not None and self.survivors_min > count:
            return f"{count} members, and aggregator.survivors_min is {self.survivors_min}"
        return None


class SourceSettings(_Cluster):
    """An institution's own Kafka cluster, as the systems see it that send events there."""


class FeedSettings(_Section):
    """Whom events are played to."""

    sources: Annotated[dict[Name, SourceSettings], Field(min_length=1)]
    """Institution -> its own Kafka cluster; who is not named is not fed."""


class ClusterSettings(_Cluster):
    """A Kafka cluster whose topics and access lists are to be as the topology says: the federation's, some institutions' own, or both at once."""

    operator: Name = Role.OPERATOR.value
    """Whose certificate `tls` names; the brokers' configuration has it among its super.users."""
    federation: Name | None = None
    """The federation whose topics lie here."""
    members: Annotated[tuple[Name, ...], AfterValidator(_all_different)] = ()
    """The federation's institutions; who is not among them loses every right."""
    institutions: Annotated[tuple[Name, ...], AfterValidator(_all_different)] = ()
    """The institutions whose own topics lie here."""
    keep_hours: dict[str, Annotated[int, Field(ge=1, le=10 * 365 * 24)]] = Field(default_factory=dict)
    """How long the institutions' own topics keep a record, where it is not as docs/topology.md says; by the topic's name without the institution."""
    replication: Annotated[int, Field(ge=1, le=9)] = 3
    """Copies of each record of new topics; from three on, two must hold a record before it is acknowledged."""

    @model_validator(mode="after")
    def _kept_by_age(self) -> Self:
        by_age = {topic.name for topic in OWN_TOPICS if topic.keep_hours is not None}
        unknown = sorted(self.keep_hours.keys() - by_age)
        if unknown:
            raise ValueError(
                f"keep_hours: {', '.join(unknown)} is no own topic whose records go by age; those are {', '.join(sorted(by_age))}"
            )
        return self

    @model_validator(mode="after")
    def _whose_topics(self) -> Self:
        if self.federation is None and not self.institutions:
            raise ValueError("name a federation, or institutions whose own topics lie here")
        if self.federation is None and self.members:
            raise ValueError("members belong to a federation: name it")
        return self


class AuditSettings(_Section):
    """An audit writer: the federation's, or with an institution that institution's own."""

    dsn: Annotated[str, AfterValidator(_has_no_password), Field(pattern=r"^(chdb|clickhouse|https?)://\S+$")] | None = None
    """ClickHouse: chdb:///directory for the embedded engine, or a server's address without a password; absent: the ledger has no index."""
    password_file: Path | None = None
    """The server's password, readable by its owner only (mode 0600)."""
    ledger_dir: Path
    """Where the ledger lies: the audit itself, of which ClickHouse is the index."""
    institution: Name | None = None
    """The institution whose own audit this is."""
    bootstrap: Bootstrap | None = None
    """That institution's own Kafka cluster."""
    tls: TlsSettings | None = None
    """Certificates and key for that cluster; without them it must be on this machine."""
    batch_records: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Entries written at once."""
    flush_ms: Annotated[int, Field(ge=0, le=_DAY_MS)] = 500
    """An entry waits no longer than this for others to be written with; 0: not at all."""
    checkpoint_ms: Duration = 60_000
    """The federation's audit signs a checkpoint at most this often, and only when it has grown."""

    @model_validator(mode="after")
    def _whose(self) -> Self:
        _require_own_cluster(self.institution, self.bootstrap, self.tls, "the federation's audit")
        return self


class WebSettings(_Section):
    """A portal, or without an institution the federation's console."""

    state_dir: Path
    """Where its files lie."""
    host: str = "127.0.0.1"
    """The address it listens on."""
    port: Port = 0
    """The port it listens on; 0: one that is free."""
    port_file: Path | None = None
    """Where it writes the port it listens on, for whoever started it."""
    origin: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")] | None = None
    """How browsers reach it, through whatever speaks TLS for it: https://portal.bank.example. Absent: only from this machine."""
    database: Annotated[str, AfterValidator(_has_no_password), Field(pattern=r"^(sqlite:///|postgresql://)\S+$")] | None = None
    """Its people and their work: postgresql://user@host/name, or sqlite:///path. Absent: SQLite in state_dir."""
    database_password_file: Path | None = None
    """The database's password, readable by its owner only (mode 0600)."""
    vault_key_file: Path | None = None
    """What one-time-code secrets are encrypted with; made when absent. Processes with one database need one key. Absent: in state_dir."""
    code_needed: bool = True
    """Whether everybody needs an authenticator app. If not, passwords have 15 characters or more instead of 8."""
    institution: Name | None = None
    """The institution whose portal this is."""
    four_eyes_from: Annotated[float, Field(ge=0)] = 10_000.0
    """A case of this amount or more is closed by two officers; in the account's currency."""
    bootstrap: Bootstrap | None = None
    """That institution's own Kafka cluster."""
    tls: TlsSettings | None = None
    """Certificates and key for that cluster; without them it must be on this machine."""

    @model_validator(mode="after")
    def _whose(self) -> Self:
        _require_own_cluster(self.institution, self.bootstrap, self.tls, "the console")
        return self

    @model_validator(mode="after")
    def _behind_tls(self) -> Self:
        # Passwords and sessions in plain text stay on this machine.
        if not self.secure and not (
            _is_loopback(self.host) and (self.origin is None or _is_loopback(urlsplit(self.origin).hostname or ""))
        ):
            raise ValueError("origin must be https://... for browsers on other machines: passwords do not travel in plain text")
        return self

    @property
    def secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.origin is not None and self.origin.startswith("https://")


class VerticalSettings(_Cluster):
    """One party's side of a vertical partnership, and its own Kafka cluster."""

    role: Literal["bank", "partner"]
    """The bank has the labels and begins every run; the partner answers."""
    peer: Name
    """The other party's name in the federation."""
    state_dir: Path
    """Where its SQLite file lies; another folder than the institution worker's."""
    features: Path
    """Its feature schema: a file as in schemas/features/vertical; the other party need not know it."""
    policies: Annotated[tuple[OverlapPolicy, ...], AfterValidator(_all_different), Field(min_length=1)] = (OverlapPolicy.SHOWN,)
    """What a partner lets an intersection show: shown, counted, hidden."""
    list_min: Annotated[int, Field(ge=1, le=LIST_MAX)] = 100
    """A partner answers no shorter list: a list of one asks about one person."""
    list_max: Annotated[int, Field(ge=1, le=LIST_MAX)] = 100_000
    """A partner answers no longer list."""
    runs_per_day: Annotated[int, Field(ge=1, le=10_000)] = 48
    """A partner takes part in no more intersections, and in no more trainings, within 24 hours."""
    hidden_length: Annotated[int, Field(ge=1, le=LIST_MAX)] = 16_384
    """To how many names a bank pads both lists of a hidden intersection."""
    rows_min: Annotated[int, Field(ge=5, le=100_000)] = 10
    """No sum over fewer rows is computed, and no training with fewer of either kind begun."""
    held_out_share: Annotated[float, Field(ge=0.05, le=0.5)] = 0.2
    """The share of a bank's rows on which only the loss is measured."""
    passes_max: Annotated[int, Field(ge=1, le=100)] = 20
    """Passes of a training, unless it ends before by itself."""
    ridge: Annotated[float, Field(ge=1e-3, le=1e6)] = 1.0
    """How strongly weights without rows are held at zero, in rows' worth of evidence."""
    align_after: Annotated[int, Field(ge=0, le=LIST_MAX)] = 0
    """A bank asks for an intersection by itself after so many new customers; 0: only when told."""
    train_after: Annotated[int, Field(ge=0, le=LIST_MAX)] = 0
    """A bank trains by itself after so many newly labelled shared customers; 0: only when told."""
    answer_wait_ms: Duration = 600_000
    """A run whose next message takes longer is abandoned."""
    score_wait_ms: Duration = 2_000
    """A joint prediction waits so long for the partner; then the bank's own scorecard answers."""
    future_tolerance_ms: Annotated[int, Field(ge=0, le=_DAY_MS)] = 300_000
    """An event dated later than this from now is refused."""
    status_ms: Duration = 1000
    """Its status is published this often."""

    @model_validator(mode="after")
    def _a_list_that_can_be(self) -> Self:
        if self.list_min > self.list_max:
            raise ValueError("list_min must not be more than list_max")
        return self


class OpsSettings(_Section):
    """How a process is watched."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least grave log line written to stderr."""
    host: str = "127.0.0.1"
    """The address where metrics and health are asked for; for the operator's network only."""
    port: Port | None = None
    """Its port, 0 for a free one; absent: not served."""


class _Process(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER, hide_input_in_errors=True
    )
    ops: OpsSettings = OpsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 pydantic-settings passes all five by name.
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 As above.
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 As above.
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then the file (which arrives as arguments); no other place."""
        return env_settings, init_settings


class InstitutionProcess(_Process):
    """Everything an institution's worker is told."""

    federation: FederationSettings
    party: PartySettings
    institution: InstitutionSettings
    purposes: PurposesSettings = USUAL_PURPOSES


class OperatorProcess(_Process):
    """Everything an operator's commands are told."""

    federation: FederationSettings
    party: PartySettings


class AggregatorProcess(_Process):
    """Everything the aggregator is told."""

    federation: FederationSettings
    party: PartySettings
    aggregator: AggregatorSettings


class AuditProcess(_Process):
    """Everything an audit writer is told."""

    federation: FederationSettings
    audit: AuditSettings
    party: PartySettings | None = None
    """Who signs the federation's audit; absent: nobody does, and no witness can cosign it."""

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.audit.institution is not None and self.party is not None:
            raise ValueError("party signs the federation's audit: an institution's own has none")
        return self


class VerticalProcess(_Process):
    """Everything one party's vertical worker is told."""

    federation: FederationSettings
    party: PartySettings
    vertical: VerticalSettings
    purposes: PurposesSettings = USUAL_PURPOSES


class WebProcess(_Process):
    """Everything a portal is told."""

    federation: FederationSettings
    web: WebSettings
    purposes: PurposesSettings = USUAL_PURPOSES


class FeedProcess(_Process):
    """Everything is told to who plays events into institutions' topics."""

    feed: FeedSettings


class TopicsProcess(_Process):
    """Everything is told to who makes topics and access lists."""

    cluster: ClusterSettings


PROCESSES: Final = (
    InstitutionProcess,
    AggregatorProcess,
    OperatorProcess,
    AuditProcess,
    VerticalProcess,
    WebProcess,
    FeedProcess,
    TopicsProcess,
)
_SECTIONS: Final = frozenset(name for process in PROCESSES for name in process.model_fields)
P = TypeVar("P", bound=_Process)


def load_settings(path: Path, process: type[P]) -> P:
    """The settings of one process from a TOML file, overridden by the environment.

    SettingsError: the file cannot be read, or a key is unknown, missing or out of bounds; one sentence for each.
    """
    try:
        written = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: {error}"]) from error
    strays = _stray_variables()
    try:
        loaded = process(**written)
    except ValidationError as error:
        raise SettingsError(strays + [_sentence(process, details) for details in error.errors(include_input=False)]) from error
    except EnvironmentUnreadableError as error:
        raise SettingsError([*strays, f"environment: {error}; a list is written as JSON"]) from error
    if strays:
        raise SettingsError(strays)
    return loaded


def _stray_variables() -> list[str]:
    """Sentences about variables that look like settings of a section that does not exist: pydantic-settings overlooks them."""
    problems = []
    for name in sorted(os.environ):
        section, delimiter, _ = name.removeprefix(_PREFIX).partition(_DELIMITER)
        if name.startswith(_PREFIX) and delimiter and section.lower() not in _SECTIONS:
            problems.append(f"{name}: there is no section {section.lower()}, only {', '.join(sorted(_SECTIONS))}")
    return problems


def read_private_file(path: Path) -> bytes:
    """The content of a key or password file; SettingsError unless only its owner can read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise SettingsError([f"{path}: others may read it (mode {mode:04o}); run chmod 600 {path}"])
            return file.read()
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from error


def _sentence(process: type[_Process], details: Any) -> str:
    key = ".".join(str(part) for part in details["loc"] if part != "[key]")
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown; known here are {', '.join(_known_at(process, details['loc'][:-1]))}"
    if details["type"] == "missing":
        return f"{key}: missing"
    message = details["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}"


def _known_at(process: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    model = process
    for part in location:
        if part in model.model_fields:  # Else the key of a table of tables, whose model is at hand already.
            annotation = model.model_fields[part].annotation
            inner = (annotation, *get_args(annotation))
            model = next(kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel))
    return sorted(model.model_fields)
