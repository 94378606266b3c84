"""Dealt keys lie in files that only their owner reads."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from federation.errors import OwnFault
from federation.secagg.paillier import KeyShare, PublicKey
from federation.secagg.paillier_dealer import deal_from
from riverbank.paillier import deal_files, write_key

MEMBERS = ("alfa", "beta", "gamma")


def entropy(count):
    return hashlib.shake_256(b"dealer").digest(count)


def never(_):
    pytest.fail("nothing may be drawn")


def test_each_holder_finds_his_share(tmp_path):
    """The public key and the shares are read back as they were dealt; shares are for their owner's eyes."""
    primes = json.loads((Path(__file__).parents[1] / "vectors" / "secagg" / "paillier_primes.json").read_text())["primes"]["512"]
    public, shares = deal_from(*(int(prime, 16) for prime in primes), threshold=2, members=3, entropy=entropy)
    path = write_key(tmp_path / "dealt", MEMBERS, public, shares)
    read = PublicKey.from_bytes(path.read_bytes(), bits_min=512)

    assert read == public
    for index, member in enumerate(MEMBERS, 1):
        file = tmp_path / "dealt" / member / "paillier.share"
        assert KeyShare.from_bytes(file.read_bytes(), read).index == index
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "dealt", MEMBERS, public, shares)


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": ("beta", "alfa", "gamma")}, {"members": ("alfa", "alfa", "beta")}, {"members": ("alfa", "beta")},
        {"members": ("../alfa", "beta", "gamma")}, {"members": ("", "beta", "gamma")}, {"members": ("Alfa", "beta", "gamma")},
        {"threshold": 1}, {"threshold": 4}, {"bits": 2048},
    ],
)  # fmt: skip
def test_what_cannot_be_dealt_is_refused_at_once(tmp_path, wrong):
    """Before a minute is spent on primes, and before a file is written."""
    asked = {"members": MEMBERS, "threshold": 2, "bits": 3072, **wrong}
    with pytest.raises(OwnFault):
        deal_files(tmp_path / "new", **asked, entropy=never)
    assert not (tmp_path / "new").exists()


def test_a_key_is_not_dealt_over_another(tmp_path):
    """A folder that exists is left alone."""
    with pytest.raises(OwnFault, match="never over another"):
        deal_files(tmp_path, members=MEMBERS, threshold=2, bits=3072, entropy=never)
