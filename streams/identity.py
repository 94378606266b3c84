"""Our own keys: which of them the federation certified last, hence which one signs.

Made by the wiring of a worker; its `sign` is what couriers sign with, `refresh` is called when the directory has changed.
Never signs with a key that the federation has not certified while it has certified one, and never reads keys but from the key file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from federation.errors import OwnFault
from federation.members.keys import KeyRing, PartyKeys
from streams.expiry import ExpiryWatch
from streams.parties import Parties
from streams.passphrases import passphrase
from streams.settings import PartySettings, read_private_file

KEEP_UP_S: Final = 1.0
_log: Final = structlog.get_logger(__name__)


def key_file(party: PartySettings) -> Callable[[], KeyRing]:
    """What reads a party's key file, now and again; the passphrase is asked for once. SettingsError if there is none."""
    known = passphrase(party.passphrase_file, what=f"the keys of {party.name}")

    def load() -> KeyRing:
        try:
            return KeyRing.unlocked(read_private_file(party.key_file), known)
        except OwnFault as fault:
            raise OwnFault(f"{party.key_file}: {fault}") from fault

    return load


class Identity:
    """One party's ring of keys, read again from its file when the federation certifies keys that are not on it."""

    def __init__(self, party: str, parties: Parties, load: Callable[[], KeyRing]) -> None:
        """`load` reads the key file: OwnFault or SettingsError if that fails."""
        self.party: Final = party
        self._parties: Final = parties
        self._load: Final = load
        self.ring: KeyRing = load()
        """Every key held."""
        self._signing: PartyKeys = self.ring.newest
        self._serial = 0
        self._expiry: Final = ExpiryWatch()

    @property
    def verify_key(self) -> bytes:
        """The public half of what `sign` signs with, 32 bytes."""
        return self._signing.verify_key

    def sign(self, signed: bytes) -> bytes:
        """The signature of our current key."""
        return self._signing.sign(signed)

    async def open(self) -> None:
        """As `keep_up`: for a worker that steps its parts."""
        await self.keep_up()

    async def step(self, _wait_ms: int) -> int:
        """Keep up once, after a while: what is said of anybody counts here within about a second. Warns when our certificate is about to expire."""
        await asyncio.sleep(KEEP_UP_S)
        await self.keep_up()
        self._expiry.look(self._parties.directory, time.time_ns() // 1_000_000, only=[self.party])
        return 0

    async def keep_up(self) -> None:
        """Read on who is who, then `refresh`; raises as the log and as that."""
        await self._parties.catch_up()
        await self.refresh()

    async def close(self) -> None:
        """Free the connection; `keep_up` takes it up again."""
        await self._parties.close()

    async def refresh(self) -> bool:
        """Go over to the key certified last; whether that is another one than before.

        OwnFault: it is not ours. Somebody else was certified under our name, or our key file is an old copy.
        """
        certified = self._parties.directory.certificates.get(self.party)
        if certified is None or certified[-1].serial == self._serial:
            return False
        newest = certified[-1]
        keys = self.ring.holding(newest.verify_key)
        if keys is None:
            self.ring = await asyncio.to_thread(self._load)  # A passphrase takes its time to be tried.
            keys = self.ring.holding(newest.verify_key)
        if keys is None or keys.sealing_key != newest.sealing_key:
            raise OwnFault(f"certificate {newest.serial} of {self.party} is for keys that are not in its key file: check party.key_file")
        changed, self._signing, self._serial = keys is not self._signing, keys, newest.serial
        if changed:
            _log.info("keys changed", party=self.party, certificate=newest.serial)
        return changed
