"""A broker with mutual TLS and access lists, and raw requests to it as any principal.

Used by the tests of access, of certificates and of `riverbank topics`.
Never asks through our own door: what that refuses by itself would say nothing about the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from riverbank.embedded.kafka import EmbeddedKafka
from streams.access import Principal
from streams.cluster_plan import Plan, Wanted
from streams.kafka_admin import KafkaAdmin
from tests.pki import OPERATOR, Pki

ALLOWED, TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED = 0, 29, 30, 31


@dataclass(frozen=True)
class Secured:
    """The broker and the authority it trusts."""

    kafka: EmbeddedKafka
    pki: Pki

    @property
    def bootstrap(self) -> str:
        return self.kafka.bootstrap

    async def plan(self, wanted: Wanted) -> Plan:
        async with KafkaAdmin.connected(self.bootstrap, self.pki.tls(OPERATOR)) as admin:
            return await admin.plan(wanted)

    async def apply(self, wanted: Wanted) -> Plan:
        async with KafkaAdmin.connected(self.bootstrap, self.pki.tls(OPERATOR)) as admin:
            plan = await admin.plan(wanted)
            await admin.apply(wanted, plan, replication=1)
            return plan

    @asynccontextmanager
    async def speaking_as(self, principal: Principal) -> AsyncIterator[Wire]:
        client = AIOKafkaClient(
            bootstrap_servers=self.bootstrap, security_protocol="SSL", ssl_context=self.pki.tls(principal).context, request_timeout_ms=5_000
        )
        await client.bootstrap()
        try:
            yield Wire(client, client.get_random_node())
        finally:
            await client.close()


@dataclass(frozen=True)
class Wire:
    """Requests, and the broker's error codes (Kafka protocol guide, "Error codes")."""

    client: AIOKafkaClient
    node: int

    async def ask(self, request):
        assert await self.client.ready(self.node)
        return await self.client.send(self.node, request)

    async def write(self, topic: str) -> int:
        batch = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 16_384)
        batch.append(0, 0, b"key", b"value", [])
        answer = await self.ask(ProduceRequest(None, -1, 5_000, [(topic, [(0, bytes(batch.build()))])]))
        return answer.topics[0][1][0][1]

    async def read(self, topic: str) -> int:
        answer = await self.ask(FetchRequest(0, 0, 65_536, 0, [(topic, [(0, 0, 65_536)])]))
        return answer.topics[0][1][0][1]
