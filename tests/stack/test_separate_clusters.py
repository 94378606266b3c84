"""Three institutions, each on a host and a Kafka cluster of its own, and the federation on another: nothing raw leaves an institution's host.

One run serves all stories of this file. Hosts are network namespaces, and every packet that leaves an institution's card is captured; where
namespaces are not allowed they are loopback addresses, and what processes give to TLS is all there is to look at.
"""

from __future__ import annotations

import base64
import re
import struct
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import psutil
import pytest

from federation import messages as m
from riverbank.feed import read_progress
from riverbank.generator.sources import sources
from riverbank.generator.world import World
from riverbank.provisioning.bundles import KAFKA_KEY
from streams import topology
from streams.codec import decode
from streams.kafka import KafkaLog
from streams.kafka_admin import KafkaAdmin
from streams.ports import Record
from tests.stack.hosts import Capture, network
from tests.stack.separate import BROKER, FEDERATION, METRICS_PORT, Apart, Site
from tests.stack.traces import forms, party_secrets, traces, transport_secrets
from web.feed import positions_of

pytestmark = [pytest.mark.broker, pytest.mark.stack]
SEED = 3
BANKS = World(seed=SEED).names[:3]
PACES = ("credit=50/s", "fraud=300/s", "products=50/s")
MODELS = 2
PREALLOCATED = {".index", ".timeindex"}  # Kafka's: gigabytes of zeros and offsets.
TLS_RECORD, TLS_RECORD_MAX, HANDSHAKE_MAX = 22, 16_384, 8_192  # RFC 8446 section 5.2: header 5, content type 1, tag 16.


@dataclass
class Seen:
    """What anybody on these machines could see of the running processes: command lines, limits, metrics."""

    commands: set[bytes]
    limits: dict[str, str]
    metrics: dict[str, bytes]

    @classmethod
    def of(cls, apart: Apart) -> Seen:
        """As it is now."""
        children = psutil.Process().children(recursive=True)
        commands = {Path(f"/proc/{child.pid}/cmdline").read_bytes() for child in children}
        limits = {
            f"{site.directory.name} {name}": Path(f"/proc/{pid}/limits").read_text()
            for site in apart.sites
            for name, pid in site.supervisor.pids().items()
        }
        return cls(commands, limits, {site.directory.name: site.host.call(partial(metrics_of, site)) for site in apart.sites})


def metrics_of(site: Site) -> bytes:
    """The text that the aggregator, or the worker, serves to Prometheus; asked for on its own host."""
    with urllib.request.urlopen(f"http://{site.host.address}:{METRICS_PORT}/metrics", timeout=10) as answer:
        return answer.read()


@dataclass
class Ran:
    """What the run left behind."""

    apart: Apart
    captures: dict[str, Capture]
    rounds: list[Record]
    seen: Seen


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    directory = tmp_path_factory.mktemp("apart")
    with network([FEDERATION, *BANKS]) as hosts:
        captures = {name: Capture(hosts[name]) for name in BANKS if hosts[name].namespace is not None}
        apart = Apart(hosts, directory, BANKS)
        try:
            apart.open()
            apart.start(SEED, PACES, round_ms=1500)
            rounds = until_models(apart)
            seen = Seen.of(apart)
            for site in apart.banks.values():
                site.host.do(site.supervisor.stop())
            for capture in captures.values():
                assert capture.stop() == 0, "packets were dropped unseen"
            yield Ran(apart, captures, rounds, seen)
        finally:
            apart.close()
            for capture in captures.values():
                capture.stop()


def until_models(apart: Apart) -> list[Record]:
    """Every record of the rounds, once there are MODELS models of all three institutions."""
    give_up = time.monotonic() + 240
    while True:
        records = apart.federation.host.do(all_records(apart.federation))
        if (
            sum(isinstance(message, m.ModelPublished) and len(message.contributors) == len(BANKS) for message in messages(records))
            >= MODELS
        ):
            return records
        assert time.monotonic() < give_up, [(site.directory, site.supervisor.restarts()) for site in apart.sites]
        time.sleep(1)


async def all_records(site: Site, rows: Sequence[topology.Topic] = (topology.ROUNDS,)) -> list[Record]:
    log = KafkaLog(site.kafka.bootstrap, tls=site.operator)
    reader = await log.reader(positions_of(rows, site.institution))
    found: list[Record] = []
    ends = {place: end for place, end in (await reader.end_offsets()).items() if end}
    while ends:
        for record in await reader.poll(5_000, 500):
            found.append(record)
            if record.offset + 1 >= ends.get((record.topic, record.partition), 0):
                ends.pop((record.topic, record.partition), None)
    await reader.close()
    await log.close()
    return found


