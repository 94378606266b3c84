"""Passwords: what may be one, and argon2id (RFC 9106) over them.

Called by `web.identity.login` and wherever a password is chosen.
Never hashes on the event loop, never more than a few at once, and never less for somebody unknown than for somebody known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from streams.ports import Entropy

# OWASP's password storage cheat sheet asks for 19 MiB and two passes at least; ours takes about a twentieth of a second.
MEMORY_BYTES: Final = 48 * 2**20
PASSES: Final = 2
AT_ONCE: Final = 2
LENGTH_MIN_ALONE: Final = 15
"""NIST SP 800-63B-4, 3.1.1.2: where the password is the only factor."""
LENGTH_MIN_WITH_CODE: Final = 8
LENGTH_MAX: Final = 256


@cache
def common_passwords() -> frozenset[str]:
    """The 30,000 commonest, from leaks (zxcvbn's list)."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 A megabyte that only who sets a password needs.

    return frozenset(FREQUENCY_LISTS["passwords"])


class Passwords:
    """Hashing with these parameters; `length_min` is the policy's."""

    def __init__(self, length_min: int, entropy: Entropy, *, memory_bytes: int = MEMORY_BYTES, passes: int = PASSES) -> None:
        self.length_min = length_min
        self.hashings = 0
        self._memory_bytes = memory_bytes
        self._passes = passes
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")
        self._nobodys = self._hash(entropy(16).hex())

    def problem(self, password: str, about: Sequence[str] = ()) -> str | None:
        """Why this may not be a password, in a sentence, or None. `about`: words an attacker would try first, such as the person's name."""
        if len(password) < self.length_min:
            return f"Use {self.length_min} characters or more; a few words that do not belong together are easy to remember."
        if len(password) > LENGTH_MAX:
            return f"Use {LENGTH_MAX} characters or fewer."
        lowered = password.lower()
        if lowered in common_passwords() or len(set(lowered)) < 4:
            return "This is one of the passwords that are tried first; use another one."
        rest = lowered
        for word in about:
            if len(word) >= 3:
                rest = rest.replace(word.lower(), "")
        if rest != lowered and len(rest) < self.length_min // 2:
            return "This is little more than your name, your address or the institution's; use another one."
        return None

    async def hashed(self, password: str) -> str:
        """argon2id's encoded hash, with a salt of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hash, password)

    async def matches(self, known: str | None, password: str) -> bool:
        """Whether it is the password; without a `known` hash the same work is done, for nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, known, password)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=True)

    def _hash(self, password: str) -> str:
        self.hashings += 1
        # The salt is libsodium's own, from the operating system.
        return argon2id.str(password.encode(), self._passes, self._memory_bytes).decode()

    def _verify(self, known: str | None, password: str) -> bool:
        self.hashings += 1
        try:
            argon2id.verify((known or self._nobodys).encode(), password.encode())
        except InvalidkeyError:
            return False
        return known is not None
