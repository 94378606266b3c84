"""The rows agree with each other, with the broker's limits, and with the page drawn from them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from federation.messages import HeadName
from streams.access import render_access
from streams.topology import (
    BATCH_BYTES_MAX,
    CHUNK_PARTITIONS,
    FEDERATION_TOPICS,
    LANE_TOPICS,
    OWN_TOPICS,
    PARTIES,
    ROUNDS,
    TRANSACTIONS,
    Cluster,
    Role,
    chunk_partition,
    lane_partition,
    partitions_of,
    render_topology,
)

TOPICS = (*OWN_TOPICS, *FEDERATION_TOPICS)
PAGE = Path(__file__).parents[2] / "docs" / "topology.md"


def test_the_page_is_fresh():
    """docs/topology.md says what the rows say."""
    assert PAGE.read_text() == render_topology() + render_access()


def test_a_message_travels_on_one_topic():
    """So that its type tells where it goes."""
    carried = list(chain.from_iterable(topic.carries for topic in TOPICS))

    assert len(carried) == len(set(carried))
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_is_keyed_by_fields_of_what_it_carries(topic):
    """Every message has every field of the key."""
    for kind in topic.carries:
        assert set(topic.keyed_by.split(", ")) <= set(kind.__dataclass_fields__)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_clusters_are_kept_apart(topic):
    """Customers' records are never where the aggregator or the console reads; the federation's are signed, or certified."""
    if topic.cluster is Cluster.OWN:
        assert not (topic.read_by | topic.written_by) & {Role.AGGREGATOR, Role.CONSOLE, Role.AUDIT}
        assert topic.full_name("bank-a") == f"bank-a.{topic.name}"
    else:
        assert topic.signed or topic is PARTIES
        assert topic.full_name() == topic.name


def test_a_name_needs_the_right_cluster():
    """An own topic without an institution, or a federation topic with one, is a mistake."""
    with pytest.raises(ValueError, match="an own topic needs an institution"):
        TRANSACTIONS.full_name()
    with pytest.raises(ValueError, match="takes none"):
        ROUNDS.full_name("bank-a")


def test_lanes_and_chunks_have_their_partitions():
    """A head has one lane; the chunks of a vector are spread over all owners."""
    assert sorted(lane_partition(head) for head in HeadName) == list(range(len(HeadName)))
    for topic in LANE_TOPICS:
        assert (topic.partitions, topic.keyed_by) == (len(HeadName), "head")
    for head in HeadName:
        assert {chunk_partition(head, chunk) for chunk in range(CHUNK_PARTITIONS)} == set(range(CHUNK_PARTITIONS))
    assert partitions_of([ROUNDS]) == {"rounds.v1": 3}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_what_the_broker_is_asked(topic):
    """Compaction, or deletion no later than a day after the time to keep; times are the broker's; a record fits a batch."""
    asked = topic.broker_settings()

    assert asked["message.timestamp.type"] == "LogAppendTime"
    assert topic.bytes_max < int(asked["max.message.bytes"]) == BATCH_BYTES_MAX
    if topic.keep_hours is None:
        assert (asked["cleanup.policy"], asked["max.compaction.lag.ms"]) == ("compact", str(24 * 3_600_000))
    else:
        assert (asked["cleanup.policy"], asked["retention.ms"]) == ("delete", str(topic.keep_hours * 3_600_000))
    assert int(asked["segment.ms"]) <= 24 * 3_600_000
