"""Every principal may do on every topic exactly what the topology's rows say: asked of a real broker, one by one."""

from __future__ import annotations

import itertools

import pytest
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeAclsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from streams.access import Principal, aggregator_group, alone, federation_principals, own_principals
from streams.cluster_plan import Wanted
from streams.topology import FEDERATION_TOPICS, OWN_TOPICS, Role
from tests.pki import OPERATOR
from tests.streams.secured import ALLOWED, CLUSTER_DENIED, GROUP_DENIED, TOPIC_DENIED, Secured

pytestmark = pytest.mark.broker
FEDERATION = "pki"
BANKS = ("north-bank", "south-bank")
STRANGERS = (
    Principal("gone-bank", Role.INSTITUTION),
    Principal("north-bank", Role.AGGREGATOR),
    alone(Role.SOURCE),
    Principal("kafka2", Role.OPERATOR),
)
MEMBERS = tuple(dict.fromkeys((*federation_principals(BANKS), *itertools.chain.from_iterable(map(own_principals, BANKS)))))
WANTED = Wanted.federation(FEDERATION, BANKS) | Wanted.own(BANKS[0]) | Wanted.own(BANKS[1])


def may(principal: Principal) -> dict[tuple[str, str], bool]:
    """(topic, "write" or "read") -> whether the rows say so."""
    said = {}
    known = principal in MEMBERS
    for row, bank in (*((row, None) for row in FEDERATION_TOPICS), *itertools.product(OWN_TOPICS, BANKS)):
        ours = known and bank in (None, principal.party)
        said[row.full_name(bank), "write"] = ours and principal.role in row.written_by
        said[row.full_name(bank), "read"] = ours and principal.role in row.read_by
    return said


@pytest.mark.parametrize("principal", [*MEMBERS, *STRANGERS], ids=lambda principal: principal.name)
async def test_who_may_do_what(secured: Secured, principal: Principal):
    """Every topic, written and read: allowed exactly where the rows say."""
    await secured.apply(WANTED)
    expected = may(principal)
    async with secured.speaking_as(principal) as wire:
        asked = {(topic, operation): await (wire.write if operation == "write" else wire.read)(topic) for topic, operation in expected}

    assert set(asked.values()) <= {ALLOWED, TOPIC_DENIED}
    assert {cell: code == ALLOWED for cell, code in asked.items()} == expected


def test_the_matrix_has_both_kinds_of_cells():
    """Everybody of the federation may do something, and nobody everything."""
    for principal in MEMBERS:
        cells = may(principal).values()
        assert any(cells)
        assert not all(cells)
    assert not any(itertools.chain.from_iterable(may(stranger).values() for stranger in STRANGERS))


@pytest.mark.parametrize("principal", MEMBERS, ids=lambda principal: principal.name)
async def test_the_group_is_the_aggregators(secured: Secured, principal: Principal):
    """Nobody else sees or moves the offsets with which its workers share out partitions."""
    await secured.apply(WANTED)
    group = aggregator_group(FEDERATION, "aggregator")
    async with secured.speaking_as(principal) as wire:
        code = (await wire.ask(FindCoordinatorRequest(group, 0))).error_code

    assert (code == GROUP_DENIED) == (principal != alone(Role.AGGREGATOR))


@pytest.mark.parametrize("principal", [*MEMBERS, *STRANGERS], ids=lambda principal: principal.name)
async def test_only_the_operator_changes_the_cluster(secured: Secured, principal: Principal):
    """Nobody else makes a topic, or reads who may do what."""
    async with secured.speaking_as(principal) as wire:
        made = await wire.ask(CreateTopicsRequest([(f"of-{principal.name}", 1, 1, [], [])], 5_000, False))
        rules = await wire.ask(DescribeAclsRequest(1, None, 1, None, None, 1, 1))

    assert {made.topic_errors[0][1], rules.error_code} <= {TOPIC_DENIED, CLUSTER_DENIED}


async def test_the_operator_may(secured: Secured):
    """It is above the access lists, as the broker's configuration says."""
    await secured.apply(WANTED)
    async with secured.speaking_as(OPERATOR) as wire:
        assert [await wire.read(topic) for topic in WANTED.topics] == [ALLOWED] * len(WANTED.topics)
        assert (await wire.ask(DescribeAclsRequest(1, None, 1, None, None, 1, 1))).error_code == ALLOWED
