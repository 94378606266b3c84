"""Checks an evidence pack of Riverbank's, or a proof, with nothing but Python's standard library.

Run by whoever was handed one: python3 verify_evidence.py evidence.json --ca-key HEX [--witnesses N]
Never imports Riverbank: certificates, signatures, checkpoint, cosignatures, proofs and records are checked by the code below alone.

Exit 0: everything in the pack follows from records that the named parties signed and that the audit's checkpoint covers. Exit 1: something does not."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import struct
import sys
from pathlib import Path


class Wrong(Exception):
    """Something does not hold; one sentence."""


def need(holds, sentence):
    """Stop unless it holds."""
    if not holds:
        raise Wrong(sentence)


# --- Ed25519 verification (RFC 8032, section 6) --------------------------------------------------------------------
P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _add(one, two):
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % P, (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


def _point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _point(bytes([0x58]) + bytes([0x66]) * 31)


def signed_by(key, message, signature):
    """Whether `signature` is the Ed25519 signature of `message` under `key`."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    left, right = _times(s, BASE), _add(r, _times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- Avro, single-object encoded (Avro 1.12) -------------------------------------------------------------------------
def _crc_table():
    table = []
    for start in range(256):
        value = start
        for _ in range(8):
            value = value >> 1 ^ (0xC15D213AA4D7A795 if value & 1 else 0)
        table.append(value)
    return table


CRC = _crc_table()


def fingerprint_of(schema):
    """CRC-64-AVRO of a schema's canonical form."""
    value = 0xC15D213AA4D7A795
    for byte in schema.encode():
        value = value >> 8 ^ CRC[(value ^ byte) & 0xFF]
    return f"{value:016x}"


