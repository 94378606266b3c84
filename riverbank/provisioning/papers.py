"""Requests, answers and a CA key's successor as text files that a person may mail, and the fingerprint to compare by telephone.

Called by `authority` and `applicants`.
Never carries a private key: only these three messages can be written."""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path
from typing import Final, TypeVar

from federation.errors import OwnFault
from federation.ids import digest_of
from federation.messages import AuthorityRotated, CertificateAnswer, CertificateRequest, PartyCertified
from streams.codec import DecodeError, decode, encode

Paper = TypeVar("Paper", CertificateRequest, CertificateAnswer, AuthorityRotated)
_BYTES_MAX: Final = 1 << 20
_TITLES: Final = {
    CertificateRequest: "RIVERBANK CERTIFICATE REQUEST",
    CertificateAnswer: "RIVERBANK CERTIFICATE ANSWER",
    AuthorityRotated: "RIVERBANK AUTHORITY ROTATED",
}


def write_paper(path: Path, paper: CertificateRequest | CertificateAnswer | AuthorityRotated) -> None:
    """Base64 between two lines that say what it is."""
    title, body = _TITLES[type(paper)], base64.b64encode(encode(paper)).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((f"-----BEGIN {title}-----", *textwrap.wrap(body, 64), f"-----END {title}-----", "")))


def read_paper(path: Path, kind: type[Paper]) -> Paper:
    """The message in a file; OwnFault if it holds something else."""
    title = _TITLES[kind]
    try:
        text = path.read_text().strip()
        body = text.removeprefix(f"-----BEGIN {title}-----").removesuffix(f"-----END {title}-----")
        if len(text) - len(body) != len(title) * 2 + 30:
            raise OwnFault(f"{path}: not a {title.lower()}")
        message = decode(base64.b64decode("".join(body.split()), validate=True), (kind,), _BYTES_MAX)
    except OSError as error:
        raise OwnFault(f"{path}: {error.strerror}") from error
    except (ValueError, DecodeError):
        raise OwnFault(f"{path}: not a {title.lower()}, or it was changed on the way") from None
    if not isinstance(message, kind):
        raise OwnFault(f"{path}: not a {title.lower()}")
    return message


def read_published(path: Path) -> PartyCertified | AuthorityRotated:
    """What an operator publishes: the certificate in the CA's answer, or the CA key's successor; OwnFault as `read_paper`."""
    try:
        is_successor = path.read_text().startswith(f"-----BEGIN {_TITLES[AuthorityRotated]}-----")
    except (OSError, ValueError) as error:
        raise OwnFault(f"{path}: {error}") from error
    return read_paper(path, AuthorityRotated) if is_successor else read_paper(path, CertificateAnswer).certified


def digest_of_paper(paper: CertificateRequest | CertificateAnswer) -> bytes:
    """Its identity."""
    return digest_of(encode(paper))


def fingerprint(digest: bytes) -> str:
    """The first 20 bytes in groups, to be read out: what a telephone call compares."""
    return "-".join(digest[at : at + 4].hex() for at in range(0, 20, 4))
