"""Writes golden/<message>.<fingerprint>.hex for today's schemas: the example of tests/streams/examples.py, encoded.

Run by hand after a schema has changed: `python -m tests.streams.make_golden`.
Never changes a file that is there: what an earlier version wrote must stay readable."""

from __future__ import annotations

from pathlib import Path

from streams.codec import encode, fingerprint
from tests.streams.examples import KINDS, example

GOLDEN = Path(__file__).with_name("golden")


def main() -> None:
    """Add the files that are missing."""
    for kind in KINDS:
        path = GOLDEN / f"{kind.__name__}.{fingerprint(kind)}.hex"
        if not path.exists():
            path.write_text(encode(example(kind)).hex() + "\n")


if __name__ == "__main__":
    main()