class Reader:
    """Decodes one value; every named type is remembered when it is first met."""

    def __init__(self, data):
        self.data, self.at, self.named = data, 0, {}

    def take(self, count):
        """The next bytes."""
        need(0 <= count <= len(self.data) - self.at, "a record ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def long(self):
        """A number in zigzag, least significant seven bits first."""
        shift = value = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value >> 1 ^ -(value & 1)

    def read(self, schema):
        """A value of this schema."""
        if isinstance(schema, list):
            return self.read(schema[self.long()])
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind in self.named:
            return self.read(self.named[kind])
        if isinstance(schema, dict) and "name" in schema:
            self.named[schema["name"]] = schema
        if kind == "record":
            return {field["name"]: self.read(field["type"]) for field in schema["fields"]}
        if kind in ("array", "map"):
            return self.blocks(schema, kind)
        if kind == "enum":
            return schema["symbols"][self.long()]
        if kind == "fixed":
            return self.take(schema["size"])
        if kind == "bytes":
            return self.take(self.long())
        if kind == "string":
            return self.take(self.long()).decode()
        if kind == "double":
            return struct.unpack("<d", self.take(8))[0]
        if kind == "boolean":
            return self.take(1) == b"\1"
        if kind == "null":
            return None
        need(kind in ("int", "long"), f"a schema has the unknown type {kind}")
        return self.long()

    def blocks(self, schema, kind):
        """An array or a map."""
        found = [] if kind == "array" else {}
        while count := self.long():
            need(count > 0, "an array is not in its canonical spelling")
            for _ in range(count):
                if kind == "array":
                    found.append(self.read(schema["items"]))
                else:
                    name = self.take(self.long()).decode()
                    found[name] = self.read(schema["values"])
        return found


def decoded(data, schemas):
    """(short name, value) of a single object."""
    need(data[:2] == b"\xc3\x01", "a record is not a single object")
    schema = schemas.get(data[2:10][::-1].hex())
    need(schema is not None, "the pack lacks the schema of a record")
    reader = Reader(data[10:])
    value = reader.read(schema)
    need(reader.at == len(reader.data), "bytes are left over behind a record")
    return schema["name"].rpartition(".")[2], value


def plain(value):
    """As the pack writes it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


# --- parties, checkpoint, proofs -------------------------------------------------------------------------------------
def framed(*parts):
    """Each part behind its length, 4 bytes little-endian."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def keys_of(pack, ca_key):
    """Party -> [(role, key)], of those whom the CA certified."""
    found = {}
    for each in pack["parties"]:
        numbers = [each[name].to_bytes(8, "little") for name in ("serial", "issued_at_ms", "expires_at_ms", "previous_until_ms")]
        key = bytes.fromhex(each["verify_key"])
        names = [each[name].encode() for name in ("federation", "party", "role")]
        signed = framed(b"riverbank/certificate/2", *names, *numbers, key, bytes.fromhex(each["sealing_key"]))
        need(each["federation"] == pack["federation"], f"{each['party']} is certified for another federation")
        need(signed_by(ca_key, signed, bytes.fromhex(each["certificate"])), f"the CA did not certify {each['party']}")
        found.setdefault(each["party"], []).append((each["role"], key))
    return found


def checkpoint_of(pack, parties):
    """(size, root, cosigning witnesses); the log's own signature must hold, cosignatures that do not are not counted."""
    stated, note = pack["checkpoint"], pack["checkpoint"]["note"]
    if not note:
        return stated["size"], bytes.fromhex(stated["root"]), None
    text, _, lines = note.partition("\n\n")
    origin, size, root = text.split("\n")
    text += "\n"
    federation, _, audit = origin.partition("/")
    need(federation == pack["federation"], "the checkpoint is of another federation")
    need(
        (stated["origin"], stated["size"], stated["root"]) == (origin, int(size), base64.b64decode(root).hex()),
        "the checkpoint is misstated",
    )
    signed, witnesses = False, set()
    for line in lines.splitlines():
        name, _, blob = line.removeprefix("\u2014 ").partition(" ")
        blob = base64.b64decode(blob)
        if name == origin:
            signed |= any(role == "audit" and signed_by(key, text.encode(), blob[4:]) for role, key in parties.get(audit, ()))
        elif len(blob) == 76:
            said = b"cosignature/v1\ntime %d\n" % int.from_bytes(blob[4:12], "big") + text.encode()
            if any(role == "institution" and signed_by(key, said, blob[12:]) for role, key in parties.get(name, ())):
                witnesses.add(name)
    need(signed, "the audit's signature on the checkpoint does not hold")
    return int(size), base64.b64decode(root), sorted(witnesses)


def node(left, right):
    """RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def included(leaf_data, index, size, path, root):
    """RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    here, last, found = index, size - 1, hashlib.sha256(b"\x00" + leaf_data).digest()
    for sibling in path:
        if last == 0:
            return False
        if here & 1 or here == last:
            found = node(sibling, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node(found, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and found == root


def blake(data):
    """BLAKE2b-256."""
    return hashlib.blake2b(data, digest_size=32).digest()


def opened(value, topic, pack, parties, schemas):
    """(sender, payload) of a signed record whose signature holds."""
    name, envelope = decoded(value, schemas)
    need(name == "SignedRecord", f"a {name} where a signed record belongs")
    names = (pack["federation"].encode(), topic.encode())
    said = b"riverbank-record-v1" + b"".join(len(each).to_bytes(2, "big") + each for each in names) + blake(envelope["payload"])
    keys = [key for _, key in parties.get(envelope["sender"], ())]
    need(any(signed_by(key, said, envelope["signature"]) for key in keys), f"the signature of {envelope['sender']} does not hold")
    return envelope["sender"], envelope["payload"]


def check_exhibit(exhibit, checkpoint, pack, parties, schemas):
    """One entry: under the checkpoint, judged good when it was written, and about the very record that the pack shows."""
    entry, leaf = exhibit["entry"], base64.b64decode(exhibit["entry"]["leaf_data"])
    path = [bytes.fromhex(each) for each in entry["path"]]
    where = f"entry {entry['sequence']}"
    need(included(leaf, entry["sequence"], checkpoint[0], path, checkpoint[1]), f"{where} is not under the checkpoint")
    need(int.from_bytes(leaf[:8], "big") == entry["sequence"], f"{where} says that it is another one")
    name, logged = decoded(leaf[40:], schemas)
    need(name == "LoggedRecord" and not logged["reason"], f"{where} was refused when it was written")
    if exhibit["topic"]:
        actor, payload = opened(logged["value"], logged["topic"], pack, parties, schemas)
        _, audited = decoded(payload, schemas)
        value = base64.b64decode(exhibit["value"])
        need(audited["entry_id"] == blake(exhibit["topic"].encode() + b"\0" + value), f"{where} is about another record")
        sender, said = opened(value, exhibit["topic"], pack, parties, schemas)
        need(sender == actor == audited["actor"], f"{where} was written by another party than the record")
    else:
        said = logged["value"]
    kind, message = decoded(said, schemas)
    need((kind, plain(message)) == (exhibit["kind"], exhibit["says"]), f"{where} says something else than the pack")
    return kind, message


def check_release(facts, said):
    """The facts of a release follow from its records."""
    released = next(each for kind, each in said if kind in ("ModelPublished", "GroupsMerged") and each["version"] == facts["version"])
    sums = [each for kind, each in said if kind in ("ModelPublished", "SumOpened")]
    rosters = [each for kind, each in said if kind == "EpochRoster"]
    opened_ = [each for kind, each in said if kind == "RoundOpened"]
    need(facts["head"] == released["head"] and facts["round"] == released["round"], "head or round are misstated")
    need(facts["contributors"] == sorted({name for each in sums for name in each["contributors"]}), "the contributors are misstated")
    need(facts["customers"] == sum(each["customers"] for each in sums), "the number of customers is misstated")
    need(facts["epsilon"] == released["epsilon"], "epsilon is misstated")
    need(facts["model_digest"] == released["model_digest"].hex(), "the model is misstated")
    need(facts["thresholds"] == sorted({each["threshold"] for each in rosters}), "the threshold is misstated")
    need(facts["survivors_min"] == sorted({each["survivors_min"] for each in opened_}), "the least number of survivors is misstated")
    need(facts["published_at_ms"] == released["published_at_ms"], "the time of publication is misstated")


def main():
    """Check what was named on the command line; the exit code."""
    parser = argparse.ArgumentParser(description="Checks an evidence pack of Riverbank's with Python's standard library alone.")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--ca-key", required=True, help="the federation CA's verify key, 64 hexadecimal digits, from somebody you trust")
    parser.add_argument("--witnesses", type=int, default=0, help="fail unless so many institutions cosigned the checkpoint")
    asked = parser.parse_args()
    try:
        pack = json.loads(asked.pack.read_text(encoding="utf-8"))
        need(pack["form"] == "riverbank-evidence/1", "not an evidence pack of this form")
        parties = keys_of(pack, bytes.fromhex(asked.ca_key))
        for fingerprint, schema in pack["schemas"].items():
            need(fingerprint_of(schema) == fingerprint, f"schema {fingerprint} has another fingerprint")
        schemas = {fingerprint: json.loads(schema) for fingerprint, schema in pack["schemas"].items()}
        checkpoint = checkpoint_of(pack, parties)
        said = [check_exhibit(exhibit, checkpoint, pack, parties, schemas) for exhibit in pack["exhibits"]]
        if "version" in pack["facts"]:
            check_release(pack["facts"], said)
        witnesses = checkpoint[2]
        need(len(witnesses or ()) >= asked.witnesses, f"{len(witnesses or ())} witnesses cosigned, {asked.witnesses} were asked for")
    except Wrong as wrong:
        print(f"WRONG: {wrong}")
        return 1
    except (KeyError, IndexError, TypeError, ValueError, OSError, StopIteration) as error:
        print(f"WRONG: the pack cannot be read ({type(error).__name__}: {error})")
        return 1
    print(f"{pack['about']}: {len(said)} records, each in the audit's tree of {checkpoint[0]} entries")
    print(
        "this ledger is signed by nobody: compare its root with its owner's"
        if witnesses is None
        else f"cosigned by {', '.join(witnesses) or 'nobody'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
