"""Makes a Kafka cluster's topics and access lists what the topology says of it, with what has to change shown first.

Called by `riverbank topics` and by the demo.
Never deletes a topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Final

from streams.access import Principal
from streams.cluster_plan import Plan, Wanted
from streams.kafka_admin import KafkaAdmin
from streams.settings import ClusterSettings
from streams.tls import open_tls
from streams.topology import Role

_NOTHING: Final = Wanted({}, frozenset())


def wanted_of(settings: ClusterSettings) -> Wanted:
    """Everything that belongs on the cluster."""
    own = reduce(or_, map(Wanted.own, settings.institutions), _NOTHING)
    kept = {name: replace(row, keep_hours=settings.keep_hours.get(row.name, row.keep_hours)) for name, row in own.topics.items()}
    own = Wanted(kept, own.rules)
    return own if settings.federation is None else own | Wanted.federation(settings.federation, settings.members)


async def bring_about(settings: ClusterSettings, *, show: Callable[[Plan], None], dry_run: bool = False) -> None:
    """Show the plan, then, unless it is a dry run, carry it out.

    SettingsError, LogRefused or LogUnavailable say why not.
    """
    wanted = wanted_of(settings)
    tls = open_tls(settings.tls, Principal(settings.operator, Role.OPERATOR))
    async with KafkaAdmin.connected(settings.bootstrap, tls) as admin:
        plan = await admin.plan(wanted)
        show(plan)
        if not dry_run:
            await admin.apply(wanted, plan, replication=settings.replication)
