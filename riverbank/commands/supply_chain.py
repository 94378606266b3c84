"""`riverbank supply-chain`: the bill of materials, and what is known against it.

Mounted by `riverbank.cli`; `make check` runs it.
Never takes a package that nobody looked up for a sound one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from riverbank.commands.frame import CannotRun

group: Final = typer.Typer(no_args_is_help=True, help="What Riverbank is made of, and what is known against it (development install).")


Lock = Annotated[Path, typer.Option(help="A lock with hashes.")]


@group.command("sbom")
def supply_chain_sbom(
    lock: Lock = Path("requirements.lock"), out: Annotated[Path, typer.Option(help="File to write.")] = Path("build/sbom.cdx.json")
) -> None:
    """Write a CycloneDX bill of materials: the locked packages and Kafka's jars, with their hashes."""
    from riverbank.embedded.jars import pinned_jars
    from riverbank.supply_chain import SupplyChainError, bill_of_materials, locked_packages

    try:
        bill = bill_of_materials(locked_packages(lock), pinned_jars())
    except SupplyChainError as error:
        raise CannotRun(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(bill, encoding="utf-8")
    typer.echo(out)


@group.command("advisories")
def supply_chain_advisories(
    lock: Lock = Path("requirements.lock"),
    required: Annotated[bool, typer.Option("--required", help="Fail also when packages could not be looked up.")] = False,
) -> None:
    """Exit 1 if a vulnerability of a locked package is published. Without a network it says so, and fails only if --required."""
    from riverbank.supply_chain import SupplyChainError, advisories

    try:
        findings = advisories(lock)
    except SupplyChainError as error:
        raise CannotRun(str(error)) from error
    for package, known in findings.known.items():
        typer.echo(f"{package}: {', '.join(known)}", err=True)
    if findings.not_asked:
        typer.echo(f"NOT LOOKED UP: {len(findings.not_asked)} packages, no advisory service answered for them", err=True)
    typer.echo(f"{findings.asked} packages looked up, {len(findings.known)} with published vulnerabilities")
    raise typer.Exit(1 if findings.known or (required and findings.not_asked) else 0)