def messages(records: list[Record]) -> Iterator[m.Message]:
    for record in records:
        envelope = decode(record.value or b"", (m.SignedRecord,), topology.ROUNDS.bytes_max)
        yield decode(envelope.payload, topology.ROUNDS.carries, topology.ROUNDS.bytes_max)


def said_to(site: Site, peer: Site, direction: str = "sent") -> bytes:
    """All that this site's processes gave to TLS for that host, or took from it."""
    files = sorted(site.recorded.glob(f"{peer.host.address}.{direction}.*"))
    return b"\0".join(file.read_bytes() for file in files)


def raw_values(name: str, site: Site) -> tuple[set[bytes], set[bytes]]:
    """Customers, terminals and event ids of what was fed here; raw numbers as the eight bytes that Avro writes."""
    progress = read_progress(site.directory / "progress.json")
    assert progress is not None
    texts, numbers = set(), set()
    for head, source in sources(World(seed=SEED)).items():
        own = (arrival.message for arrival in source(Counter()) if arrival.institution == name)
        for message in islice(own, progress.heads[head].fed):
            texts |= {getattr(message, field, "") for field in ("customer", "terminal", "event_id", "subject")}
            numbers |= {message.amount} if isinstance(message, m.CardTransaction) else set()
            numbers |= set(message.numbers.values()) if isinstance(message, m.CreditApplication) else set()
    # Short texts, and numbers that are small or of few bits (2.25, say), stand everywhere by chance.
    identifying = {packed for number in numbers if abs(number) > 2 and 0 not in (packed := struct.pack("<d", number))[:3]}
    return {text.encode() for text in texts if len(text) >= 6}, identifying


def found_in(heard: bytes, texts: set[bytes], numbers: set[bytes]) -> tuple[set[bytes], set[bytes]]:
    words = set(re.findall(rb"[a-z0-9-]{6,}", heard))
    pieces = {word[at : at + length] for length in {len(text) for text in texts} for word in words for at in range(len(word) - length + 1)}
    return texts & pieces, numbers & {heard[at : at + 8] for at in range(len(heard) - 7)}


@pytest.mark.parametrize("name", BANKS)
def test_nothing_raw_is_said_to_the_federation(ran: Ran, name: str):
    """No customer, terminal or event id, and no raw number, in any byte that the worker, the portal or the feed gave to TLS for the federation."""
    site = ran.apart.banks[name]
    texts, numbers = raw_values(name, site)
    heard = said_to(site, ran.apart.federation)

    assert len(heard) > 20_000
    assert min(len(texts), len(numbers)) > 100
    assert found_in(heard, texts, numbers) == (set(), set())


@pytest.mark.parametrize("name", BANKS)
def test_the_search_is_not_blind(ran: Ran, name: str):
    """In what the same processes said to their own cluster it finds most of it."""
    site = ran.apart.banks[name]
    texts, numbers = raw_values(name, site)
    seen_texts, seen_numbers = found_in(said_to(site, site), texts, numbers)

    assert len(seen_texts) > len(texts) / 2
    assert len(seen_numbers) > len(numbers) / 2


def test_institutions_speak_with_nobody_else(ran: Ran):
    """Their own cluster and the federation's; never with each other's."""
    for name, site in ran.apart.banks.items():
        others = [other for other in ran.apart.banks.values() if other is not site]
        assert {file.name.rsplit(".", 3)[0] for file in site.recorded.iterdir()} == {
            site.host.address,
            ran.apart.federation.host.address,
        }, name
        assert b"".join(said_to(site, other) for other in others) == b""


def test_every_byte_on_the_card_is_accounted_for(ran: Ran):
    """What left the card is TCP to the federation's broker alone, and no more than what was recorded, encrypted, and its handshakes."""
    if not ran.captures:
        pytest.skip("no network namespaces here: there is no card to capture on")
    broker = (ran.apart.federation.host.address, ran.apart.federation.kafka.port)
    for name, capture in ran.captures.items():
        site = ran.apart.banks[name]
        recorded = [file.stat().st_size for file in site.recorded.glob(f"{broker[0]}.sent.*")]
        connections = capture.connections()

        assert capture.others == set(), name
        assert set(connections) == {broker}, name
        assert sum(recorded) <= capture.sent_bytes(), name
        # asyncio gives small writes to TLS one by one; Kafka's requests are larger than 64 bytes.
        overhead = TLS_RECORD * (sum(recorded) / 64 + connections[broker]) + HANDSHAKE_MAX * connections[broker]
        assert capture.sent_bytes() <= sum(recorded) + overhead, name


