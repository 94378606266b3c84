"""Checkpoints as the C2SP forms have them: read back, refused when anything is changed, cosigned by those who watch."""

from __future__ import annotations

import base64

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from audit.checkpoints import Checkpoint, NoteError, cosigned, key_id, parsed, signed, verified, witnesses_of
from federation.errors import OwnFault

LOG, WITNESS = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
CHECKPOINT = Checkpoint("riverbank.test/audit", 42, bytes(range(32)))


def verify(key: bytes, said: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(said, signature)
    except BadSignatureError:
        return False
    return True


def note(checkpoint: Checkpoint = CHECKPOINT) -> str:
    return signed(checkpoint, verify_key=bytes(LOG.verify_key), sign=lambda said: LOG.sign(said).signature)


def opened(text: str) -> Checkpoint:
    return verified(text, origin=CHECKPOINT.origin, verify_key=bytes(LOG.verify_key), verify=verify)


def test_a_note_looks_as_the_form_says():
    lines = note().split("\n")
    assert lines[:4] == ["riverbank.test/audit", "42", base64.b64encode(bytes(range(32))).decode(), ""]
    assert lines[4].startswith("\u2014 riverbank.test/audit ")
    assert lines[5:] == [""]


def test_the_key_id_is_that_of_the_forms_own_example():
    # C2SP signed-note, "Verifier keys": the example key of its specification.
    name, number, rest = "PeterNeumann", "c74f20a3", "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = base64.b64decode(rest)
    assert key_id(name, key[:1], key[1:]).hex() == number


def test_a_signed_checkpoint_is_read_back():
    assert opened(note()) == CHECKPOINT


def test_every_changed_character_is_refused():
    text = note()
    for at, character in enumerate(text):
        for other in ("A" if character != "A" else "B", ""):
            with pytest.raises((NoteError, OwnFault)):
                opened(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("42", "042"),
        lambda text: text.replace("42", "+42"),
        lambda text: text + "\u2014 x\n",
        lambda text: text[:-1],
    ],
)
def test_other_spellings_of_the_same_are_refused(change):
    with pytest.raises(NoteError):
        opened(change(note()))


def test_another_logs_note_is_refused():
    other = Checkpoint("elsewhere.test/audit", 42, bytes(32))
    with pytest.raises(NoteError, match="is of the log elsewhere"):
        opened(signed(other, verify_key=bytes(LOG.verify_key), sign=lambda said: LOG.sign(said).signature))


def test_a_note_by_another_key_is_refused():
    text = signed(CHECKPOINT, verify_key=bytes(WITNESS.verify_key), sign=lambda said: WITNESS.sign(said).signature)
    with pytest.raises(NoteError, match="no signature by the known key"):
        opened(text)


def test_a_witness_is_counted_only_if_its_cosignature_holds():
    line = cosigned(
        CHECKPOINT,
        witness="alder-bank",
        verify_key=bytes(WITNESS.verify_key),
        at_s=1_700_000_000,
        sign=lambda said: WITNESS.sign(said).signature,
    )
    keys = {"alder-bank": bytes(WITNESS.verify_key)}
    assert witnesses_of(note() + line, keys, verify) == {"alder-bank": 1_700_000_000}
    assert opened(note() + line) == CHECKPOINT
    assert witnesses_of(note() + line, {"alder-bank": bytes(LOG.verify_key)}, verify) == {}
    other = Checkpoint(CHECKPOINT.origin, 43, CHECKPOINT.root)
    assert witnesses_of(note(other) + line, keys, verify) == {}
    assert parsed(note() + line)[0] == CHECKPOINT


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "line\nbreak"])
def test_a_name_that_would_break_the_form_is_refused(origin: str):
    with pytest.raises(OwnFault):
        Checkpoint(origin, 1, bytes(32))
