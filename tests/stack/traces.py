"""The private keys and passphrases of a run, and where they left a trace.

Used by the test of separate clusters.
Never shows a secret: what is found is told by its name."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from riverbank.provisioning.federations import Federation


def forms(secret: bytes) -> set[bytes]:
    """The bytes as they are, in hexadecimal and in base64, wherever in a longer text they begin."""
    # Three places to begin in a group of three bytes; characters that the neighbours share are left out.
    shifted = {base64.b64encode(bytes(at) + secret)[(0, 2, 3)[at] : -4] for at in range(3)}
    url_safe = {form.translate(bytes.maketrans(b"+/", b"-_")) for form in shifted}
    return {secret, secret.hex().encode(), secret.hex().upper().encode(), *shifted, *url_safe}


def party_secrets(made: Federation) -> dict[str, set[bytes]]:
    """Name -> forms, of every party's keys and of the passphrase that locks them."""
    found = {"passphrase": {made.passphrase.encode(), *forms(bytes.fromhex(made.passphrase))}}
    for party, keys in made.founded.keys.items():
        found[f"{party}, signing"] = forms(keys.signing_seed.reveal())
        found[f"{party}, sealing"] = forms(keys.sealing_secret.reveal())
    return found


def transport_secrets(key_files: Iterator[Path]) -> dict[str, set[bytes]]:
    """The same of TLS keys: the scalar, and the lines of the file."""
    found = {}
    for path in key_files:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        lines = {line for line in path.read_bytes().splitlines() if len(line) == 64}
        found[str(path)] = forms(key.private_numbers().private_value.to_bytes(32, "big")) | lines
    return found


def traces(secrets: Mapping[str, set[bytes]], said: bytes) -> set[str]:
    """Names of the secrets that occur in it."""
    begun = _windows_in(said, {shape[:8] for shapes in secrets.values() for shape in shapes})
    return {name for name, shapes in secrets.items() if any(shape[:8] in begun and shape in said for shape in shapes)}


def _windows_in(said: bytes, wanted: set[bytes]) -> set[bytes]:
    """Which of these eight bytes occur: one pass for all, since a hundred megabytes are searched for hundreds of forms."""
    heads = np.array([int.from_bytes(each, "little") for each in wanted], dtype="<u8")
    likely = np.zeros(1 << 16, dtype=bool)
    likely[heads & np.uint64(0xFFFF)] = True
    found: set[bytes] = set()
    for start in range(min(8, max(0, len(said) - 7))):
        windows = np.frombuffer(said, dtype="<u8", count=(len(said) - start) // 8, offset=start)
        some = windows[likely[windows & np.uint64(0xFFFF)]]
        found.update(int(each).to_bytes(8, "little") for each in np.unique(some[np.isin(some, heads)]))
    return found
