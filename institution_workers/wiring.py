"""The institution worker put together: what it reads, keeps, says and with which keys.

Called by the CLI with settings read from a file.
Never decides anything: a list of constructors, then the loop."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

from federation.ids import digest_of
from federation.messages import ActionKind, ErasureCertified, HeadName, ServingModel
from federation.privacy.accountant import budget_of
from institution_workers.learning import Learning
from institution_workers.participation import Budget, Member, Participation
from institution_workers.remembered_parties import RememberedParties
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.study import Study, Terms
from institution_workers.witnessing import Witnessing
from institution_workers.worker import Reporting, Worker
from streams.access import Principal
from streams.courier import Courier
from streams.identity import Identity, key_file
from streams.kafka import KafkaLog
from streams.ops import open_ops
from streams.parties import Parties
from streams.ports import Clock, Log
from streams.settings import InstitutionProcess, PrivacySettings
from streams.signed import seal_record
from streams.telemetry import EPSILON_MAX, configure_logging
from streams.tls import open_tls
from streams.topology import ERASURES_CERTIFIED, SERVING_MODELS, Cluster, Role

_LEAVE_SECONDS: Final = 3.0


class WallClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


def assemble(settings: InstitutionProcess, store: Store, own: Log, federation: Log) -> Worker:
    """The worker over these logs; SettingsError or OwnFault for a key file that cannot be used, StateUnusable for the state."""
    institution, party = settings.institution, settings.party.name
    clock = WallClock()
    terms = Terms(
        {head: institution.learning_rate(head) for head in HeadName},
        institution.future_tolerance_ms,
        institution.waiting_max,
        institution.serve_ms,
        settings.purposes,
    )
    ca_verify_key = bytes.fromhex(settings.federation.ca_verify_key)
    parties = Parties(federation, federation=settings.federation.name, ca_verify_key=ca_verify_key, memory=RememberedParties(store))
    identity = Identity(party, parties, key_file(settings.party))

    def seal(model: ServingModel) -> bytes:
        return seal_record(model, sender=party, sign=identity.sign, federation=settings.federation.name, topic=SERVING_MODELS)

    def certify(certified: ErasureCertified) -> bytes:
        return seal_record(certified, sender=party, sign=identity.sign, federation=settings.federation.name, topic=ERASURES_CERTIFIED)

    study = Study(store, party, institution.heads, clock=clock, terms=terms, seal=seal, certify=certify)
    _note_configuration(settings, store, study, clock)
    learning = Learning(
        own,
        study,
        Speaker(store, Cluster.OWN, own),
        institution=party,
        clock=clock,
        monotonic=time.monotonic,
        records_max=institution.poll_records_max,
    )
    courier = Courier(federation, federation=settings.federation.name, sender=party, sign=identity.sign)
    participation = Participation(
        federation,
        store,
        study,
        Speaker(store, Cluster.FEDERATION, federation),
        courier,
        parties,
        identity,
        member=Member(party, {head: budget(institution.privacy_of(head)) for head in institution.heads}, institution.members_min),
        clock=clock,
        entropy=os.urandom,
    )
    return Worker(
        learning,
        participation,
        Witnessing(federation, store, parties, identity, courier, clock=clock),
        Reporting(study, learning, own, courier, institution=party, clock=clock),
        identity,
        status_ms=institution.status_ms,
    )


def _note_configuration(settings: InstitutionProcess, store: Store, study: Study, clock: Clock) -> None:
    """Under which settings this run of the worker acts, in the institution's own audit; they hold no secret, and only their digest is kept."""
    digest = digest_of(settings.model_dump_json().encode()).hex()
    with store.turn():
        study.note(ActionKind.CONFIGURATION, "started", {"settings": digest}, key=f"started {clock.now_ms()} {digest}")


def budget(policy: PrivacySettings) -> Budget:
    """What a head may cost a customer, as the accountant counts."""
    return Budget(budget_of(policy.epsilon, policy.delta), policy.period_days)


async def run(settings: InstitutionProcess) -> None:
    """Work until cancelled (streams.runner does so at SIGTERM), or until something fails, which is raised.

    LogUnavailable, LogRefused, SettingsError and OwnFault (StateUnusable among them) are each a sentence for the operator.
    """
    configure_logging(settings.ops.log_level)
    open_ops(settings.ops)
    for head in settings.institution.heads:
        EPSILON_MAX.labels(head=head.value).set(settings.institution.privacy_of(head).epsilon)
    store = Store.open(settings.institution.state_dir, settings.party.name)
    worker = Principal(settings.party.name, Role.INSTITUTION)
    own, federation = (
        KafkaLog(cluster.bootstrap, client_id=worker.name, tls=open_tls(cluster.tls, worker))
        for cluster in (settings.institution, settings.federation)
    )
    try:
        await assemble(settings, store, own, federation).run()
    finally:
        store.close()
        # A broker that is away does not take leave; all that matters is in the journal.
        await asyncio.wait([asyncio.create_task(log.close()) for log in (own, federation)], timeout=_LEAVE_SECONDS)
