"""One-time links for people and API keys for systems, made where a portal runs.

Called by `riverbank users` and by the demo.
Never makes an account with a password, and never prints a key: it goes into a file of its owner's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from streams.settings import WebSettings
from web.identity.recorders import LogLines
from web.identity.roles import Role, Scope
from web.wiring import identity_of

_BY: Final = "The operator of this machine"


async def invite(web: WebSettings, role: Role, *, email: str | None = None) -> str:
    """The path of a one-time link by which one person joins this portal with this role."""
    async with identity_of(web, LogLines()) as identity:
        return f"/invitation/{await identity.invitations.make(role, email=email, by=_BY)}"


async def make_key(web: WebSettings, name: str, scopes: Sequence[Scope], file: Path) -> str:
    """A new API key: returned, and in a new file as the header that sends it (`curl -H @FILE`). FileExistsError if there is one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        async with identity_of(web, LogLines()) as identity:
            _, key = await identity.keys.make(name, scopes, by=_BY)
        out.write(f"Authorization: Bearer {key}\n")
    return key
