"""Everything the institution's worker and topics hold on one customer, to be given to him: as JSON, and as a page to read (GDPR art. 15 and 20).

Called by `riverbank rights export`, beside a running worker.
Never writes to the state or a topic, and never takes another customer's row along."""

from __future__ import annotations

import base64
import html
import math
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from federation.errors import OwnFault
from federation.heads.behaviour import Habit
from federation.heads.head import Layout
from federation.messages import DeadLetter, HeadName
from federation.secagg.keys import Secret
from institution_workers.customer_keys import CustomerKey
from institution_workers.ingest import named_in, opened_letter
from institution_workers.learner import Encoders
from institution_workers.ledger import DAY_MS, digest_of_customer
from institution_workers.storage import DATABASE
from streams.codec import DecodeError, decode
from streams.ports import Log, Position, Record
from streams.topology import CONSENTS, DEAD_LETTERS, EVENT_TOPICS, PROFILES, Topic

READ: Final = (CONSENTS, *EVENT_TOPICS, PROFILES, DEAD_LETTERS)
"""The topics of the institution that hold something of customers, for who takes part in no vertical partnership."""
_TABLES: Final = {
    "consents": "SELECT * FROM consents WHERE customer = ?",
    "profiles": "SELECT * FROM profiles WHERE customer = ?",
    "waiting": "SELECT * FROM waiting WHERE customer = ? ORDER BY sequence",
    "lessons": "SELECT * FROM lessons WHERE customer = ? ORDER BY id",
    "behaviour": "SELECT key, numbers FROM behaviour WHERE kind = 'customer' AND key = ?",
}
_BATCH: Final = 2_000
_WAIT_MS: Final = 300
_PATIENCE: Final = 10  # Empty polls after which what is missing before the end was taken out by compaction.
_SHARED: Final = (
    "Only masked, noised sums over all customers of all members left the institution; your part in one is a clipped update that nobody, "
    "the institution included, can take out of a sum again (docs/privacy.md). The rounds in which you had a part:"
)


async def export(log: Log, institution: str, state_dir: Path, customer: str) -> dict[str, Any]:
    """All of it; OwnFault if there is no state, LogUnavailable or LogRefused as the log says."""
    path = state_dir / DATABASE
    if not path.exists():
        raise OwnFault(f"there is no worker's state in {state_dir}: run this where the institution's worker runs")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")  # One moment, whatever the worker writes meanwhile.
        state, shared, keys = _state(database, customer), _shared(database, customer), _keys(database, customer)
    topics = {topic.full_name(institution): await _of_topic(log, topic, institution, customer, keys) for topic in READ}
    return {
        "institution": institution,
        "customer": customer,
        "state": state,
        "topics": topics,
        "shared": {"what": _SHARED, "rounds": shared},
    }


# --- the state ---------------------------------------------------------------------------------------------------------
def _state(database: sqlite3.Connection, customer: str) -> dict[str, list[dict[str, Any]]]:
    layouts = _layouts()
    rows = {table: _rows(database, query, customer) for table, query in _TABLES.items()}
    for row in (*rows["waiting"], *rows["lessons"]):
        row["features"] = _features(layouts[HeadName(row["head"])], row.pop("active"))
    for row in rows["behaviour"]:
        row.update(zip(Habit._fields, array("d", row.pop("numbers")), strict=False))
    return rows


def _rows(database: sqlite3.Connection, query: str, *of: str | bytes) -> list[dict[str, Any]]:
    return [dict(row) for row in database.execute(query, of)]


def _layouts() -> Mapping[HeadName, Layout]:
    encoders = Encoders.shipped()
    return {HeadName.CREDIT: encoders.credit.layout, HeadName.FRAUD: encoders.fraud.layout, HeadName.PRODUCTS: encoders.products.layout}


def _features(layout: Layout, active: bytes) -> list[str]:
    return [": ".join(layout.parts(index)) for index in array("I", active)]


