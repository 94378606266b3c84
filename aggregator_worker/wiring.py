"""One aggregator process, put together: settings in, Faust door, agents, watchdog, out only by a signal or a failure.

Called by the CLI through `streams.runner`.
Never outlives a failure: the process ends within seconds, and the next one reads the log again."""

from __future__ import annotations

import asyncio
import math
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import structlog

from aggregator_worker.agents import Agents
from aggregator_worker.app import FaustDoor, FaustTerms
from aggregator_worker.chunk_owner import ChunkOwner
from aggregator_worker.head_shell import HeadShell
from aggregator_worker.office import Office, SystemClock
from aggregator_worker.rereading import ends_of
from aggregator_worker.watchdog import Partition, Watchdog
from federation.errors import OwnFault
from federation.heads.credit import CreditEncoder
from federation.heads.fraud import FraudEncoder
from federation.heads.head import Layout
from federation.heads.products import Catalogue
from federation.ids import Lane
from federation.limits import CHUNK_LENGTH_MAX, COHORT_MIN, NOISE_SIGMA_MAX
from federation.messages import HeadName, RoundParameters
from federation.privacy.accountant import cost, epsilon_of, multiplier_for, noise_multiplier, noise_sigma
from federation.rounds.coordinator_state import CoordinatorSettings
from federation.rounds.head_coordinator_state import Grouping
from federation.secagg.keys import Secret
from streams.access import Principal, aggregator_group
from streams.courier import Courier
from streams.expiry import EXPIRING, ExpiryWatch
from streams.identity import KEEP_UP_S, Identity, key_file
from streams.kafka import KafkaLog
from streams.ops import open_ops
from streams.parties import Parties
from streams.ports import LogUnavailable
from streams.runner import GRACE_S
from streams.settings import AggregatorProcess, HeadSettings
from streams.telemetry import DEGRADED, LAG_RECORDS, configure_logging
from streams.tls import Tls, open_tls
from streams.topology import Role

START_S: Final = 120.0  # Joining the group and rebuilding every lane; a start that takes longer is tried again from outside.
PATIENCE_S: Final = 60.0
LOOK_EVERY_S: Final = 10.0
_CLIP_PER_COUNT: Final = 4  # A customer is worth a quarter of the clip norm in the count: that costs 3 % more noise in the coordinates.
_log: Final = structlog.get_logger(__name__)


def shipped_layout(head: HeadName) -> Layout:
    """The layout of a head's model vector, as its feature schema declares it."""
    match head:
        case HeadName.CREDIT:
            return CreditEncoder.shipped().layout
        case HeadName.FRAUD:
            return FraudEncoder.shipped().layout
        case HeadName.PRODUCTS:
            return Catalogue.shipped().layout


def coordinator_settings(
    settings: AggregatorProcess, head: HeadName, layout: Layout, sealing_secrets: tuple[Secret, ...]
) -> CoordinatorSettings:
    """How the rounds of one head are run."""
    asked, head_settings = settings.aggregator, settings.aggregator.heads[head]
    parameters = round_parameters(head_settings, layout)
    return CoordinatorSettings(
        federation=settings.federation.name,
        lane=Lane(head),
        party=settings.party.name,
        sealing_secrets=sealing_secrets,
        parameters=parameters,
        epsilon=epsilon_of_rounds(parameters),
        rounds_per_epoch=asked.epoch_rounds,
        survivors_min=asked.survivors_min or COHORT_MIN,
        customers_min=max(head_settings.customers_min, customers_floor(parameters)),
        period_ms=asked.round_ms,
        masked_wait_ms=asked.masked_wait_ms,
        unmask_wait_ms=asked.unmask_wait_ms,
        keys_wait_ms=asked.epoch_wait_ms,
        shares_wait_ms=asked.epoch_wait_ms,
        server_step=head_settings.server_step,
    )


def grouping(settings: HeadSettings) -> Grouping | None:
    """Into which groups the institutions are drawn; None for a head without groups."""
    if settings.groups == 1:
        return None
    return Grouping(groups=settings.groups, rule=settings.group_rule, trim=settings.trim, groups_min=settings.groups_needed)


def round_parameters(settings: HeadSettings, layout: Layout) -> RoundParameters:
    """What contributions to a head must obey. OwnFault when the noise asked for cannot be drawn."""
    multiplier = settings.noise_multiplier
    if multiplier is None:
        multiplier = multiplier_for(settings.epsilon, settings.delta, settings.participations_max)
    count_quanta = settings.clip_quanta // _CLIP_PER_COUNT
    sigma = noise_sigma(multiplier, clip_quanta=settings.clip_quanta, count_quanta=count_quanta)
    if sigma > NOISE_SIGMA_MAX:
        fitting = int(settings.clip_quanta * NOISE_SIGMA_MAX / sigma)
        raise OwnFault(
            f"noise of {sigma:.0f} quanta, {multiplier:.3g} times a customer, cannot be drawn: set clip_quanta to {fitting} or less"
        )
    return RoundParameters(
        dimension=len(layout),
        layout_digest=layout.digest,
        clip_norm=settings.clip_norm,
        clip_quanta=settings.clip_quanta,
        count_quanta=count_quanta,
        noise_sigma=sigma,
        participations_max=settings.participations_max,
        period_days=settings.period_days,
        delta=settings.delta,
        chunk_length=CHUNK_LENGTH_MAX,
    )


def customers_floor(parameters: RoundParameters) -> int:
    """What the noisy number of customers must reach: four deviations of its noise are out of chance's reach.

    Dividing by less would blow the noise up instead of averaging it.
    """
    return max(1, math.ceil(4 * parameters.noise_sigma / parameters.count_quanta))


