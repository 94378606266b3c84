"""A process's own TLS files are looked over before they are used; every refusal names the file and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from streams.access import Principal
from streams.settings import SettingsError, TlsSettings
from streams.tls import open_tls
from streams.topology import Role
from tests.pki import Pki

BANK = Principal("north-bank", Role.INSTITUTION)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def problem(files: TlsSettings, principal: Principal = BANK) -> str:
    with pytest.raises(SettingsError) as refused:
        open_tls(files, principal)
    (sentence,) = refused.value.problems
    return sentence


def test_good_files_are_opened(pki: Pki):
    """Host names are checked, TLS is 1.3, and the key does not show."""
    tls = open_tls(pki.files(BANK), BANK)

    assert tls is not None
    assert tls.context.check_hostname
    assert tls.context.minimum_version.name == "TLSv1_3"
    assert open_tls(None, BANK) is None


def test_an_expired_certificate(pki: Pki):
    """Which file, and since when."""
    files = pki.files(BANK, life=(-20, -10))

    assert problem(files).startswith(f"{files.cert_file}: CN=north-bank,OU=institution,O=pki expired on 20")


def test_a_certificate_of_tomorrow(pki: Pki):
    """Most often it is the clock."""
    files = pki.files(BANK, life=(1, 10))

    assert problem(files).startswith(f"{files.cert_file}: CN=north-bank,OU=institution,O=pki is valid from 20")
    assert problem(files).endswith("is the clock right?")


def test_another_authoritys_certificate(pki: Pki, tmp_path: Path):
    """Though everything else about it is right."""
    other = Pki(tmp_path / "other", "elsewhere").files(BANK)
    files = other.model_copy(update={"ca_file": pki.ca_file})

    assert problem(files) == (
        f"{files.cert_file}: signed by CN=elsewhere-tls,OU=authority,O=elsewhere, not by an authority in {files.ca_file}"
    )


def test_a_self_signed_certificate(pki: Pki, tmp_path: Path):
    """The authority's own, say."""
    files = pki.files(BANK).model_copy(update={"cert_file": Pki(tmp_path / "other").ca_file})

    with pytest.raises(SettingsError) as refused:
        open_tls(files, BANK)
    assert f"{files.cert_file}: signed by itself, not by an authority in {files.ca_file}" in refused.value.problems


@pytest.mark.parametrize("other", [Principal("south-bank", Role.INSTITUTION), Principal("north-bank", Role.PORTAL)])
def test_somebody_elses_certificate_in_the_wrong_place(pki: Pki, other: Principal):
    """Another party's, or another role's of the same party."""
    files = pki.files(other)

    assert problem(files) == (
        f"{files.cert_file}: is CN={other.party},OU={other.role.value},O=pki, not north-bank.institution's (CN=north-bank,OU=institution)"
    )


def test_a_swapped_key(pki: Pki):
    """The certificate is ours, the key is not."""
    files = pki.files(BANK).model_copy(update={"key_file": pki.files(Principal("south-bank", Role.INSTITUTION)).key_file})

    assert problem(files) == f"{files.key_file}: not the key of {files.cert_file}"


def test_files_that_are_no_files(pki: Pki, tmp_path: Path):
    """Missing, or not what they should be."""
    files = pki.files(BANK)
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o600)

    assert problem(files.model_copy(update={"ca_file": tmp_path / "none"})) == f"{tmp_path}/none: No such file or directory"
    assert problem(files.model_copy(update={"cert_file": tmp_path / "empty"})) == f"{tmp_path}/empty: holds no certificate in PEM"
    assert problem(files.model_copy(update={"key_file": tmp_path / "empty"})).startswith(f"{tmp_path}/empty: not a private key in PEM, or")


def test_a_key_that_others_may_read(pki: Pki):
    """Its mode is part of it."""
    files = pki.files(BANK)
    files.key_file.chmod(0o640)

    assert problem(files) == f"{files.key_file}: others may read it (mode 0640); run chmod 600 {files.key_file}"


def test_an_encrypted_key_needs_its_password(pki: Pki, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Without one nobody is asked at the terminal; a wrong one is not quoted."""
    files = pki.files(BANK)
    key = load_pem_private_key(files.key_file.read_bytes(), None)
    files.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"correct")))
    passwords = {word: tmp_path / word for word in ("correct", "mistaken")}
    for word, path in passwords.items():
        path.write_text(f"{word}\n")
        path.chmod(0o600)

    assert open_tls(files.model_copy(update={"password_file": passwords["correct"]}), BANK)
    assert problem(files).endswith("or an encrypted key, and no password_file says how to open it")
    wrong = problem(files.model_copy(update={"password_file": passwords["mistaken"]}))
    assert wrong.endswith(f"the password in {passwords['mistaken']} does not open it")
    assert capfd.readouterr() == ("", "")
