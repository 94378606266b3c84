"""Warnings before certificates expire."""

from __future__ import annotations

from streams.expiry import ExpiryWatch
from streams.telemetry import CERTIFICATE_SECONDS
from tests.credentials import Credentials

DAY_MS = 24 * 3_600_000
END_MS = 100 * DAY_MS


def test_a_certificate_is_warned_of_once_a_day_from_thirty_days_before():
    """Not before; with the command that renews it; and no more once it is renewed."""
    credentials, watch = Credentials("f", ["a", "b"]), ExpiryWatch()
    directory = credentials.directory.admit(credentials.certificate("a", serial=2, expires_at_ms=END_MS), at_ms=0)
    assert watch.look(directory, END_MS - 30 * DAY_MS - 1) == ()
    assert CERTIFICATE_SECONDS.labels("a")._value.get() > 30 * 86_400

    ((party, sentence),) = watch.look(directory, END_MS - 30 * DAY_MS)
    assert (party, sentence) == ("a", "certificate 2 expires in 30 days: renew it with `riverbank provision institution request a`")
    assert watch.look(directory, END_MS - 29 * DAY_MS - 1) == ()
    assert [party for party, _ in watch.look(directory, END_MS - 29 * DAY_MS)] == ["a"]
    ((_, over),) = watch.look(directory, END_MS)
    assert "has expired" in over
    assert watch.look(directory, END_MS + 2 * DAY_MS, only=["b"]) == ()

    renewed = directory.admit(credentials.certificate("a", serial=3), at_ms=0)
    assert watch.look(renewed, END_MS + 3 * DAY_MS) == ()
