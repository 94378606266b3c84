"""What a process says about itself: log lines as JSON on stderr, and one table of metrics.

Called by every worker and the portal.
Never names a customer: labels are topics, heads, reasons and outcomes, each from a short fixed list."""

from __future__ import annotations

import json
import logging
import sys
from importlib.metadata import version
from typing import Any, Final

import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info, generate_latest

SOFTWARE_VERSION: Final = version("riverbank")

_FAST_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ROUND_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)

# --- events ------------------------------------------------------------------------------------------------------
EVENTS_READ: Final = Counter("riverbank_events_read_total", "Records read from the institution's topics, refused ones included", ["topic"])
EVENTS_LEARNED: Final = Counter("riverbank_events_learned_total", "Examples learned from", ["head"])
DEAD_LETTERS: Final = Counter("riverbank_dead_letters_total", "Records refused and kept as dead letters", ["topic", "reason"])
LAG_RECORDS: Final = Gauge("riverbank_lag_records", "Records between the reader and the end of the topic", ["topic"])
LAG_SECONDS: Final = Gauge("riverbank_lag_seconds", "Age of the oldest record not yet read; 0 when none", ["topic"])
# --- rounds ------------------------------------------------------------------------------------------------------
ROUND_STATE: Final = Gauge("riverbank_round_state", "1 for the phase the head's round is in, else 0", ["head", "state"])
ROUND_NUMBER: Final = Gauge("riverbank_round_number", "The head's newest round", ["head"])
ROUND_SECONDS: Final = Histogram(
    "riverbank_round_duration_seconds", "From opening a round to its end", ["head", "outcome"], buckets=_ROUND_SECONDS
)
CONTRIBUTIONS: Final = Counter("riverbank_round_contributions_total", "Masked updates, by what became of them", ["head", "result"])
DROPOUTS: Final = Counter("riverbank_round_dropouts_total", "Members of a round that are not in what came of it", ["head"])
MODEL_PUBLISHED: Final = Gauge("riverbank_model_published_timestamp_seconds", "When the head's newest global model was published", ["head"])
EPSILON_SPENT: Final = Gauge(
    "riverbank_privacy_epsilon_spent",
    "What the head's rounds may have cost a customer of this institution so far, at the policy's delta",
    ["head"],
)
EPSILON_MAX: Final = Gauge(
    "riverbank_privacy_epsilon_limit", "What the institution's policy lets a customer lose; +Inf: anything", ["head"]
)
LEFT_OUT: Final = Gauge(
    "riverbank_privacy_customers_left_out", "Times that a customer was left out of a contribution because the budget was spent", ["head"]
)
FAULTS: Final = Counter("riverbank_faults_total", "Messages refused because their sender broke the protocol", ["kind"])
SENT_BYTES: Final = Counter("riverbank_sent_bytes_total", "Values of records sent", ["topic"])
# --- serving -----------------------------------------------------------------------------------------------------
SCORE_SECONDS: Final = Histogram("riverbank_score_seconds", "One score or recommendation, without HTTP", ["head"], buckets=_FAST_SECONDS)
HTTP_REQUESTS: Final = Counter("riverbank_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
HTTP_SECONDS: Final = Histogram("riverbank_http_request_seconds", "From a request to its answer", ["route"], buckets=_FAST_SECONDS)
# --- the process -------------------------------------------------------------------------------------------------
CERTIFICATE_SECONDS: Final = Gauge("riverbank_certificate_expiry_seconds", "Until a party's newest certificate expires", ["party"])
DEGRADED: Final = Gauge("riverbank_degraded", "1 while something this process needs is away, else 0", ["part"])
AUDIT_ENTRIES: Final = Counter("riverbank_audit_entries_total", "Entries appended to the audit's ledger")
AUDIT_APPEND_SECONDS: Final = Histogram(
    "riverbank_audit_append_seconds", "Writing and syncing one batch of entries to the audit's ledger", buckets=_ROUND_SECONDS
)
AUDIT_INDEX_LAG: Final = Gauge("riverbank_audit_index_lag_entries", "Entries of the audit's ledger that ClickHouse does not have yet")
CHECKPOINT_SIZE: Final = Gauge("riverbank_audit_checkpoint_entries", "Entries that the audit's newest signed checkpoint covers")
CHECKPOINT_COSIGNATURES: Final = Gauge("riverbank_audit_checkpoint_cosignatures", "Witnesses of the audit's best checkpoint")
AUDIT_SECONDS: Final = Histogram(
    "riverbank_audit_index_seconds", "Writing one batch of audit entries to ClickHouse", buckets=_ROUND_SECONDS
)
BUILD: Final = Info("riverbank_build", "The software that runs")
BUILD.info({"version": SOFTWARE_VERSION, "python": sys.version.split()[0]})


def rendered_metrics() -> bytes:
    """Every metric of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)


def configure_logging(level: str) -> None:
    """Log to stderr from now on: one JSON object per line, with UTC `ts`, `level`, `event` and the fields.

    `level`: debug, info, warning or error; other libraries' lines take the same road. Line breaks and control characters
    are escaped by JSON, so that no content can forge a line; of bytes only the length is shown.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,  # Not the renderer that shows local variables: some are secrets.
                structlog.processors.JSONRenderer(serializer=_as_json),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Reconnecting is a broker client's daily work, told by our own metrics; a client's chatter would drown our lines.
    for library in ("faust", "mode", "kafka", "alembic"):
        logging.getLogger(library).setLevel(max(logging.ERROR, logging.getLevelName(level.upper())))
    # Its errors too: while a broker is away there are seventy a second, and whatever matters it raises.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _as_json(line: dict[str, Any], **_: Any) -> str:
    return json.dumps(line, default=_shown)


def _shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes | bytearray | memoryview) else str(value)
