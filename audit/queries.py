"""The questions that the audit answers, each with a name: totals, counts, rounds, search, the latest, the refused.

Called by the CLI, the live page and, for other processes, by the audit writer's desk.
Never writes, and never runs SQL that is not in this file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from audit.desk import asked_of_the_writer
from audit.warehouse import Row, Value, Warehouse, WarehouseError, WarehouseInUse, embedded_directory
from federation.errors import OwnFault

LIMIT_MAX: Final = 10_000
_PATIENCE_S: Final = 3.0
_LOOK_S: Final = 0.1
_LATEST_MS: Final = 4_102_444_800_000  # The year 2100.

# A head's entries, and those of its groups (credit/2).
_OF_HEAD: Final = "({head:String} = '' OR e.head = {head:String} OR startsWith(e.head, concat({head:String}, '/')))"
_ASKED: Final = f"""
    {_OF_HEAD} AND ({{round:Int64}} < 0 OR e.round = {{round:Int64}})
    AND ({{epoch:Int64}} < 0 OR e.epoch = {{epoch:Int64}})
    AND ({{actor:String}} = '' OR e.actor = {{actor:String}}) AND ({{accused:String}} = '' OR e.accused = {{accused:String}})
    AND ({{action:String}} = '' OR e.action = {{action:String}}) AND ({{topic:String}} = '' OR e.topic = {{topic:String}})
    AND ({{entry:String}} = '' OR e.entry_id = toFixedString(unhex({{entry:String}}), 32))
    AND ({{payload_digest:String}} = '' OR e.digest = toFixedString(unhex({{payload_digest:String}}), 32))
    AND e.sent_at >= fromUnixTimestamp64Milli({{from_ms:Int64}}) AND e.sent_at < fromUnixTimestamp64Milli({{until_ms:Int64}})
"""
_EXCHANGE: Final = """
    toUnixTimestamp64Milli(e.sent_at) AS sent_at_ms, toUnixTimestamp64Milli(e.logged_at) AS logged_at_ms,
    e.actor AS actor, e.action AS action, e.topic AS topic, e.head AS head, e.epoch AS epoch, e.round AS round,
    lower(hex(e.entry_id)) AS entry, lower(hex(e.digest)) AS payload_digest, e.size_bytes AS size_bytes,
    e.schema_fingerprint AS schema_fingerprint, e.software_version AS software_version,
    e.outcome AS outcome, e.accused AS accused, e.sequence AS sequence, e.log_offset AS log_offset
