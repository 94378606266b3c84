"""`riverbank provision` and `riverbank members`, as typer groups.

Mounted by `riverbank.cli`.
Never takes a secret on the command line, and never shows one."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from federation.errors import OwnFault, PeerFault
from federation.messages import PartyCertified, PartyRole, Standing
from streams.passphrases import passphrase
from streams.ports import LogRefused, LogUnavailable
from streams.settings import OperatorProcess, load_settings

if TYPE_CHECKING:
    from riverbank.membership import Membership
    from riverbank.provisioning.applicants import Applicant

# X.509, Kafka and the locks are imported when a command runs: `--help` must not pay for them.
# ruff: noqa: PLC0415

provision: Final = typer.Typer(no_args_is_help=True, help="Keys and certificates: drawn where they are used, certified by request.")
members: Final = typer.Typer(no_args_is_help=True, help="Who is a member of the federation: an operator's signed word.")
_federation: Final = typer.Typer(no_args_is_help=True, help="The federation's CA. Keep its folder off the network.")
provision.add_typer(_federation, name="federation")

PUBLIC_FILE: Final = "federation.toml"
PassphraseFile = Annotated[
    Path | None, typer.Option(help="Holds the passphrase, mode 0600; else RIVERBANK_PASSPHRASE, else you are asked.")
]
Directory = Annotated[Path, typer.Option(help="The folder of keys and certificates.")]
Config = Annotated[Path, typer.Option("--config", help="The operator's TOML settings: [federation] and [party].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(what: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(what) if as_json else "\n".join(f"{name}: {value}" for name, value in what.items()))


@_federation.command("create")
def federation_create(name: str, directory: Directory, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Make the CA of a new federation in a new folder; give everybody its federation.toml."""
    from federation.members.locking import MODERATE
    from riverbank.provisioning.authority import Office

    secret = passphrase(passphrase_file, what=f"the CA of {name}", again=True)
    office = Office.create(directory, name, secret, cost=MODERATE, entropy=os.urandom, now_ms=_now_ms())
    _say({"federation": name, "ca_verify_key": office.verify_key.hex(), "public_file": str(directory / PUBLIC_FILE)}, as_json)


