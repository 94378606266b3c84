"""Stories of `riverbank users`: how a first administrator, and a first system, get into a portal."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from riverbank.provisioning.federations import write_settings
from streams.settings import WebProcess, load_settings
from web.identity.recorders import LogLines
from web.identity.roles import Role, Scope
from web.wiring import identity_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A portal's settings, whose brokers nobody runs: people do not need them."""
    web = {
        "state_dir": str(tmp_path / "state"),
        "institution": "alder-bank",
        "bootstrap": "127.0.0.1:9",
        "origin": "https://portal.alder.example",
    }
    federation = {"name": "test", "ca_verify_key": "0" * 64, "bootstrap": "127.0.0.1:9"}
    return write_settings(tmp_path / "portal.toml", {"federation": federation, "web": web})


def users(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "riverbank", "users", arguments[0], "--config", str(config), *arguments[1:]]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def test_a_link_lets_one_person_in_and_a_key_lies_in_a_file(config: Path, tmp_path: Path):
    """The link is at the portal's own address and good once; the key is in no output."""
    invited = users(config, "invite", "--role", "administrator", "--email", "ada@alder.example")
    out = tmp_path / "key"
    made = users(config, "key", "--name", "mobile app", "--scope", "recommendations:read", "--out", str(out))
    link = invited.stdout.strip()
    key = out.read_text().strip().removeprefix("Authorization: Bearer ")

    async def looked():
        async with identity_of(load_settings(config, WebProcess).web, LogLines()) as identity:
            return await identity.invitations.find(link.rpartition("/")[2]), await identity.keys.find(key)

    invitation, known = asyncio.run(looked())

    assert link.startswith("https://portal.alder.example/invitation/")
    assert (invitation.role, invitation.email) == (Role.ADMINISTRATOR, "ada@alder.example")
    assert (known.name, known.scopes) == ("mobile app", {Scope.RECOMMENDATIONS_READ})
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert key not in made.stdout + made.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("invite", "--role", "operator"), "--role is one of administrator, officer, ml_engineer here"),
        (("invite", "--role", "officer", "--email", "nobody"), "Enter an e-mail address"),
        (("key", "--name", "x", "--scope", "everything", "--out", "key"), "not everything"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(config: Path, arguments: tuple[str, ...], says: str):
    """Exit 2, and what there is to choose from."""
    done = users(config, *arguments)

    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
