"""Every bound of the protocol, and the relations that must hold between them, proved at import.

Read by codecs, rounds, quantisation and settings.
Never a tunable: what an operator may change stands in `streams/settings.py` and is checked against these."""

from __future__ import annotations

from typing import Final

from federation.errors import require

COHORT_MIN: Final = 3  # Below three, a member learns its only peer's update from the sum.
COHORT_MAX: Final = 256
ROUNDS_PER_EPOCH_MAX: Final = 64
DIMENSION_MAX: Final = 1 << 20
CHUNK_LENGTH_MAX: Final = 1 << 17  # uint32 values: 512 KiB, below Kafka's 1 MiB default.
RECORD_BYTES_MAX: Final = 1_000_000  # Kafka's default message.max.bytes is 1,048,588.
EVENT_BYTES_MAX: Final = 64 * 1024
NAME_LENGTH_MAX: Final = 64

# Vertical models: two parties, one customer.
LIST_MAX: Final = 1 << 18  # Customers in one intersection.
VERTICAL_PART_BYTES_MAX: Final = 512 * 1024  # A message is cut into records of so much; what is sealed grows by 48 bytes.
VERTICAL_PARTS_MAX: Final = 96
require(VERTICAL_PART_BYTES_MAX + 4096 < RECORD_BYTES_MAX, "a part of a vertical message does not fit a record")
require(3 * LIST_MAX * 32 < VERTICAL_PARTS_MAX * VERTICAL_PART_BYTES_MAX, "the answer to the longest list does not fit its parts")

PERIOD_DAYS_MAX: Final = 36_525  # A century: for ever.

RING_BITS: Final = 32
# A clipped, weighted, rounded coordinate of one institution.
COORDINATE_QUANTA_MAX: Final = (1 << 22) - 1
# Noise of one institution is refused (drawn anew by the caller as a fault, never cut) beyond this many quanta: 40 sigma at SIGMA_MAX.
NOISE_SIGMA_MAX: Final = 8_000  # The discrete sampler's int64 arithmetic is exact up to here (shared measurements, kurtosis).
NOISE_QUANTA_MAX: Final = 40 * NOISE_SIGMA_MAX

# A full cohort must not wrap the ring: a wrapped sum looks like a plausible wrong model.
require(
    COHORT_MAX * (COORDINATE_QUANTA_MAX + NOISE_QUANTA_MAX) < 1 << (RING_BITS - 1),
    "ring too small for the largest cohort",
)
require(CHUNK_LENGTH_MAX * 4 + 4096 < RECORD_BYTES_MAX, "a masked chunk does not fit a Kafka record")
require(ROUNDS_PER_EPOCH_MAX * 32 + 4096 < RECORD_BYTES_MAX, "an epoch's keys do not fit a record")
require(
    COHORT_MAX * (ROUNDS_PER_EPOCH_MAX * (32 + 16) + 128) < RECORD_BYTES_MAX,
    "an epoch's shares and their commitments do not fit a record",
)


def threshold_of(members: int) -> int:
    """floor(2n/3)+1: two quorums meet in an honest member while fewer than n/3 are corrupt (docs/protocol.md)."""
    return 2 * members // 3 + 1


def corrupt_of(members: int) -> int:
    """floor(n/3): how many members may collude with the aggregator before an argument of docs/protocol.md fails."""
    return members // 3


# Two quorums of acks share an honest member, and the corrupt alone cannot rebuild a secret.
require(
    all(2 * threshold_of(n) - n > corrupt_of(n) < threshold_of(n) <= n for n in range(COHORT_MIN, COHORT_MAX + 1)),
    "the threshold does not keep two quorums from meeting in corrupt members only",
)
