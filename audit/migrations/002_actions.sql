-- One row per action of an institution's own people and processes; as in 001, whatever is read twice becomes one row.
CREATE TABLE IF NOT EXISTS actions (
    logged_at DateTime64(3, 'UTC') COMMENT 'When the log took it.',
    at DateTime64(3, 'UTC') COMMENT 'When it was done, as its process says.',
    kind LowCardinality(String) COMMENT 'What it is about.',
    action LowCardinality(String) COMMENT 'What was done.',
    actor LowCardinality(String) COMMENT 'Who did it.',
    subject String COMMENT 'Pseudonym of the customer; empty where none.',
    detail Map(LowCardinality(String), String) COMMENT 'What else there is to know.',
    process LowCardinality(String) COMMENT 'Which process says it.',
    software_version LowCardinality(String) COMMENT 'Of that process.',
    entry_id FixedString(32) COMMENT 'The same action has the same id.',
    record_digest FixedString(32) COMMENT 'Digest of the record itself.',
    sequence UInt64 COMMENT 'Where in the ledger it stands.',
    log_offset UInt64 COMMENT 'Where in the topic it lay.',
    INDEX by_subject subject TYPE bloom_filter GRANULARITY 1,
    INDEX by_entry entry_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(logged_at)
ORDER BY (kind, at, actor, action, entry_id, record_digest)
TTL toDateTime(logged_at) + INTERVAL 13 MONTH
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, concurrent_part_removal_threshold = 1000000;
