"""The operator's commands as typed: what they say, how they end, what they refuse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from federation import messages as m
from riverbank import observer
from riverbank.cli import app
from riverbank.observer import observing
from riverbank.provisioning.federations import write_settings
from streams.memory import MemoryLog
from streams.passphrases import VARIABLE
from streams.topology import FEDERATION_TOPICS, partitions_of
from tests.credentials import AGGREGATOR, Credentials

FRAUD = m.HeadName.FRAUD
LANE: dict[str, Any] = {"head": FRAUD, "group": 0, "epoch": 1}
NAMES = ("ash-bank", "birch-bank", "cedar-bank", "dogwood-bank")


def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), env=env)
    return done.exit_code, done.output


@pytest.fixture
def console(tmp_path: Path) -> Path:
    federation = {"name": "fed", "bootstrap": "127.0.0.1:9", "ca_verify_key": "00" * 32}
    return write_settings(tmp_path / "console.toml", {"federation": federation, "web": {"state_dir": str(tmp_path)}})


def test_settings_are_shown_with_where_they_come_from(console: Path, monkeypatch: pytest.MonkeyPatch):
    """Environment over file over default; of a passphrase only that there is one."""
    monkeypatch.setenv("RIVERBANK_WEB__PORT", "8443")
    monkeypatch.setenv(VARIABLE, "hush")
    code, said = run("config", "show", "--config", str(console), "--json")
    rows = {row["key"]: (row["value"], row["from"]) for row in json.loads(said)}

    assert code == 0
    assert rows["web.port"] == (8443, "environment")
    assert rows["federation.name"] == ("fed", "file")
    assert rows["ops.log_level"] == ("info", "default")
    assert "hush" not in said
    assert VARIABLE in rows


def test_an_unknown_setting_is_refused_by_name(console: Path):
    """Every problem has a line; a script sees it by the exit code."""
    console.write_text(console.read_text() + "prot = 8443\nhost = 7\n")
    code, said = run("config", "check", "--config", str(console), "--json")
    problems = json.loads(said)["problems"]

    assert code == 2
    assert [problem.partition(":")[0] for problem in problems] == ["web.host", "web.prot"]


def test_a_file_for_two_processes_is_refused(console: Path):
    """Nobody can say which of them its settings are."""
    console.write_text(console.read_text() + '[audit]\ndsn = "chdb:///x"\nledger_dir = "/x"\n')
    code, said = run("config", "check", "--config", str(console))

    assert (code, "one process" in said) == (2, True)


def test_tables_have_no_colour_where_none_is_wanted(console: Path):
    """NO_COLOR counts, and a pipe gets none either."""
    assert "\x1b" not in run("config", "show", "--config", str(console), env={"NO_COLOR": "1"})[1]


def test_a_shell_completes_a_command():
    """What `--install-completion` puts into bash asks the program, and is answered."""
    asked = {"_RIVERBANK_COMPLETE": "complete_bash", "COMP_WORDS": "riverbank rou", "COMP_CWORD": "1"}

    assert CliRunner().invoke(app, [], prog_name="riverbank", env=asked).output.split() == ["rounds"]


class Kept(MemoryLog):
    """A log that outlives the command that read it."""

    async def close(self) -> None:
        pass


@pytest.fixture
def federation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A console's settings, whose federation had two rounds of fraud: a model, then one where two of four fell silent."""
    credentials, log = Credentials("fed", NAMES), Kept(partitions_of(FEDERATION_TOPICS))
    now_ms = observer.SystemClock().now_ms()

    async def told() -> None:
        await credentials.publish(log)
        members = tuple(m.ReadyMember(institution=name, shares_digest=bytes(32)) for name in NAMES)
        await say(AGGREGATOR, m.EpochReady(**LANE, roster_digest=bytes(32), members=members))
        for number, sent in ((1, NAMES), (2, NAMES[:2])):
            await say(AGGREGATOR, opening(number, now_ms))
            for name in sent:
                await say(name, update(number, name))
        await say(AGGREGATOR, abandoning(2, now_ms))
        for name in NAMES[:3]:
            await say(name, status(name, now_ms))

    async def say(party: str, message: m.Message) -> None:
        courier = credentials.courier(log, party)
        await courier.send(courier.prepare([message], now_ms))

    asyncio.run(told())
    monkeypatch.setattr(observer, "KafkaLog", lambda *_args, **_named: log)
    federation = {"name": "fed", "bootstrap": "127.0.0.1:9", "ca_verify_key": credentials.ca_verify_key.hex()}
    return write_settings(tmp_path / "console.toml", {"federation": federation, "web": {"state_dir": str(tmp_path)}})