def epsilon_of_rounds(parameters: RoundParameters) -> float | None:
    """What a customer who takes part as often as he may loses at most, at the parameters' delta; None without noise."""
    epsilon = epsilon_of(parameters.participations_max * cost(noise_multiplier(parameters)), parameters.delta)
    return epsilon if math.isfinite(epsilon) else None


async def run(settings: AggregatorProcess, *, layout_of: Callable[[HeadName], Layout] = shipped_layout) -> None:
    """Run until cancelled (SIGTERM: leave the group, stop in seconds) or until something fails, which is raised.

    LogUnavailable, LogRefused, OwnFault or Broken say what; SettingsError for keys and certificates that cannot be used.
    """
    configure_logging(settings.ops.log_level)
    open_ops(settings.ops)
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def on_failure(failure: BaseException) -> None:
        if not failed.done():
            failed.set_result(failure)

    async with AsyncExitStack() as stack:
        tls = open_tls(settings.federation.tls, Principal(settings.party.name, Role.AGGREGATOR))
        office = await _open_office(settings, tls, stack)

        def new_head(partition: int) -> HeadShell | None:
            head = tuple(HeadName)[partition]
            if head not in settings.aggregator.heads:
                return None
            lane = coordinator_settings(settings, head, layout_of(head), office.identity.ring.sealing_secrets)
            problem = partial(settings.aggregator.members_problem, head)
            return HeadShell(lane, grouping(settings.aggregator.heads[head]), office, on_failure, problem)

        agents = Agents(new_head, partial(ChunkOwner, office=office), on_failure)
        stack.callback(agents.close)
        settings.aggregator.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # Faust makes the last folder only.
        terms = FaustTerms(
            aggregator_group(settings.federation.name, settings.party.name),
            settings.federation.bootstrap,
            settings.party.name,
            settings.aggregator.state_dir,
            tls,
        )
        door = FaustDoor(terms, agents.handlers(), agents.assigned, on_failure)
        try:
            await _serve(door, agents, office, failed)
        finally:
            # As streams.runner after a signal: whatever hangs from here on dies with the process.
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)
            agents.close()
            await door.stop()


async def _open_office(settings: AggregatorProcess, tls: Tls | None, stack: AsyncExitStack) -> Office:
    federation, party = settings.federation, settings.party.name
    log = KafkaLog(federation.bootstrap, client_id=party, tls=tls)
    stack.push_async_callback(log.close)
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    stack.push_async_callback(parties.close)
    identity = Identity(party, parties, key_file(settings.party))
    courier = Courier(log, federation=federation.name, sender=party, sign=identity.sign)
    return Office(log, parties, identity, courier, SystemClock())


async def _serve(door: FaustDoor, agents: Agents, office: Office, failed: asyncio.Future[BaseException]) -> None:
    """Start within START_S, then wait for a failure and raise it."""
    works = (_started(door, agents, office), _keep_up(agents, office), _watch(door, office), _raised(failed))
    tasks = {asyncio.create_task(work) for work in works}
    try:
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _raised(failed: asyncio.Future[BaseException]) -> None:
    raise await failed


async def _started(door: FaustDoor, agents: Agents, office: Office) -> None:
    try:
        async with asyncio.timeout(START_S):
            await office.identity.keep_up()
            await door.start()
            await agents.recovered()
        _log.info("aggregating", partitions=len(door.assigned))
    except TimeoutError as error:
        raise LogUnavailable(f"not ready {START_S:g} s after the start") from error


async def _keep_up(agents: Agents, office: Office) -> None:
    """For ever: a certificate, or an operator's word on a member, counts within about a second."""
    expiry = ExpiryWatch()
    while True:
        await asyncio.sleep(KEEP_UP_S)
        try:
            await office.identity.keep_up()
            for party, sentence in expiry.look(office.parties.directory, office.clock.now_ms()):
                await office.courier.send(office.courier.prepare_fault(EXPIRING, party, sentence, None, office.clock.now_ms()))
        except LogUnavailable as away:
            _log.warning("who is who cannot be read", reason=str(away))
            await office.parties.close()
        await agents.look_around()


async def _watch(door: FaustDoor, office: Office) -> None:
    """Ends the process when records wait and nothing is handled: a stuck consumer does not say so by itself."""
    watchdog = Watchdog(PATIENCE_S)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if (failure := door.crashed()) is not None:
            raise LogUnavailable(f"Faust stopped: {failure!r}") from failure
        try:
            ends = await ends_of(office.log, door.assigned)
        except LogUnavailable as away:
            DEGRADED.labels(part="kafka").set(1)
            _log.warning("the federation's log is away", reason=str(away))
            continue
        DEGRADED.labels(part="kafka").set(0)
        _show_lag(ends, door.handled)
        stuck = watchdog.look(ends, door.handled, asyncio.get_running_loop().time())
        if stuck:
            raise LogUnavailable(f"no record of {', '.join(f'{topic}/{number}' for topic, number in stuck)} handled for {PATIENCE_S:g} s")


def _show_lag(ends: Mapping[Partition, int], handled: Mapping[Partition, int]) -> None:
    """Records that wait, by topic. A partition of which nothing was handled since the start counts as read: nobody knows its place."""
    waiting: Counter[str] = Counter()
    for partition, end in ends.items():
        waiting[partition[0]] += max(0, end - handled.get(partition, end))
    for topic, records in waiting.items():
        LAG_RECORDS.labels(topic=topic).set(records)
