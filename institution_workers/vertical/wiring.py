"""The vertical worker put together: what it reads, keeps, says and with which keys.

Called by the CLI with settings read from a file.
Never decides anything: a list of constructors, then the loop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from federation.heads.credit import CreditEncoder
from federation.heads.features import FeatureSchema
from federation.secagg.paillier import MODULUS_BITS_MIN
from federation.vertical.effects import Parties
from institution_workers.consents import Consents
from institution_workers.customer_keys import CustomerKeys
from institution_workers.remembered_parties import RememberedParties
from institution_workers.speaker import Speaker
from institution_workers.storage import StateUnusable, Store
from institution_workers.vertical.bank_desk import BankDesk
from institution_workers.vertical.intake import Intake
from institution_workers.vertical.partner_desk import PartnerDesk
from institution_workers.vertical.people import People
from institution_workers.vertical.requests import Requests
from institution_workers.vertical.runs import Runs, Self
from institution_workers.vertical.scores import Scores
from institution_workers.vertical.worker import Reporting, Worker
from institution_workers.wiring import WallClock
from streams.access import Principal
from streams.courier import Courier
from streams.identity import Identity, key_file
from streams.kafka import KafkaLog
from streams.ops import open_ops
from streams.parties import Parties as KnownParties
from streams.ports import Log
from streams.settings import SettingsError, VerticalProcess
from streams.telemetry import configure_logging
from streams.tls import open_tls
from streams.topology import Cluster, Role

_LEAVE_SECONDS: Final = 3.0
_LAYOUT: Final = ("vertical", "layout")


def encoder_of(path: Path) -> CreditEncoder:
    """The encoder of a feature schema file; SettingsError if it cannot be read."""
    try:
        return CreditEncoder(FeatureSchema.parsed(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError([f"vertical.features: {path}: {error}"]) from error


def assemble(settings: VerticalProcess, store: Store, own_log: Log, federation: Log, *, bits: int = MODULUS_BITS_MIN) -> Worker:
    """The worker over these logs; SettingsError, OwnFault or StateUnusable for what cannot be used. Only tests lower `bits`."""
    vertical, name, clock = settings.vertical, settings.party.name, WallClock()
    encoder = encoder_of(vertical.features)
    _require_layout(store, encoder)
    is_bank, fed = vertical.role == "bank", settings.federation
    parties = Parties(fed.name, name, vertical.peer, bits) if is_bank else Parties(fed.name, vertical.peer, name, bits)
    known = KnownParties(federation, federation=fed.name, ca_verify_key=bytes.fromhex(fed.ca_verify_key), memory=RememberedParties(store))
    identity = Identity(name, known, key_file(settings.party))
    own = Self(parties, is_bank, lambda: identity.ring.sealing_secrets, vertical.ridge, vertical.answer_wait_ms)
    people = People(store.database)
    speakers = (Speaker(store, Cluster.FEDERATION, federation), Speaker(store, Cluster.OWN, own_log))
    courier = Courier(federation, federation=fed.name, sender=name, sign=identity.sign)
    width = len(encoder.layout)
    bank = BankDesk(name, people, store, vertical, width) if is_bank else None
    desk = bank or PartnerDesk(people, vertical, width)
    runs = Runs(federation, store, desk, speakers, courier, known, own=own, clock=clock, entropy=os.urandom)
    scores = Scores(federation, store, people, runs, bank, speakers, courier, known, own=own, clock=clock, entropy=os.urandom)
    intake = Intake(
        own_log, store, people, speakers[1], encoder, name=name, is_bank=is_bank, clock=clock, future_ms=vertical.future_tolerance_ms,
        consents=Consents(store.database, settings.purposes), keys=CustomerKeys(store.database, os.urandom),
    )  # fmt: skip
    parts: list[tuple[str, Identity | Runs | Scores | Intake | Requests]] = [
        ("parties", identity),
        ("own cluster", intake),
        ("partnership", runs),
        ("joint scores", scores),
    ]
    if bank is not None:
        parts.append(("requests", Requests(own_log, store, bank, runs, scores, speakers, clock=clock)))
    return Worker(parts, Reporting(runs, scores, courier, own=own, clock=clock), status_ms=vertical.status_ms)


def _require_layout(store: Store, encoder: CreditEncoder) -> None:
    """A state of other features would be read as nonsense."""
    saved = store.model(*_LAYOUT)
    if saved is None:
        with store.turn():
            store.set_model(*_LAYOUT, encoder.layout.digest)
    elif saved != encoder.layout.digest:
        raise StateUnusable("the state is of another feature schema: move the state folder away to start afresh")


async def run(settings: VerticalProcess) -> None:
    """Work until cancelled (streams.runner does so at SIGTERM), or until something fails, which is raised."""
    configure_logging(settings.ops.log_level)
    open_ops(settings.ops)
    store = Store.open(settings.vertical.state_dir, settings.party.name)
    worker = Principal(settings.party.name, Role.INSTITUTION)
    own, federation = (
        KafkaLog(cluster.bootstrap, client_id=f"{worker.name}-vertical", tls=open_tls(cluster.tls, worker))
        for cluster in (settings.vertical, settings.federation)
    )
    try:
        await assemble(settings, store, own, federation).run()
    finally:
        store.close()
        await asyncio.wait([asyncio.create_task(log.close()) for log in (own, federation)], timeout=_LEAVE_SECONDS)
