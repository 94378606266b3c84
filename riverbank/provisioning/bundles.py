"""What lies in a party's folder: one folder per process, the same three TLS files in each, and secrets written for their owner alone.

Called by provisioning and by whoever starts a process.
Never overwrites a key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CA_CERTIFICATE: Final = "ca.crt"
"""Whom the process trusts on its Kafka cluster: PEM, one authority or, while it is being replaced, two."""
KAFKA_CERTIFICATE: Final = "kafka.crt"
"""What the process shows: PEM."""
KAFKA_KEY: Final = "kafka.key"
"""The private key of that: PKCS #8 in PEM."""


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; FileExistsError rather than overwriting a key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)  # A request must not outlive, over a power cut, the keys that it is for.


def replace_secret(path: Path, content: bytes) -> None:
    """As `write_secret`, in place of what is there: a reader sees the one or the other, whole."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    write_secret(draft, content)
    draft.replace(path)


_README: Final = """\
# {party}

Made by `riverbank provision {role}`. Keep this folder on the machine that uses it, mode 0700.

| file | is | may be copied |
|---|---|---|
{rows}
When a certificate is about to expire, or keys are to change: `riverbank provision {verb}`; what is in use stays in use until the
answer is accepted. When a private key may have leaked: tell the federation's operator at once (`riverbank members revoke`), then ask anew with `--lost`.
When the passphrase is lost, so are the keys: ask anew with `--lost`.
"""
_ROWS: Final = {
    "federation": (
        ("federation.toml", "the federation's name and the CA's verify key, which everybody pins", "yes: give it to everybody"),
        ("ca.crt", "the authority for TLS", "yes"),
        ("ca.key", "both private keys of the CA, locked with its passphrase", "only to a safe: whoever opens it can invent members"),
        ("issued.json", "every serial given; an older copy must never be used", "with ca.key, always the newest"),
    ),
    "party": (
        ("federation.toml", "the federation's name and the CA's verify key", "yes"),
        ("party.crt", "the CA's certificate for the keys below", "yes"),
        ("party.key", "private keys to sign and to unseal with, locked with the passphrase", "never"),
        ("request.pending", "a request that waits for its answer", "yes"),
        ("*/ca.crt, */kafka.crt", "a process's TLS certificate, and whom it trusts", "yes"),
        ("*/kafka.key, */kafka.password", "a process's TLS key, encrypted, and what opens it", "never"),
    ),
}


def write_readme(directory: Path, role: str, party: str) -> None:
    """README.md: what each file is, what may be copied, what to do when one leaks or expires."""
    rows = _ROWS["federation" if role == "federation" else "party"]
    table = "".join(f"| `{name}` | {what} | {copied} |\n" for name, what, copied in rows)
    verb = "federation --help" if role == "federation" else f"{role} request {party}"
    (directory / "README.md").write_text(_README.format(party=party, role=role, rows=table, verb=verb))
