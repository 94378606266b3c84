"""How long the brokers keep what is the institution's own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from riverbank.topics import wanted_of
from streams.settings import ClusterSettings
from streams.topology import FEEDBACK


def test_how_long_own_topics_keep_a_record_is_the_institutions_to_say():
    """A topic named in keep_hours is wanted with that retention, the others as their rows say."""
    settings = ClusterSettings(bootstrap="127.0.0.1:1", institutions=("north-bank",), keep_hours={"dead_letters.v1": 48})
    wanted = wanted_of(settings).topics

    assert wanted["north-bank.dead_letters.v1"].broker_settings()["retention.ms"] == str(48 * 3_600_000)
    assert wanted["north-bank.feedback.v1"] == FEEDBACK


@pytest.mark.parametrize("wrong", ["profiles.v1", "rounds.v1", "north-bank.dead_letters.v1"])
def test_a_retention_for_what_is_kept_by_key_or_unknown_is_refused(wrong):
    """A misspelled topic would be kept for longer than somebody believes."""
    with pytest.raises(ValidationError, match="is no own topic whose records go by age"):
        ClusterSettings(bootstrap="127.0.0.1:1", institutions=("north-bank",), keep_hours={wrong: 48})
