-- concurrent_part_removal_threshold: otherwise a merge's leftovers are removed by 128 threads, which then stay.

-- One row per signed audit entry. The broker's time decides about partition and retention: a sender cannot date an entry
-- so that it is dropped early. The sort key ends in the digest of the signed bytes: the same entry, read twice, becomes one
-- row, and an entry that differs in anything is never replaced by another.
CREATE TABLE IF NOT EXISTS entries (
    logged_at DateTime64(3, 'UTC') COMMENT 'When the log took it.',
    sent_at DateTime64(3, 'UTC') COMMENT 'When the actor says it was sent.',
    actor LowCardinality(String) COMMENT 'Who sent or observed it; the signer.',
    action LowCardinality(String) COMMENT 'Message name, or fault kind.',
    topic LowCardinality(String) COMMENT 'Where; empty for a fault.',
    head LowCardinality(String) COMMENT 'Which head; empty where none.',
    epoch Int64 COMMENT '0 where none.',
    round Int64 COMMENT '0 where none.',
    entry_id FixedString(32) COMMENT 'Digest of topic and envelope of the exchange.',
    digest FixedString(32) COMMENT 'Of the payload exchanged.',
    size_bytes Int64 COMMENT 'Of the whole record value exchanged.',
    schema_fingerprint LowCardinality(String) COMMENT 'Of the payload, hexadecimal.',
    software_version LowCardinality(String) COMMENT 'Of the sender.',
    outcome String COMMENT 'sent, or the detail of the fault.',
    accused LowCardinality(String) COMMENT 'For a fault: who; else empty.',
    record_digest FixedString(32) COMMENT 'Digest of the signed entry itself.',
    sequence UInt64 COMMENT 'Where in the ledger it stands.',
    log_offset UInt64 COMMENT 'Where in the audit topic it lay.',
    INDEX by_round round TYPE minmax GRANULARITY 1,
    INDEX by_entry entry_id TYPE bloom_filter GRANULARITY 1,
    INDEX by_digest digest TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(logged_at)
ORDER BY (head, sent_at, actor, action, entry_id, record_digest)
TTL toDateTime(logged_at) + INTERVAL 13 MONTH
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, concurrent_part_removal_threshold = 1000000;

-- What lay in the audit topic and is no entry, whole: nothing is lost, and the stream goes on.
CREATE TABLE IF NOT EXISTS refused (
    logged_at DateTime64(3, 'UTC') COMMENT 'When the log took it.',
    topic LowCardinality(String) COMMENT 'Where it lay.',
    log_offset UInt64 COMMENT 'Where it lay.',
    sequence UInt64 COMMENT 'Where in the ledger it stands.',
    reason LowCardinality(String) COMMENT 'Why it was refused: a short stable name.',
    accused LowCardinality(String) COMMENT 'Who signed it; empty where nobody can be accused.',
    detail String COMMENT 'A sentence.',
    value String COMMENT 'Its bytes.'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(logged_at)
ORDER BY (topic, log_offset)
TTL toDateTime(logged_at) + INTERVAL 13 MONTH
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, concurrent_part_removal_threshold = 1000000;

-- How far the ledger has been indexed; saved after the rows.
CREATE TABLE IF NOT EXISTS indexed (
    next_sequence UInt64 COMMENT 'Of the next entry to index.',
    last_leaf FixedString(32) COMMENT 'Hash of the last entry indexed: that it is this ledger.'
)
ENGINE = ReplacingMergeTree(next_sequence)
ORDER BY tuple()
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, concurrent_part_removal_threshold = 1000000;
