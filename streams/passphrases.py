"""Where a passphrase comes from: the file that settings name, else the environment, else whoever sits at the terminal.

Called by whoever opens or makes locked files.
Never takes one from the command line, where every process can read it, and never asks where nobody can answer."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streams.settings import SettingsError, read_private_file

VARIABLE: Final = "RIVERBANK_PASSPHRASE"


def passphrase(
    file: Path | None,
    *,
    what: str,
    again: bool = False,
    ask: Callable[[str], str] = getpass.getpass,
    at_terminal: Callable[[], bool] | None = None,
) -> bytes:
    """The passphrase for `what`, without the line's end. `again`: it is a new one, so somebody who types it types it twice.

    SettingsError: a file that others may read or that is empty, two answers that differ, or nowhere to take it from.
    """
    if file is not None:
        return _not_empty(read_private_file(file).rstrip(b"\r\n"), str(file))
    if VARIABLE in os.environ:
        return _not_empty(os.environ[VARIABLE].encode(), VARIABLE)
    if not (at_terminal or sys.stdin.isatty)():
        raise SettingsError([f"no passphrase for {what}: name a file of mode 0600, set {VARIABLE}, or start it at a terminal"])
    typed = ask(f"Passphrase for {what}: ")
    if again and ask("Once more: ") != typed:
        raise SettingsError(["the two passphrases differ"])
    return _not_empty(typed.encode(), "the terminal")


def _not_empty(given: bytes, where: str) -> bytes:
    if not given:
        raise SettingsError([f"{where}: an empty passphrase"])
    return given
