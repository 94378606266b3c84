"""What a portal or console process is made of, and its life: feeds, server, stop.

Called by `riverbank web run`.
Never serves before it has tried to read what the logs hold, and never stops serving because a log is away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web as http

from audit.auditor import Auditor
from audit.history import History
from federation import messages as m
from federation.heads.products import Catalogue
from streams import telemetry, topology
from streams.access import Principal, alone
from streams.codec import encode
from streams.kafka import KafkaLog
from streams.ops import open_ops
from streams.parties import Parties
from streams.ports import Clock, Entropy, Log, Outgoing
from streams.settings import USUAL_PURPOSES, PurposesSettings, WebProcess, WebSettings, read_private_file
from streams.tls import open_tls
from streams.topology import Role
from web.app import make_app, templates
from web.cases.desk import Desk
from web.cases.feedback import Feedback
from web.cases.intake import Intake
from web.cases.store import CaseStore
from web.feed import Feed, federation_fold, keep_up, own_fold, positions_of
from web.identity.house import Identity, open_identity
from web.identity.recorders import LogLines, Recorder
from web.identity.secrets import open_vault
from web.readmodels.customers import Customers
from web.readmodels.institutions import Institutions
from web.readmodels.partnerships import Partnerships
from web.readmodels.progress import Progress
from web.readmodels.rounds import Rounds
from web.state import Institution, Window

# A person waits for the acknowledgement of feedback, so the log gets less time than a worker would give it.
_FEEDBACK_DELIVER_MS: Final = 5_000
_PROGRESS_READ: Final = 3 * 240  # One status a second and head, for days: the newest are enough for a curve.
_STOP_S: Final = 2.0
_log = structlog.get_logger(__name__)


class SystemClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


def make_window(
    parties: Parties,
    log: Log,
    own: tuple[str, Log] | None,
    clock: Clock,
    identity: Identity,
    *,
    entropy: Entropy = os.urandom,
    recorder: Recorder | None = None,
    origin: str | None = None,
    purposes: PurposesSettings = USUAL_PURPOSES,
    four_eyes_from: float = 10_000.0,
) -> Window:
    """The window over the federation's log and, for a portal, over its own institution's (name, log)."""
    rounds, known, partnerships = Rounds(), Institutions(), Partnerships()
    checkpoints = History(parties.directory.federation, parties.verify_keys)

    def apply(message: m.Message) -> None:
        if isinstance(message, m.InstitutionStatus):
            known.apply(message)
        elif isinstance(message, m.VerticalStatus):
            partnerships.apply(message)
        elif isinstance(message, m.CheckpointSigned | m.CheckpointCosigned | m.CheckpointRefused):
            checkpoints.apply(message)
        else:
            rounds.apply(message)

    fold = federation_fold(parties, apply)
    feed = Feed(log, positions_of([topology.ROUNDS, topology.STATUS, topology.VERTICAL_STATUS, topology.CHECKPOINTS]), fold, clock)
    recorder = recorder or LogLines()
    institution = None
    if own is not None:
        store = CaseStore(identity.database, entropy)
        institution = _institution(*own, parties, clock, purposes, store, recorder, four_eyes_from)
    return Window(rounds, known, partnerships, checkpoints, feed, clock, templates(), identity, entropy, recorder, origin, institution)


def _institution(
    name: str,
    log: Log,
    parties: Parties,
    clock: Clock,
    purposes: PurposesSettings,
    store: CaseStore,
    recorder: Recorder,
    four_eyes_from: float,
) -> Institution:
    customers, progress = Customers(Catalogue.shipped(), purposes), Progress()

    def apply(message: m.Message) -> None:
        customers.apply(message)
        progress.apply(message)

    rows = [topology.PROFILES, topology.CONSENTS, topology.SERVING_MODELS, topology.FEEDBACK]
    feed = Feed(log, positions_of(rows, name), own_fold(name, parties, apply, customers.forget), clock)
    told = own_fold(name, parties, progress.apply, lambda _topic, _key: None)
    progress_feed = Feed(log, positions_of([topology.PROGRESS], name), told, clock, tail=_PROGRESS_READ)

    async def send(message: m.FeedbackGiven) -> None:
        topic = topology.FEEDBACK.full_name(name)
        await log.append([Outgoing(topic, 0, message.customer.encode(), encode(message))])

    async def ask(message: m.ReviewAsked) -> None:
        await log.append([Outgoing(topology.REVIEWS.full_name(name), 0, message.event_id.encode(), encode(message))])

    async def tell(message: m.FeedbackGiven) -> None:
        await send(message)
        customers.remember(message)

    feedback = Feedback(store, tell, clock)
    desk = Desk(store, recorder, feedback, clock, four_eyes_from=four_eyes_from)
    return Institution(name, customers, feed, send, ask, desk, Intake(store, feedback, log, name, clock), progress, progress_feed)


@contextlib.asynccontextmanager
async def identity_of(web: WebSettings, recorder: Recorder) -> AsyncIterator[Identity]:
    """The people of the portal with these settings; DatabaseError or SettingsError if they cannot be read."""
    vault = open_vault(web.vault_key_file or web.state_dir / "vault.key", os.urandom)
    dsn = web.database or f"sqlite:///{(web.state_dir / 'portal.sqlite3').absolute()}"
    password = None if web.database_password_file is None else read_private_file(web.database_password_file).decode().strip()
    async with open_identity(
        dsn, vault, SystemClock(), os.urandom, recorder, place=web.institution, code_needed=web.code_needed, password=password
    ) as identity:
        yield identity


@contextlib.asynccontextmanager
async def _recorder(own: tuple[str, Log] | None) -> AsyncIterator[Recorder]:
    """An institution's audit, or the console's log."""
    if own is None:
        yield LogLines()
        return
    name, log = own
    async with Auditor(log, institution=name, process="portal", clock=SystemClock(), entropy=os.urandom) as auditor:
        yield auditor


async def run(settings: WebProcess) -> None:
    """Serve until cancelled; OSError if the address is taken, SettingsError for certificates, DatabaseError for a database that cannot be used."""
    telemetry.configure_logging(settings.ops.log_level)
    web = settings.web
    ourselves = alone(Role.CONSOLE) if web.institution is None else Principal(web.institution, Role.PORTAL)
    log = KafkaLog(settings.federation.bootstrap, client_id=ourselves.name, tls=open_tls(settings.federation.tls, ourselves))
    own = None
    if web.institution is not None and web.bootstrap is not None:
        tls = open_tls(web.tls, ourselves)
        own = web.institution, KafkaLog(web.bootstrap, client_id=ourselves.name, tls=tls, deliver_ms=_FEEDBACK_DELIVER_MS)
    federation = settings.federation
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    try:
        async with _recorder(own) as recorder, identity_of(web, recorder) as identity:
            window = make_window(
                parties,
                log,
                own,
                SystemClock(),
                identity,
                recorder=recorder,
                origin=web.origin,
                purposes=settings.purposes,
                four_eyes_from=web.four_eyes_from,
            )
            open_ops(settings.ops, window.checks)
            # A feed that fails for good ends the portal: none is better than one that shows old things as new.
            async with asyncio.TaskGroup() as group:
                group.create_task(window.feed.run())
                group.create_task(keep_up(parties))
                if window.institution is not None:
                    group.create_task(window.institution.feed.run())
                    group.create_task(window.institution.intake.run())
                    group.create_task(window.institution.progress_feed.run())
                group.create_task(_serve(web, window))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures  # The first ended the others; the operator gets its sentence.
    finally:
        await parties.close()
        await log.close()
        if own is not None:
            await own[1].close()


async def _serve(settings: WebSettings, window: Window) -> None:
    runner = http.AppRunner(make_app(window), access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        site = http.TCPSite(runner, settings.host, settings.port)
        await site.start()
        port = runner.addresses[0][1]
        if settings.port_file is not None:
            _write_port(settings.port_file, port)
        _log.info("serving", host=settings.host, port=port, institution=settings.institution)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _write_port(port_file: Path, port: int) -> None:
    draft = port_file.with_suffix(".new")
    draft.write_text(f"{port}\n")
    draft.replace(port_file)  # A reader sees the whole number or none.
