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
