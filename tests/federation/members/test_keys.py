"""Keys on a ring, and the ring in a locked file."""

from __future__ import annotations

import pytest

from federation.errors import OwnFault
from federation.members.keys import RING_MAX, KeyRing
from federation.members.locking import LEAST, MODERATE, Cost, lock, unlock
from federation.secagg.keys import Secret
from tests.credentials import entropy_of, keys_of

PASSPHRASE = b"correct horse battery staple"
OLD, NEW = keys_of("old"), keys_of("new")


def locked(ring, passphrase=PASSPHRASE):
    return ring.locked(passphrase, cost=LEAST, entropy=entropy_of("salt"))


def test_a_ring_goes_into_a_file_and_comes_out():
    """In the order in which the keys were drawn."""
    ring = KeyRing((OLD,)).with_newer(NEW)

    assert KeyRing.unlocked(locked(ring), PASSPHRASE) == ring
    assert ring.newest == NEW
    assert ring.holding(OLD.verify_key) == OLD
    assert ring.holding(keys_of("neither").verify_key) is None
    assert ring.sealing_secrets == (NEW.sealing_secret, OLD.sealing_secret)
    assert ring.from_on(NEW.verify_key) == KeyRing((NEW,))


def test_no_key_is_in_the_file_nor_in_a_repr():
    """Neither as bytes nor as hexadecimal digits."""
    ring = KeyRing((OLD, NEW))
    content, shown = locked(ring), repr(ring)
    for keys in ring.keys:
        for secret in (keys.signing_seed.reveal(), keys.sealing_secret.reveal()):
            assert secret not in content
            assert secret.hex() not in shown


def test_the_wrong_passphrase_opens_nothing():
    """Nor does a changed byte anywhere, the cost in the first line included; the error quotes nothing of the file."""
    content = locked(KeyRing((OLD,)))
    with pytest.raises(OwnFault, match="the passphrase does not open it, or it was changed"):
        KeyRing.unlocked(content, b"incorrect horse battery staple")
    for at in (content.index(b"=1") + 1, content.index(b"\n") + 1, len(content) - 1):
        changed = content[:at] + bytes([content[at] ^ 3]) + content[at + 1 :]
        with pytest.raises(OwnFault, match="does not open it"):
            KeyRing.unlocked(changed, PASSPHRASE)
    for other in (b"", b"riverbank party keys 2\n" + bytes(64), content[:80], content.replace(b"argon2id", b"argon2i")):
        with pytest.raises(OwnFault, match="locked file"):
            KeyRing.unlocked(other, PASSPHRASE)


def test_what_was_locked_and_is_no_ring_is_refused():
    """Another kind of secret does not pass for keys, and is not quoted."""
    for plain in (b"", b"something else", b"riverbank party keys 2\n" + bytes(63), b"riverbank party keys 2\n"):
        with pytest.raises(OwnFault) as refused:
            KeyRing.unlocked(lock(Secret(plain), Secret(PASSPHRASE), cost=LEAST, entropy=entropy_of("x")), PASSPHRASE)
        assert "something" not in str(refused.value)


def test_a_short_passphrase_is_not_taken():
    """Fifteen characters at least; an existing file is opened whatever it was locked with."""
    with pytest.raises(OwnFault, match="at least 15 characters"):
        locked(KeyRing((OLD,)), b"fourteen chars")


def test_a_file_cannot_ask_for_a_cost_without_bounds():
    """Its first line is read before anything is authenticated: it must not make us fill the memory."""
    for cost in (b"operations=1 memory=99999999999", b"operations=9999999 memory=8192"):
        content = b"riverbank locked 1 argon2id " + cost + b"\n" + bytes(100)
        with pytest.raises(OwnFault):
            unlock(content, Secret(PASSPHRASE))
    with pytest.raises(OwnFault, match="not a cost"):
        Cost(0, 8192)
    assert (MODERATE.operations, MODERATE.memory_bytes) == (3, 268_435_456)


def test_a_ring_is_neither_empty_nor_a_drawer():
    """Keys that nobody uses any more are taken off."""
    with pytest.raises(OwnFault):
        KeyRing(())
    with pytest.raises(OwnFault):
        KeyRing((OLD,) * (RING_MAX + 1))
    with pytest.raises(OwnFault, match="not on the ring"):
        KeyRing((OLD,)).from_on(NEW.verify_key)