@_federation.command("sign")
def federation_sign(
    request: Path, answer: Path, directory: Directory,
    fingerprint: Annotated[str, typer.Option(help="As the request's sender read it out.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long the certificates last.")] = 365,
    overlap_days: Annotated[int, typer.Option(min=0, max=365, help="How long the keys before still count.")] = 7,
    replace: Annotated[bool, typer.Option(help="The keys before are lost or stolen: they count no longer.")] = False,
    passphrase_file: PassphraseFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Certify the keys in a request, and write the answer."""
    from riverbank.provisioning.authority import Office

    name = tomllib.loads((directory / PUBLIC_FILE).read_text())["federation"]["name"]
    office = Office.open(directory, name, passphrase(passphrase_file, what=f"the CA of {name}"))
    made = office.answer(request, answer, confirmed=fingerprint, days=days, overlap_days=overlap_days, replace=replace, now_ms=_now_ms())
    _say({"party": made.certified.party, "certificate": made.certified.serial, "answer": str(answer)}, as_json)


@_federation.command("renew")
def federation_renew(
    paper: Path, directory: Directory,
    overlap_days: Annotated[int, typer.Option(min=0, max=365, help="How long certificates by the key before may still be published.")] = 30,
    passphrase_file: PassphraseFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Give the CA a new signing key, and write the paper by which everybody comes to believe it: publish it with `riverbank members publish`."""
    from federation.members.locking import MODERATE
    from riverbank.provisioning.authority import Office

    name = tomllib.loads((directory / PUBLIC_FILE).read_text())["federation"]["name"]
    secret = passphrase(passphrase_file, what=f"the CA of {name}")
    office = Office.open(directory, name, secret)
    renewed = office.renew(paper, secret, overlap_days=overlap_days, cost=MODERATE, entropy=os.urandom, now_ms=_now_ms())
    _say({"federation": name, "ca_verify_key": renewed.verify_key.hex(), "paper": str(paper)}, as_json)


@provision.command("follow")
def follow(paper: Path, directory: Directory, as_json: Json = False) -> None:
    """Pin the CA's new key in a party's folder, if the one pinned before vouches for it."""
    from riverbank.provisioning.applicants import Applicant

    party = Applicant.at_home(directory).follow(paper)
    _say({"party": party.party, "ca_verify_key": party.ca_verify_key.hex()}, as_json)


@provision.command("rotate")
def rotate(
    directory: Directory, out: Annotated[Path, typer.Option(help="Where to write the request, or with --ca the CA's answer.")],
    host: Annotated[list[str] | None, typer.Option(help="Where a broker of ours listens; repeat.")] = None,
    ca: Annotated[Path | None, typer.Option(help="The CA's folder, where it is at hand: sign and accept as well.")] = None,
    ca_passphrase_file: PassphraseFile = None, passphrase_file: PassphraseFile = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Newer keys and TLS certificates for whoever is certified in a folder; what is in use counts until the answer is published, and for a week more."""
    from federation.members.locking import MODERATE
    from riverbank.provisioning.applicants import Applicant
    from riverbank.provisioning.authority import Office

    party = Applicant.at_home(directory)
    secret = passphrase(passphrase_file, what=f"the keys of {party.party}")
    office = None if ca is None else Office.open(ca, party.federation, passphrase(ca_passphrase_file, what=f"the CA of {party.federation}"))
    request = out if ca is None else out.with_name(f"{out.name}.request")
    printed = party.apply(request, secret, hosts=tuple(host or ()), cost=MODERATE, entropy=os.urandom, now_ms=_now_ms())
    said: dict[str, Any] = {"party": party.party, "request": str(request), "fingerprint": printed}
    if office is not None:
        # One machine has both: nothing was on a way where it could be exchanged.
        office.answer(request, out, confirmed=printed, days=365, overlap_days=7, replace=False, now_ms=_now_ms())
        said |= {"certificate": party.accept(out).certified.serial, "answer": str(out)}
    _say(said, as_json)


def _applicant(directory: Path, name: str, role: PartyRole, federation: Path) -> Applicant:
    from riverbank.provisioning.applicants import Applicant

    return Applicant.of(directory, name, role, federation)


def _party_group(role: PartyRole) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=f"The keys of an {role.value}.")

    @group.command("request")
    def request(
        name: str, directory: Directory, federation: Annotated[Path, typer.Option(help="The federation's public federation.toml.")],
        out: Annotated[Path, typer.Option(help="Where to write the request.")],
        host: Annotated[list[str] | None, typer.Option(help="Where a broker of ours listens; repeat.")] = None,
        lost: Annotated[bool, typer.Option(help="The keys before are lost or stolen.")] = False,
        passphrase_file: PassphraseFile = None, as_json: Json = False,
    ) -> None:  # fmt: skip
        """Draw keys, the first or newer ones, and write a request; read its fingerprint out to the CA's keeper."""
        from federation.members.locking import MODERATE

        applicant = _applicant(directory, name, role, federation)
        secret = passphrase(passphrase_file, what=f"the keys of {name}", again=not (directory / "party.key").exists())
        printed = applicant.apply(out, secret, hosts=tuple(host or ()), cost=MODERATE, entropy=os.urandom, now_ms=_now_ms(), lost=lost)
        _say({"party": name, "request": str(out), "fingerprint": printed}, as_json)

    @group.command("accept")
    def accept(name: str, answer: Path, directory: Directory, as_json: Json = False) -> None:
        """Put the CA's answer in place."""
        made = _applicant(directory, name, role, directory / PUBLIC_FILE).accept(answer)
        _say({"party": name, "certificate": made.certified.serial}, as_json)

    @group.command("retire")
    def retire(name: str, directory: Directory, passphrase_file: PassphraseFile = None) -> None:
        """Forget the keys older than the certified ones."""
        from federation.members.locking import MODERATE

        secret = passphrase(passphrase_file, what=f"the keys of {name}")
        _applicant(directory, name, role, directory / PUBLIC_FILE).retire(secret, cost=MODERATE, entropy=os.urandom)

    return group


for _role in (PartyRole.INSTITUTION, PartyRole.AGGREGATOR, PartyRole.OPERATOR, PartyRole.AUDIT):
    provision.add_typer(_party_group(_role), name=_role.value)


def _with_membership(config: Path, work: Callable[[Membership], Awaitable[Any]]) -> Any:
    from riverbank.membership import Membership
    from streams.access import Principal
    from streams.identity import Identity, key_file
    from streams.kafka import KafkaLog
    from streams.parties import Parties
    from streams.telemetry import configure_logging
    from streams.tls import open_tls
    from streams.topology import Role

    settings = load_settings(config, OperatorProcess)
    configure_logging(settings.ops.log_level)  # To stderr: what others wrote on the topics must not stand in our answer.

    async def run() -> Any:
        federation, name = settings.federation, settings.party.name
        log = KafkaLog(federation.bootstrap, client_id=name, tls=open_tls(federation.tls, Principal(name, Role.OPERATOR)))
        parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
        try:
            return await work(Membership(log, parties, Identity(name, parties, key_file(settings.party))))
        finally:
            await parties.close()
            await log.close()

    return asyncio.run(run())


@members.command("list")
def members_list(config: Config, as_json: Json = False) -> None:
    """Everybody, how they stand, and until when their certificates last."""
    rows = _with_membership(config, lambda membership: membership.rows(_now_ms()))
    typer.echo(json.dumps(rows, indent=1) if as_json else _table(rows))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line of names, then a line per row, in columns; a dash stands where there is nothing."""
    if not rows:
        return "nobody"
    lines = [list(rows[0]), *([str(value) or "-" for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


@members.command("publish")
def members_publish(paper: Path, config: Config, as_json: Json = False) -> None:
    """Put what the CA signed where everybody reads it: an answer's certificate, whose keys count from then on, or the CA's next key."""
    from riverbank.provisioning.papers import read_published

    said = read_published(paper)
    _with_membership(config, lambda membership: membership.publish(said))
    _say({"party": said.party, "certificate" if isinstance(said, PartyCertified) else "authority": said.serial}, as_json)


def _act_command(verb: str, standing: Standing, text: str) -> None:
    def act(
        name: str,
        config: Config,
        reason: Annotated[str, typer.Option(help="Why, in a sentence that everybody may read.")],
        as_json: Json = False,
    ) -> None:
        entry = _with_membership(config, lambda membership: membership.act(name, standing, reason=reason, now_ms=_now_ms()))
        _say({"party": name, "standing": entry.standing.value, "entry": entry.serial}, as_json)

    act.__doc__ = text
    members.command(verb)(act)


_act_command("invite", Standing.INVITED, "Name an institution that may join.")
_act_command("verify", Standing.VERIFIED, "Confirm an institution: it takes part from the next epoch on.")
_act_command("suspend", Standing.SUSPENDED, "Leave an institution out until it is verified again.")
_act_command("leave", Standing.LEFT, "Note that an institution has left.")
_act_command("revoke", Standing.REVOKED, "A party's keys are compromised: its certificates are void from now on.")

EXPECTED: Final = (OwnFault, PeerFault, FileExistsError, FileNotFoundError, LogUnavailable, LogRefused)
"""What whoever typed the command can mend, each with a sentence of its own."""
