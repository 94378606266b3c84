"""Topics, their settings and access lists on Apache Kafka: looks at a cluster, and makes it what a plan says.

Called by `riverbank topics`, the demo, and tests that need topics.
Never deletes a topic, and never changes its partitions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from aiokafka.structs import TopicPartition

from streams.access import AccessRule
from streams.cluster_plan import Change, Found, FoundTopic, Plan, Wanted, plan_of
from streams.kafka import ANSWER_MS, connection, explained
from streams.ports import LogRefused
from streams.tls import Tls
from streams.topology import Topic

_GLANCE_S: Final = 0.01
_ANY: Final = 1
_SECURITY_DISABLED: Final = 54  # The broker has no authorizer: everybody may do everything.
_SET_FOR_THE_TOPIC: Final = 1  # A setting's source.
# Numbers of the Kafka protocol (org.apache.kafka.common.resource and .acl); what we do not know by name keeps its number.
_RESOURCES: Final = {2: "topic", 3: "group", 4: "cluster", 5: "transactional_id", 6: "delegation_token", 7: "user"}
_PATTERNS: Final = {3: "literal", 4: "prefixed"}
_OPERATIONS: Final = {
    2: "all", 3: "read", 4: "write", 5: "create", 6: "delete", 7: "alter", 8: "describe", 9: "cluster_action", 10: "describe_configs",
    11: "alter_configs", 12: "idempotent_write",
}  # fmt: skip
# A segment per append, each clean as soon as the cleaner looks, and no grace for tombstones.
_AT_ONCE: Final = {"segment.ms": "1", "min.cleanable.dirty.ratio": "0", "max.compaction.lag.ms": "1", "delete.retention.ms": "0"}
_PERMISSIONS: Final = {2: "deny", 3: "allow"}


class KafkaAdmin:
    """A connection to one cluster for whoever may change it."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin: Final = admin

    @classmethod
    @asynccontextmanager
    async def connected(cls, bootstrap: str, tls: Tls | None, *, answer_ms: int = ANSWER_MS) -> AsyncIterator[KafkaAdmin]:
        """Connected within, closed after; failures within are LogUnavailable and LogRefused, with the address."""
        client = AIOKafkaAdminClient(**connection(bootstrap, "riverbank-topics", tls, answer_ms))
        try:
            async with explained(bootstrap, tls), asyncio.timeout(answer_ms / 1000):
                await client.start()
                yield cls(client)
        finally:
            await client.close()

    async def plan(self, wanted: Wanted) -> Plan:
        """What the cluster lacks. Without wanted rules, access lists are not looked at."""
        existing = set(await self._admin.list_topics())
        names = [name for name in wanted.topics if name in existing]
        topics = await self._topics(names)
        while topics is None:
            await asyncio.sleep(_GLANCE_S)
            topics = await self._topics(names)
        return plan_of(wanted, Found(topics, await self._rules() if wanted.rules else frozenset()))

    async def apply(self, wanted: Wanted, plan: Plan, *, replication: int) -> Sequence[str]:
        """Do what the plan says, and return once the broker answers that nothing is left to do; the topics created.

        LogRefused: the plan has conflicts (nothing is done then), or the broker refuses. `replication`: copies of each record of new
        topics; from three on, two must hold a record before it is acknowledged.
        """
        if plan.conflicts:
            raise LogRefused("; ".join(plan.conflicts))
        created = await self._create({name: wanted.topics[name] for name in plan.create}, replication)
        await self._change(plan.change)
        await self._remove(plan.remove)  # Before others are let in: who lost a right must not keep it for lack of time.
        await self._allow(plan.allow)
        while not (await self.plan(wanted)).empty:  # noqa: ASYNC110 The broker hears of it by itself, and tells nobody.
            await asyncio.sleep(_GLANCE_S)
        return created

    async def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Delete the records before these offsets: nobody can read them from now on. LogRefused as the broker says."""
        wanted = {TopicPartition(*place): RecordsToDelete(before_offset=offset) for place, offset in offsets.items()}
        if wanted:
            await self._admin.delete_records(wanted)

    @asynccontextmanager
    async def compacting(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Within, each append to one of these compacted topics lets Kafka's cleaner take out what is not the newest of its key, tombstones too.

        Afterwards the topics are set as their rows say; if this process dies before, `riverbank topics apply` does that.
        """
        before = await self._settings(names)
        if before is None:
            raise LogRefused(f"there is no topic {' or '.join(names)}")
        await self._change(Change(name, setting, "", value) for name in names for setting, value in _AT_ONCE.items())
        try:
            yield
        finally:
            kept = {name: {entry[0]: entry[1] for entry in entries} for name, entries in before.items()}
            await self._change(Change(name, setting, "", kept[name][setting]) for name in names for setting in _AT_ONCE)

    async def _topics(self, names: Sequence[str]) -> dict[str, FoundTopic] | None:
        """None while the broker that was asked has not heard of all of them, as happens just after creation."""
        topics = await self._admin.describe_topics(list(names)) if names else []
        settings = await self._settings(names)
        if settings is None or any(topic["error_code"] for topic in topics):
            return None
        return {
            topic["topic"]: FoundTopic(len(topic["partitions"]), {entry[0]: entry[1] for entry in settings[topic["topic"]]})
            for topic in topics
        }

    async def _settings(self, names: Sequence[str]) -> dict[str, list[Any]] | None:
        """Every setting of each topic, as the broker lists it: name, value, read-only, source, ...; None as above."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answers = [each for answer in await self._admin.describe_configs(resources) for each in answer.resources] if names else []
        if any(code for code, *_ in answers):
            return None
        return {name: entries for _code, _message, _kind, name, entries in answers}

    async def _create(self, rows: Mapping[str, Topic], replication: int) -> list[str]:
        safe = {"min.insync.replicas": "2"} if replication >= 3 else {}
        wanted = [NewTopic(name, row.partitions, replication, topic_configs=row.broker_settings() | safe) for name, row in rows.items()]
        created = []
        for name, code, *message in (await self._admin.create_topics(wanted)).topic_errors if wanted else ():
            error = for_code(code)
            if not code:
                created.append(name)
            elif error is not TopicAlreadyExistsError:  # Two processes may provision at once.
                raise LogRefused(f"topic {name} cannot be created: {(message and message[0]) or error.__name__}")
        return created

    async def _change(self, changes: Iterable[Change]) -> None:
        changed: dict[str, dict[str, str]] = defaultdict(dict)
        for change in changes:
            changed[change.topic][change.setting] = change.new
        # The request replaces all of a topic's own settings, those included that are none of our business.
        kept = await self._settings(list(changed)) or {}
        resources = [
            ConfigResource(
                ConfigResourceType.TOPIC, name, {each[0]: each[1] for each in kept.get(name, ()) if each[3] == _SET_FOR_THE_TOPIC} | new
            )
            for name, new in changed.items()
        ]
        for answer in await self._admin.alter_configs(resources) if resources else ():
            for code, message, _kind, name in answer.resources:
                if code:
                    raise LogRefused(f"settings of topic {name} cannot be changed: {message or for_code(code).__name__}")

    async def _rules(self) -> frozenset[AccessRule]:
        answer = await self._ask(DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY))
        if answer.error_code == _SECURITY_DISABLED:
            raise LogRefused("this Kafka has no authorizer, so that nobody's access can be limited: set authorizer.class.name")
        if answer.error_code:
            raise LogRefused(f"access lists cannot be read: {answer.error_message or for_code(answer.error_code).__name__}")
        return frozenset(
            AccessRule(
                _name(_RESOURCES, kind), name, principal, _name(_OPERATIONS, operation), _name(_PERMISSIONS, permission), _name(_PATTERNS, pattern), host
            )
            for kind, name, pattern, bindings in answer.resources
            for principal, host, operation, permission in bindings
        )  # fmt: skip

    async def _allow(self, rules: Sequence[AccessRule]) -> None:
        if rules:
            for rule, (code, message) in zip(rules, (await self._ask(_Allow(rules))).creation_responses, strict=True):
                _refuse(code, message, rule)

    async def _remove(self, rules: Sequence[AccessRule]) -> None:
        if rules:
            for rule, (code, message, _) in zip(rules, (await self._ask(_Remove(rules))).filter_responses, strict=True):
                _refuse(code, message, rule)

    async def _ask(self, request: Any) -> Any:
        return await self._admin._send_request(request)  # noqa: SLF001 The client has no calls for access lists, only their messages.


class _Allow(CreateAclsRequest):  # type: ignore[misc] # Untyped.
    """Many bindings in one request; aiokafka's own holds one."""

    API_KEY = CreateAclsRequest.API_KEY

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self._rules = rules

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([_bound(rule) for rule in self._rules])