"""


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT, and the parameters it takes with their defaults."""

    sql: str
    defaults: Mapping[str, Value] = field(default_factory=dict)

    def parameters(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Defaults filled in; OwnFault for a parameter that does not exist, has another type or is out of range."""
        for name, value in given.items():
            if name not in self.defaults:
                raise OwnFault(f"there is no parameter {name}; known are {', '.join(self.defaults) or 'none'}")
            if type(value) is not type(self.defaults[name]):
                raise OwnFault(f"{name} must be of type {type(self.defaults[name]).__name__}")
        merged = {**self.defaults, **given}
        if not 1 <= int(merged.get("limit", 1)) <= LIMIT_MAX:
            raise OwnFault(f"limit must be 1 to {LIMIT_MAX}")
        for name in ("entry", "payload_digest"):
            if set(str(merged.get(name, ""))) - set("0123456789abcdef") or len(str(merged.get(name, ""))) not in {0, 64}:
                raise OwnFault(f"{name} must be 64 lower-case hexadecimal digits")
        return merged


QUERIES: Final[Mapping[str, Query]] = {
    "totals": Query(
        """
        SELECT count() AS entries, uniqExact(e.actor) AS actors, countIf(e.accused != '') AS faults, sum(e.size_bytes) AS bytes,
            toUnixTimestamp64Milli(max(e.logged_at)) AS last_logged_at_ms, (SELECT count() FROM refused FINAL) AS refused
        FROM entries AS e FINAL
        """
    ),
    "summary": Query(
        """
        SELECT e.actor AS actor, e.action AS action, e.head AS head, count() AS entries, sum(e.size_bytes) AS bytes,
            toUnixTimestamp64Milli(min(e.sent_at)) AS first_sent_at_ms, toUnixTimestamp64Milli(max(e.sent_at)) AS last_sent_at_ms
        FROM entries AS e FINAL GROUP BY actor, action, head ORDER BY actor, head, action
        """
    ),
    "rounds": Query(
        f"""
        SELECT e.head AS head, e.epoch AS epoch, e.round AS round, count() AS entries, uniqExact(e.actor) AS actors,
            countIf(e.accused != '') AS faults, sum(e.size_bytes) AS bytes,
            toUnixTimestamp64Milli(min(e.sent_at)) AS first_sent_at_ms, toUnixTimestamp64Milli(max(e.sent_at)) AS last_sent_at_ms
        FROM entries AS e FINAL WHERE e.round > 0 AND {_OF_HEAD}
        GROUP BY head, epoch, round ORDER BY last_sent_at_ms DESC, head, round DESC LIMIT {{limit:UInt32}}
        """,  # noqa: S608 Every part is a constant of this file.
        {"head": "", "limit": 100},
    ),
    # Places first, from the few columns that are asked about; then the rows at those places, found by the sort key. Rows that are there twice until
    # ClickHouse merges them are shown once: room is left for them.
    "search": Query(
        f"""
        SELECT {_EXCHANGE} FROM entries AS e
        WHERE {_ASKED} AND (e.head, e.sent_at) IN (
            SELECT e.head, e.sent_at FROM entries AS e WHERE {_ASKED} ORDER BY e.sent_at DESC LIMIT 4 * {{limit:UInt32}}
        )
        ORDER BY e.sent_at DESC, e.logged_at DESC, e.log_offset DESC LIMIT 1 BY e.record_digest LIMIT {{limit:UInt32}}
        """,  # noqa: S608 Every part is a constant of this file; what is asked for travels as parameters.
        {
            "head": "",
            "round": -1,
            "epoch": -1,
            "actor": "",
            "accused": "",
            "action": "",
            "topic": "",
            "entry": "",
            "payload_digest": "",
            "from_ms": 0,
            "until_ms": _LATEST_MS,
            "limit": 100,
        },
    ),
    "actions": Query(
        """
        SELECT toUnixTimestamp64Milli(a.at) AS at_ms, a.kind AS kind, a.action AS action, a.actor AS actor, a.subject AS subject,
            toJSONString(a.detail) AS detail, a.process AS process, lower(hex(a.entry_id)) AS entry, a.sequence AS sequence
        FROM actions AS a FINAL
        WHERE ({kind:String} = '' OR a.kind = {kind:String}) AND ({action:String} = '' OR a.action = {action:String})
            AND ({actor:String} = '' OR a.actor = {actor:String}) AND ({subject:String} = '' OR a.subject = {subject:String})
            AND a.at >= fromUnixTimestamp64Milli({from_ms:Int64}) AND a.at < fromUnixTimestamp64Milli({until_ms:Int64})
        ORDER BY a.at DESC, a.sequence DESC LIMIT {limit:UInt32}
        """,
        {"kind": "", "action": "", "actor": "", "subject": "", "from_ms": 0, "until_ms": _LATEST_MS, "limit": 100},
    ),
    "latest": Query(
        f"SELECT {_EXCHANGE} FROM entries AS e FINAL ORDER BY e.logged_at DESC, e.log_offset DESC LIMIT {{limit:UInt32}}",  # noqa: S608 As above.
        {"limit": 20},
    ),
    "refused": Query(
        """
        SELECT toUnixTimestamp64Milli(r.logged_at) AS logged_at_ms, r.topic AS topic, r.sequence AS sequence,
            r.log_offset AS log_offset, r.reason AS reason, r.accused AS accused, r.detail AS detail, length(r.value) AS size_bytes
        FROM refused AS r FINAL ORDER BY r.logged_at DESC, r.log_offset DESC LIMIT {limit:UInt32}
        """,
        {"limit": 100},
    ),
    "refused_value": Query(
        """
        SELECT lower(hex(r.value)) AS value FROM refused AS r FINAL
        WHERE r.topic = {topic:String} AND r.log_offset = {log_offset:UInt64}
        """,
        {"topic": "", "log_offset": 0},
    ),
    # One actor that tells two stories about one exchange.
    "contradictions": Query(
        """
        SELECT e.actor AS actor, e.action AS action, lower(hex(e.entry_id)) AS entry, count() AS stories
        FROM entries AS e FINAL GROUP BY actor, action, e.entry_id HAVING stories > 1 ORDER BY actor, entry LIMIT {limit:UInt32}
        """,
        {"limit": 100},
    ),
}


async def answer(warehouse: Warehouse, name: str, given: Mapping[str, Value] | None = None) -> list[Row]:
    """The rows of a named query; OwnFault for a name or parameter that does not exist, WarehouseError."""
    if name not in QUERIES:
        raise OwnFault(f"there is no query {name}; known are {', '.join(QUERIES)}")
    return await warehouse.rows(QUERIES[name].sql, QUERIES[name].parameters(given or {}))


async def ask(dsn: str, name: str, given: Mapping[str, Value] | None = None, *, password: str = "") -> list[Row]:
    """As `answer`, from any process: while the audit writer owns an embedded directory, it is asked."""
    directory = embedded_directory(dsn)
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        if directory is not None:
            rows = await asked_of_the_writer(directory, name, given or {})
            if rows is not None:
                return rows
            if not (directory / "store").exists():
                raise WarehouseError(f"there is no audit in {directory} yet")
        try:
            warehouse = await Warehouse.open(dsn, password)
        except WarehouseInUse:
            # A writer between its lock and its desk, or somebody who asks as we do.
            if time.monotonic() >= give_up:
                raise
            await asyncio.sleep(_LOOK_S)
        else:
            try:
                return await answer(warehouse, name, given)
            finally:
                await warehouse.close()


def totals(dsn: str, *, password: str = "") -> Row:
    """How much there is: entries, actors, faults, bytes, refused, last_logged_at_ms."""
    return asyncio.run(ask(dsn, "totals", password=password))[0]


def summary(dsn: str, *, password: str = "") -> list[Row]:
    """Entries and bytes per actor, action and head."""
    return asyncio.run(ask(dsn, "summary", password=password))


def rounds(dsn: str, *, head: str = "", limit: int = 100, password: str = "") -> list[Row]:
    """The latest rounds: entries, actors, faults, bytes and times of each."""
    return asyncio.run(ask(dsn, "rounds", {"head": head, "limit": limit}, password=password))


def latest(dsn: str, *, limit: int = 20, password: str = "") -> list[Row]:
    """The entries that the log took last, newest first."""
    return asyncio.run(ask(dsn, "latest", {"limit": limit}, password=password))


def search(dsn: str, *, password: str = "", **given: Value) -> list[Row]:
    """Exchanges by head, round, epoch, actor, accused, action, topic, entry, payload_digest, from_ms, until_ms; newest first."""
    return asyncio.run(ask(dsn, "search", given, password=password))


def actions(dsn: str, *, password: str = "", **given: Value) -> list[Row]:
    """Actions of an institution's own audit by kind, action, actor, subject, from_ms, until_ms; newest first."""
    return asyncio.run(ask(dsn, "actions", given, password=password))


def refused(dsn: str, *, limit: int = 100, password: str = "") -> list[Row]:
    """What lay in the audit topic and was no entry, newest first."""
    return asyncio.run(ask(dsn, "refused", {"limit": limit}, password=password))