def _keys(database: sqlite3.Connection, customer: str) -> dict[bytes, CustomerKey]:
    rows = database.execute("SELECT id, key FROM customer_keys WHERE customer = ?", (customer,))
    return {row["id"]: CustomerKey(row["id"], Secret(row["key"])) for row in rows}


def _shared(database: sqlite3.Connection, customer: str) -> list[dict[str, Any]]:
    rows = _rows(database, "SELECT * FROM spendings WHERE customer = ? ORDER BY head, day", digest_of_customer(customer))
    return [
        {
            "head": row["head"], "day_ms": row["day"] * DAY_MS, "contributions": row["contributions"], "first_round": row["first_round"],
            "last_round": row["last_round"], "privacy_cost": row["cost"] if math.isfinite(row["cost"]) else None,
        }
        for row in rows
    ]  # fmt: skip


# --- the topics --------------------------------------------------------------------------------------------------------
async def _of_topic(log: Log, topic: Topic, institution: str, customer: str, keys: Mapping[bytes, CustomerKey]) -> list[dict[str, Any]]:
    return [
        {"offset": record.offset, "received_at_ms": record.timestamp_ms, **said}
        for record in await _all(log, topic.full_name(institution), topic.partitions)
        if (said := _said(record, topic, customer, keys)) is not None
    ]


def _said(record: Record, topic: Topic, customer: str, keys: Mapping[bytes, CustomerKey]) -> dict[str, Any] | None:
    """What a record says of the customer; None if it is not about him."""
    if record.value is None:
        return {"tombstone": True} if record.key == customer.encode() else None
    if topic is not DEAD_LETTERS:
        if named_in(record, topic) != customer:
            return None
        try:
            return {"says": _plain(asdict(decode(record.value, topic.carries, topic.bytes_max)))}
        except DecodeError as error:
            return {"unreadable": error.detail, "value": base64.b64encode(record.value).decode()}
    letter = decode(record.value, topic.carries, topic.bytes_max)
    if not isinstance(letter, DeadLetter) or letter.key_id not in keys:
        return None
    value = base64.b64encode(opened_letter(letter, keys[letter.key_id])).decode()
    return {"says": _plain(asdict(letter)) | {"value": value}}


def _plain(value: Any) -> Any:
    """As JSON can say it: bytes in Base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


async def _all(log: Log, topic: str, partitions: int) -> Sequence[Record]:
    reader = await log.reader([Position(topic, partition, 0) for partition in range(partitions)])
    try:
        ends, found = await reader.end_offsets(), list[Record]()
        at, empty = dict.fromkeys(ends, 0), 0
        while any(at[place] < end for place, end in ends.items()) and empty < _PATIENCE:
            records = await reader.poll(_BATCH, _WAIT_MS)
            empty = 0 if records else empty + 1
            found += records
            at |= {(record.topic, record.partition): record.offset + 1 for record in records}
        return found
    finally:
        await reader.close()


# --- to read -----------------------------------------------------------------------------------------------------------
def page(exported: Mapping[str, Any]) -> str:
    """The same as an HTML page without scripts or anything from elsewhere."""
    sections = [("What is remembered", exported["state"]), ("What lies in logs", exported["topics"])]
    body = "".join(
        f"<h2>{title}</h2>" + "".join(f"<h3>{_text(name)} ({len(rows)})</h3>{_table(rows)}" for name, rows in found.items())
        for title, found in sections
    )
    shared = exported["shared"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Your data</title>'
        "<style>body{font:16px/1.5 sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2em .5em;text-align:left;"
        "vertical-align:top}</style>"
        f"<h1>What {_text(exported['institution'])} holds on {_text(exported['customer'])}</h1>{body}"
        f"<h2>What was shared</h2><p>{_text(shared['what'])}</p>{_table(shared['rounds'])}</html>\n"
    )


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    listed = list(rows)
    if not listed:
        return "<p>Nothing.</p>"
    names = list(dict.fromkeys(name for row in listed for name in row))
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{_text(row.get(name, ''))}</td>" for name in names) + "</tr>" for row in listed)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: Any) -> str:
    return html.escape(str(value))