class _Remove(DeleteAclsRequest):  # type: ignore[misc] # Untyped.
    """As above."""

    API_KEY = DeleteAclsRequest.API_KEY

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self._rules = rules

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([_bound(rule) for rule in self._rules])


def _bound(rule: AccessRule) -> tuple[int, str, int, str, str, int, int]:
    return (
        _number(_RESOURCES, rule.resource), rule.name, _number(_PATTERNS, rule.pattern), rule.principal, rule.host,
        _number(_OPERATIONS, rule.operation), _number(_PERMISSIONS, rule.permission),
    )  # fmt: skip


def _name(names: Mapping[int, str], number: int) -> str:
    return names.get(number, str(number))


def _number(names: Mapping[int, str], name: str) -> int:
    return next((number for number, known in names.items() if known == name), 0) or int(name)


def _refuse(code: int, message: str | None, rule: AccessRule) -> None:
    if code:
        raise LogRefused(f"the access list cannot be changed ({rule}): {message or for_code(code).__name__}")


async def provision_topics(
    bootstrap: str, topics: Iterable[Topic], institution: str | None = None, *, replication: int = 1, tls: Tls | None = None, answer_ms: int = ANSWER_MS
) -> Sequence[str]:  # fmt: skip
    """Create those of `topics` (all of one cluster) that are missing, and compare all with their rows; the full names created.

    LogRefused, with every difference: a topic exists with other partitions, retention or limits than its row says. Access lists are left alone.
    """
    wanted = Wanted({topic.full_name(institution): topic for topic in topics}, frozenset())
    async with KafkaAdmin.connected(bootstrap, tls, answer_ms=answer_ms) as admin:
        plan = await admin.plan(wanted)
        differences = [*plan.conflicts, *(f"{each.topic} has {each.setting}={each.old} instead of {each.new}" for each in plan.change)]
        if differences:
            raise LogRefused(f"topics at {bootstrap} differ from their rows: {'; '.join(differences)}")
        return await admin.apply(wanted, plan, replication=replication)