def test_each_cluster_holds_its_own_topics_only(ran: Ran):
    """The federation's has no institution's topic, and an institution's none of the federation's or of another's."""
    for site in ran.apart.sites:
        own = topology.FEDERATION_TOPICS if site.institution is None else topology.OWN_TOPICS
        internal = {"__consumer_offsets"}
        assert site.host.do(topics_of(site)) - internal == {row.full_name(site.institution) for row in own}


async def topics_of(site: Site) -> set[str]:
    async with KafkaAdmin.connected(site.kafka.bootstrap, site.operator) as admin:
        return set(await admin._admin.list_topics())


# --- secrets ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def secrets(ran: Ran) -> dict[str, set[bytes]]:
    """Every party's keys and passphrase, and every TLS key, of all four sites."""
    return party_secrets(ran.apart.made) | transport_secrets(ran.apart.federation.directory.parent.rglob(KAFKA_KEY))


def test_no_secret_can_be_seen_of_a_running_process(ran: Ran, secrets: dict[str, set[bytes]]):
    """Not in the command line of any process, brokers included, nor in the metrics; and none of our processes may dump core."""
    assert len(ran.seen.commands) >= 4 * len(BANKS) + 3
    assert traces(secrets, b"\0".join(ran.seen.commands)) == set()
    for name, text in ran.seen.metrics.items():
        assert b"riverbank_" in text
        assert traces(secrets, text) == set(), name
    for name, limits in ran.seen.limits.items():
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), name


def test_no_secret_is_said_to_a_broker(ran: Ran, secrets: dict[str, set[bytes]]):
    """Not in a record of any topic, of the federation or an institution's own; nor in anything else that was given to TLS."""
    for site in ran.apart.sites:
        rows = topology.FEDERATION_TOPICS if site.institution is None else topology.OWN_TOPICS
        records = site.host.do(all_records(site, rows))
        assert len(records) > 100
        assert traces(secrets, b"\0".join(part for each in records for part in (each.key or b"", each.value or b""))) == set()
        assert traces(secrets, b"\0".join(file.read_bytes() for file in site.recorded.iterdir())) == set()


def test_no_secret_lies_in_a_file_but_its_own(ran: Ran, secrets: dict[str, set[bytes]]):
    """Logs, settings, states, the audit's ledger and index, the brokers' folders: of a TLS key only its own file and its broker's have a trace."""
    folder = ran.apart.federation.directory.parent
    assert next((ran.apart.federation.directory / "ledger").iterdir())
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in PREALLOCATED:
            # Kafka wants key and certificate in one file.
            own = {name for name in secrets if name == str(path) or (path.name == "shown.pem" and BROKER.name in name)}
            assert traces(secrets, path.read_bytes()) <= own, path


def test_the_search_for_secrets_is_not_blind(ran: Ran, secrets: dict[str, set[bytes]]):
    """A key is found in its own file; and so would be one in any form, wherever it begins: public keys stand in for it."""
    own = next(name for name in secrets if name.endswith(KAFKA_KEY))
    assert traces(secrets, Path(own).read_bytes()) == {own}

    public = {party: forms(keys.verify_key) for party, keys in ran.apart.made.founded.keys.items()}
    said = b"".join(record.value or b"" for record in ran.apart.federation.host.do(all_records(ran.apart.federation, [topology.PARTIES])))
    assert traces(public, said) == set(public)
    for before in range(3):
        assert traces(public, base64.b64encode(bytes(before) + said)) == set(public)
    assert traces(public, said.hex().encode()) == set(public)


def test_the_rounds_are_real(ran: Ran):
    """Each institution masked, acknowledged and revealed; models of all three were published."""
    said = list(messages(ran.rounds))
    for kind in (m.MaskedUpdate, m.SurvivorsAcked, m.SharesRevealed):
        assert {message.institution for message in said if isinstance(message, kind)} == set(BANKS)


def test_nothing_died(ran: Ran):
    """Every process of every site is still its first."""
    assert all(count == 0 for site in ran.apart.sites for count in site.supervisor.restarts().values())
