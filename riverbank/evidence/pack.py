"""The evidence pack: JSON with proofs, a page to print, and the script that checks it, in one folder.

Called by `riverbank audit export` with what `release` or `decision` gathered.
Never states a fact that the records beside it do not bear out."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from audit.proofs import EntryProof, Prover
from federation.messages import PartyCertified
from streams.codec import fingerprint
from streams.schemas import canonical_form, expanded

FORM: Final = "riverbank-evidence/1"
JSON_FILE: Final = "evidence.json"
HTML_FILE: Final = "evidence.html"
PDF_FILE: Final = "evidence.pdf"
VERIFIER: Final = "verify_evidence.py"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_PDF_WITHIN_S: Final = 60


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One entry of the audit, and the record it is about: `topic` and `value` as they lay in Kafka (none for an action), `message` what it says."""

    proof: EntryProof
    message: Any
    topic: str = ""
    value: bytes = b""


def b64(data: bytes) -> str:
    """Standard base64 text."""
    return base64.b64encode(data).decode()


def plain(value: Any) -> Any:
    """A message as JSON: digests and keys in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, tuple | list) else value


def contents(
    about: str, federation: str, facts: Mapping[str, Any], exhibits: Iterable[Exhibit], prover: Prover, parties: Iterable[PartyCertified], kinds: Iterable[type],
) -> dict[str, Any]:  # fmt: skip
    """The pack as JSON. `kinds`: the messages that a checker has to decode."""
    return {
        "form": FORM,
        "about": about,
        "federation": federation,
        "facts": dict(facts),
        "checkpoint": {
            "note": prover.note,
            "origin": prover.checkpoint.origin,
            "size": prover.checkpoint.size,
            "root": prover.checkpoint.root.hex(),
        },
        "exhibits": [
            {
                "kind": type(exhibit.message).__name__,
                "says": plain(exhibit.message),
                "topic": exhibit.topic,
                "value": b64(exhibit.value),
                "entry": {
                    "sequence": exhibit.proof.sequence,
                    "leaf_data": b64(exhibit.proof.leaf_data),
                    "path": [each.hex() for each in exhibit.proof.path],
                },
            }
            for exhibit in exhibits
        ],
        "parties": [plain(each) for each in parties],
        "schemas": {fingerprint(kind): canonical_form(expanded(kind.__name__)) for kind in kinds},
    }


def write_pack(folder: Path, pack: Mapping[str, Any]) -> list[Path]:
    """The files written: JSON, HTML, the verifier, and a PDF where a Chromium is at hand. FileExistsError rather than overwriting."""
    folder.mkdir(parents=True)
    (folder / JSON_FILE).write_text(json.dumps(pack, indent=1) + "\n")
    page = Environment(loader=PackageLoader("riverbank.evidence"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    (folder / HTML_FILE).write_text(page.get_template("evidence.html").render(pack=pack))
    shutil.copyfile(Path(__file__).with_name(VERIFIER), folder / VERIFIER)
    return [folder / JSON_FILE, folder / HTML_FILE, folder / VERIFIER, *_printed(folder)]


def _printed(folder: Path) -> list[Path]:
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return []
    pdf = folder / PDF_FILE
    argv = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={pdf}"]
    done = subprocess.run([*argv, (folder / HTML_FILE).resolve().as_uri()], capture_output=True, timeout=_PDF_WITHIN_S, check=False)
    return [pdf] if done.returncode == 0 and pdf.exists() else []
