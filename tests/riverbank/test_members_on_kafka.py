"""`riverbank members` as an operator types it, on a real broker with TLS and access lists: who is let in, who is taken out, what is refused."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from federation.members.locking import LEAST
from federation.messages import CertificateRequest, PartyRole
from riverbank.cli import EXIT_WRONG_INPUT, main
from riverbank.provisioning.applicants import Applicant
from riverbank.provisioning.authority import Office
from riverbank.provisioning.federations import write_settings
from riverbank.provisioning.papers import digest_of_paper, fingerprint, read_paper
from streams.access import Principal, alone
from streams.cluster_plan import Wanted
from streams.topology import Role
from tests.credentials import entropy_of
from tests.streams.secured import Secured

pytestmark = pytest.mark.broker
SECRET = b"a passphrase of the operator's"
NOW_MS = 1_790_000_000_000
OPERATOR = alone(Role.OPERATOR)


@dataclass(frozen=True)
class Town:
    """A federation's CA, and parties with folders and settings of their own, on a broker that certifies everybody as who they are."""

    folder: Path
    secured: Secured
    office: Office

    def party(self, name: str, role: PartyRole) -> Path:
        """Certified, its keys in its folder; the CA's answer."""
        applicant = Applicant.of(self.folder / name, name, role, self.office.directory / "federation.toml")
        asked, answer = self.folder / f"{name}.request", self.folder / f"{name}.answer"
        applicant.apply(asked, SECRET, hosts=(), cost=LEAST, entropy=entropy_of(name, self.folder), now_ms=NOW_MS)
        read_out = fingerprint(digest_of_paper(read_paper(asked, CertificateRequest)))
        self.office.answer(asked, answer, confirmed=read_out, days=365, overlap_days=7, replace=False, now_ms=NOW_MS)
        applicant.accept(answer)
        return answer

    def settings(self, name: str, *, passphrase: bytes = SECRET, speaks_as: Principal = OPERATOR) -> Path:
        """A settings file for `riverbank members` with this party's keys."""
        secret = self.folder / f"{name}.passphrase"
        secret.touch(mode=0o600)
        secret.write_bytes(passphrase)
        tls = self.secured.pki.files(speaks_as).model_dump(mode="json", exclude_none=True)
        ca = self.office.verify_key.hex()
        federation = {"name": self.office.federation, "bootstrap": self.secured.bootstrap, "ca_verify_key": ca, "tls": tls}
        party = {"name": name, "key_file": str(self.folder / name / "party.key"), "passphrase_file": str(secret)}
        return write_settings(self.folder / f"{name}.toml", {"federation": federation, "party": party})


@pytest.fixture
def town(secured: Secured, tmp_path: Path) -> Town:
    asyncio.run(secured.apply(Wanted.federation("members-town", ["north", "south"])))
    return Town(tmp_path, secured, office_in(tmp_path))


def office_in(folder: Path) -> Office:
    """A CA of its own in each folder: tests share the topics."""
    return Office.create(folder / "ca", "members-town", SECRET, cost=LEAST, entropy=entropy_of("ca", folder), now_ms=NOW_MS)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging as it was: a command writes to the stderr of its own time."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `riverbank members ...` in this process; its exit code, and what it said on stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["riverbank", "members", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def own(err: str) -> list[str]:
    """What the command itself said. Other tests' records on the shared topic are refused as well, and logged."""
    return [line for line in err.splitlines() if line.startswith("riverbank: ")]


