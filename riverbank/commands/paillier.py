"""`riverbank paillier`: dealing threshold keys.

Mounted by `riverbank.cli`.
Never prints a share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from riverbank.commands.frame import CannotRun

group: Final = typer.Typer(no_args_is_help=True, help="Threshold Paillier keys, for secure sums of small models.")


@group.command("deal")
def paillier_deal(
    directory: Annotated[Path, typer.Argument(help="A new folder for the public key and one share per member.")],
    member: Annotated[list[str], typer.Option(help="A holder; repeat, in alphabetical order.")],
    threshold: Annotated[int, typer.Option(help="How many holders decrypt together.")],
    bits: Annotated[int, typer.Option(help="Length of the modulus.")] = 3072,
) -> None:
    """Deal a threshold Paillier key (seconds to minutes). Carry each share to its holder, then delete the folder."""
    import os

    from federation.errors import OwnFault
    from riverbank.paillier import deal_files

    try:
        typer.echo(deal_files(directory, members=member, threshold=threshold, bits=bits, entropy=os.urandom))
    except OwnFault as error:
        raise CannotRun(str(error)) from error
