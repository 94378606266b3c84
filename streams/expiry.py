"""Certificates that are about to expire: a metric always, a warning once a day from thirty days before.

Called about once a second by the workers, with the directory as they know it.
Never warns twice a day about the same certificate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog

from federation.members.directory import Directory
from streams.telemetry import CERTIFICATE_SECONDS

EXPIRING: Final = "certificate_expiring"
"""What the audit calls it."""
WARN_DAYS: Final = 30
_DAY_MS: Final = 24 * 3_600_000
_log: Final = structlog.get_logger(__name__)


class ExpiryWatch:
    """What has been warned of."""

    def __init__(self) -> None:
        self._warned: dict[tuple[str, int], int] = {}

    def look(self, directory: Directory, now_ms: int, only: Collection[str] | None = None) -> tuple[tuple[str, str], ...]:
        """(party, sentence) of each certificate to warn of now, of these parties or of all; logged, and every certificate measured."""
        found = []
        for party, known in directory.certificates.items():
            if only is not None and party not in only:
                continue
            newest, left_ms = known[-1], known[-1].expires_at_ms - now_ms
            CERTIFICATE_SECONDS.labels(party).set(left_ms / 1000)
            warned_ms = self._warned.get((party, newest.serial))
            if left_ms > WARN_DAYS * _DAY_MS or (warned_ms is not None and now_ms < warned_ms + _DAY_MS):
                continue
            self._warned[party, newest.serial] = now_ms
            days = left_ms // _DAY_MS
            ends = "has expired" if left_ms <= 0 else f"expires in {days} days"
            sentence = f"certificate {newest.serial} {ends}: renew it with `riverbank provision {newest.role.value} request {party}`"
            _log.warning("certificate expiring", party=party, detail=sentence)
            found.append((party, sentence))
        return tuple(found)