def test_from_invited_to_revoked(town: Town, members: Callable[..., tuple[int, str, str]]):
    """An institution is invited, verified, suspended, verified again, revoked; the list says so after each; the aggregator needs no invitation."""
    answers = [town.party(name, role) for name, role in (("operator", PartyRole.OPERATOR), ("north", PartyRole.INSTITUTION))]
    answers.append(town.party("aggregator", PartyRole.AGGREGATOR))
    config = ("--config", town.settings("operator"))

    def act(verb: str, name: str = "north") -> tuple[int, str, str]:
        return members(verb, name, *config, "--reason", "a test", "--json")

    def listed(name: str = "north") -> tuple[str, int, bool, str]:
        code, out, err = members("list", *config, "--json")
        assert code == 0, err
        row = next(row for row in json.loads(out) if row["party"] == name)
        return row["standing"], row["certificate"], row["takes_part"], row["why_not"]

    code, out, err = members("publish", answers[0], *config, "--json")
    assert (code, json.loads(out)) == (0, {"party": "operator", "certificate": 1}), err
    code, out, err = act("invite")
    assert (code, json.loads(out)) == (0, {"party": "north", "standing": "invited", "entry": 1}), err
    assert listed() == ("invited", 0, False, "is not certified by the federation")
    code, out, err = act("verify")
    assert (code, out, own(err)) == (EXIT_WRONG_INPUT, "", ["riverbank: north is not certified yet: publish the CA's answer first"])
    for answer in answers[1:]:
        assert members("publish", answer, *config)[0] == 0
    assert listed("aggregator") == ("", 1, True, "")
    for verb, standing, takes_part, why_not in (
        ("verify", "verified", True, ""),
        ("suspend", "suspended", False, "is suspended"),
        ("verify", "verified", True, ""),
        ("revoke", "revoked", False, "is revoked"),
    ):
        code, out, err = act(verb)
        assert (code, json.loads(out)["standing"]) == (0, standing), err
        assert listed() == (standing, 1, takes_part, why_not)
    code, out, err = act("verify")
    assert (code, out, own(err)) == (EXIT_WRONG_INPUT, "", ["riverbank: north: revoked, hence not to be verified"])
    assert [act("invite", "south")[0], act("leave", "south")[0]] == [0, 0]
    code, out, _ = members("list", *config)
    assert [line.split()[0] for line in out.splitlines()] == ["party", "aggregator", "north", "operator", "south"]
    assert out.splitlines()[-1].split()[:3] == ["south", "-", "left"]

    paper = town.folder / "paper"
    town.office.renew(paper, SECRET, overlap_days=30, cost=LEAST, entropy=entropy_of("next", town.folder), now_ms=NOW_MS)
    code, out, err = members("publish", paper, *config, "--json")
    assert (code, json.loads(out)) == (0, {"party": "members-town", "authority": 1}), err


def test_what_is_refused(town: Town, members: Callable[..., tuple[int, str, str]]):
    """A party nobody knows, another passphrase, keys that are no operator's, a certificate of another CA, an operator's certificate of another process."""
    operator, north = (town.party(*each) for each in (("operator", PartyRole.OPERATOR), ("north", PartyRole.INSTITUTION)))
    config = ("--config", town.settings("operator"))
    for answer in (operator, north):
        assert members("publish", answer, *config)[0] == 0

    def refused(*arguments: object) -> str:
        code, out, err = members(*arguments)
        lines = own(err)
        assert (code, out, len(lines)) == (EXIT_WRONG_INPUT, "", 1), err
        assert "Traceback" not in err
        return lines[0]

    reason = ("--reason", "a test")
    assert refused("suspend", "nobody", *config, *reason) == "riverbank: nobody: unknown, hence not to be suspended"
    assert refused("invite", "north", *config, "--reason", "x" * 201) == "riverbank: north: a name or reason of impossible length"
    assert "is CN=operator,OU=operator,O=pki, not north.operator's" in refused(
        "invite", "north", "--config", town.settings("north"), *reason
    )
    with_a_certificate = ("--config", town.settings("north", speaks_as=Principal("north", Role.OPERATOR)))
    assert "no partition parties.v1/0 that north.operator may see" in refused("invite", "north", *with_a_certificate, *reason)
    wrong = ("--config", town.settings("operator", passphrase=b"not the passphrase of anybody"))
    assert "operator/party.key: the passphrase does not open it" in refused("invite", "north", *wrong, *reason)
    portal = ("--config", town.settings("operator", speaks_as=Principal("operator", Role.PORTAL)))
    assert "not operator.operator's" in refused("list", *portal)

    config = ("--config", town.settings("operator"))
    foreign = Town(town.folder / "foreign", town.secured, office_in(town.folder / "foreign"))
    assert "bad_signature by north" in refused("publish", foreign.party("north", PartyRole.INSTITUTION), *config)
    code, out, _ = members("list", *config, "--json")
    assert (code, [(row["party"], row["standing"]) for row in json.loads(out)]) == (0, [("north", ""), ("operator", "")])

    # The CA, not a name, makes an operator: this one is certified as an institution.
    named_so = foreign.party("operator", PartyRole.INSTITUTION)
    config = ("--config", foreign.settings("operator"))
    assert members("publish", named_so, *config)[0] == 0
    assert "only an operator says how a party stands" in refused("invite", "south", *config, *reason)