def opening(number: int, now_ms: int) -> m.RoundOpened:
    return m.RoundOpened(
        **LANE, round=number, ready_digest=bytes(32), model_version=number - 1, model_digest=bytes(32), opened_at_ms=now_ms + number,
        masked_deadline_ms=now_ms + 500, unmask_deadline_ms=now_ms + 900, survivors_min=3,
    )  # fmt: skip


def update(number: int, name: str) -> m.MaskedUpdate:
    return m.MaskedUpdate(
        **LANE, round=number, institution=name, ready_digest=bytes(32), model_digest=bytes(32), chunk_digests=(),
        secret_commitment=bytes(32), seed_boxes=b"", share_tags=b"",
    )  # fmt: skip


def abandoning(number: int, now_ms: int) -> m.RoundAbandoned:
    reason = m.AbandonReason.TOO_FEW_UPDATES
    return m.RoundAbandoned(**LANE, round=number, reason=reason, detail="2 of 3", at_fault=(), abandoned_at_ms=now_ms + 600)


def status(name: str, now_ms: int) -> m.InstitutionStatus:
    return m.InstitutionStatus(
        institution=name, head=FRAUD, at_ms=now_ms, round=1, model_version=0, events_read=9, events_learned=8, dead_letters=0, waiting_for_label=0,
        lag_records=3, lag_ms=1_500, scored=0, quality_federated=-1.0, quality_local=-1.0, bytes_sent=1, updates_clipped=0,
    )  # fmt: skip


def test_a_round_that_came_to_nothing_names_who_was_missing(federation: Path):
    """Exit code 1, and a row for each member with its part."""
    code, said = run("rounds", "show", "fraud", "2", "--config", str(federation), "--json")

    assert code == 1
    assert {row["institution"]: row["part"] for row in json.loads(said)} == {
        "ash-bank": "sent", "birch-bank": "sent", "cedar-bank": "missing", "dogwood-bank": "missing",
    }  # fmt: skip


def test_rounds_are_listed_newest_first(federation: Path):
    """With what became of them, and who was absent."""
    code, said = run("rounds", "show", "--config", str(federation), "--json")
    rows = json.loads(said)

    assert (code, [(row["round"], row["state"]) for row in rows]) == (0, [(2, "abandoned"), (1, "masking")])
    assert rows[0]["absent"] == "cedar-bank (missing), dogwood-bank (missing)"


def test_lag_is_told_of_everybody_who_reports(federation: Path):
    """In records and in seconds."""
    code, said = run("lag", "--config", str(federation), "--json")

    assert (code, [(row["institution"], row["records"], row["seconds"]) for row in json.loads(said)]) == (
        0, [(name, 3, 1.5) for name in NAMES[:3]],
    )  # fmt: skip


def test_institutions_are_listed_though_they_say_nothing(federation: Path):
    """A member that never reported is a row, too."""
    code, said = run("institutions", "--config", str(federation), "--json")
    rows = {row["institution"]: row for row in json.loads(said)}

    assert (code, tuple(rows)) == (0, NAMES)
    assert (rows["ash-bank"]["last_rounds"], rows["dogwood-bank"]["heard_s_ago"]) == ("fraud 1", None)


def test_a_head_without_a_model_says_so(federation: Path):
    """Not an empty page."""
    done = CliRunner().invoke(app, ["model", "show", "fraud", "--config", str(federation)])

    assert "fraud has no model yet" in str(done.exception)


async def test_an_observer_ends_its_tasks():
    """Nothing goes on reading when the command is done."""
    credentials, log = Credentials("fed", NAMES), MemoryLog(partitions_of(FEDERATION_TOPICS))
    await credentials.publish(log)
    before = len(asyncio.all_tasks())
    async with observing(log, "fed", credentials.ca_verify_key) as seen:
        assert seen.feed.caught_up.is_set()

    assert len(asyncio.all_tasks()) == before
