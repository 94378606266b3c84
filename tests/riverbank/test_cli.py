"""Stories of the command line as an operator meets it: one clear sentence, an exit code, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from riverbank.provisioning.federations import create_federation, write_settings

RIVERBANK = [sys.executable, "-m", "riverbank"]


def said(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RIVERBANK, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What went wrong, if it was said in one line without a traceback and with a failing exit code."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode not in {0, 70}, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture
def bank(tmp_path: Path) -> dict:
    """Settings of an institution whose broker nobody runs."""
    federation = create_federation(tmp_path, name="test", institutions=["alder-bank"], entropy=os.urandom, now_ms=0)
    own = {"bootstrap": "127.0.0.1:9", "state_dir": str(tmp_path / "state")}
    settings = federation.settings("alder-bank", "127.0.0.1:9")
    passphrase_file = tmp_path / "passphrase"
    passphrase_file.touch(mode=0o600)
    passphrase_file.write_text(federation.passphrase)
    settings["party"]["passphrase_file"] = str(passphrase_file)
    return settings | {"institution": own}


def test_a_wrong_setting_is_named(tmp_path: Path, bank: dict):
    """The key, what is wrong with it, and what is allowed."""
    bank["institution"]["heads"] = ["mortgages"]
    config = write_settings(tmp_path / "settings.toml", bank)

    assert "institution.heads.0: input should be 'credit', 'fraud' or 'products'" in one_sentence(
        said("institution", "run", "--config", str(config))
    )


def test_a_missing_settings_file_is_named(tmp_path: Path):
    """The file's path stands in the sentence."""
    assert str(tmp_path / "none.toml") in one_sentence(said("web", "run", "--config", str(tmp_path / "none.toml")))


def test_an_unreachable_broker_is_named(tmp_path: Path, bank: dict):
    """Its address stands in the sentence."""
    config = write_settings(tmp_path / "settings.toml", bank)

    assert "127.0.0.1:9" in one_sentence(said("institution", "run", "--config", str(config)))


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, bank: dict):
    """With the command that mends it."""
    Path(bank["party"]["key_file"]).chmod(0o644)
    config = write_settings(tmp_path / "settings.toml", bank)

    assert "chmod 600" in one_sentence(said("institution", "run", "--config", str(config)))


def test_without_a_passphrase_nothing_starts(tmp_path: Path, bank: dict):
    """Nobody sits at a terminal: the sentence says where one may come from."""
    del bank["party"]["passphrase_file"]
    config = write_settings(tmp_path / "settings.toml", bank)

    sentence = one_sentence(said("institution", "run", "--config", str(config)))
    assert sentence.startswith("riverbank: no passphrase for the keys of alder-bank: name a file of mode 0600")


def test_missing_data_is_named(tmp_path: Path):
    """The demo says which file it looked for before anything is started."""
    assert str(tmp_path) in one_sentence(said("demo", "--data", str(tmp_path), "--rounds", "1", "--headless"))


def test_a_directory_in_use_is_not_overwritten(tmp_path: Path):
    """An earlier run's files are somebody's evidence."""
    (tmp_path / "file").write_text("kept")

    assert "is not empty" in one_sentence(said("demo", "--directory", str(tmp_path), "--rounds", "1", "--headless"))


def test_a_pace_that_is_none_is_named(tmp_path: Path):
    """With the forms that are understood."""
    sentence = one_sentence(
        said("feed", "--config", str(tmp_path / "none.toml"), "--progress", str(tmp_path / "p"), "--pace", "fraud=quick")
    )

    assert "1500/s" in sentence


def test_the_schemas_are_fresh():
    """What is rendered from schemas and rows is what is committed."""
    done = said("schemas", "check")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_the_demo_leaves_nothing_running(tmp_path: Path, number: signal.Signals):
    """Ctrl-C or SIGTERM in the middle: a result, exit code 0, no broker and no party left."""
    command = [*RIVERBANK, "demo", "--headless", "--json", "--directory", str(tmp_path / "demo")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "demo" / "feed" / "progress.json").exists():
            assert demo.poll() is None, demo.communicate()
            time.sleep(0.2)
        demo.send_signal(number)
        out, err = demo.communicate(timeout=120)
    finally:
        demo.kill()

    assert demo.returncode == 0, err
    assert set(json.loads(out)["heads"]) == {"credit", "fraud", "products"}
    assert [line for line in map(command_of, psutil.process_iter()) if str(tmp_path) in line] == []


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # It ended while we looked.
        return ""
