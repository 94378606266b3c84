"""The registry of certified parties in the form that portal, audit and demo are handed, since they may not see its cryptography.

Made by the command line and the demo.
Never admits a certificate that the pinned CA did not sign."""

from __future__ import annotations

from federation import messages as m
from federation.secagg.certificates import Registry


class CertifiedParties:
    """A registry that grows as parties.v1 is read."""

    def __init__(self, federation: str, ca_verify_key: bytes) -> None:
        self._registry = Registry.of(federation, ca_verify_key)

    def admit(self, certified: m.PartyCertified) -> None:
        """Take a certificate, or newer keys of a known party; PeerFault if the CA does not vouch for it."""
        self._registry = self._registry.admit(certified)

    def verify(self, sender: str, signed_bytes: bytes, signature: bytes) -> None:
        """PeerFault unless `sender` is certified and signed these bytes."""
        self._registry.verify(sender, signed_bytes, signature)
