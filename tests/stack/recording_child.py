"""`riverbank`, with every byte that enters or leaves a TLS connection written down in the clear.

Started by the test of separate clusters: python recording_child.py FOLDER ARGUMENTS...
Never changes what is said: it writes down what the process gives to TLS and takes from it, one file for each peer and direction."""

from __future__ import annotations

import itertools
import os
import ssl
import sys
from pathlib import Path

from riverbank.cli import main

_numbers = itertools.count()


class Recording(ssl.SSLObject):
    """The boundary of encryption: asyncio passes all of a connection's data through here."""

    folder: Path  # Where to write; set before the first connection.

    def write(self, data):
        count = super().write(data)
        self._note("sent", bytes(data[:count]))
        return count

    def read(self, len=1024, buffer=None):  # noqa: A002 As in ssl.SSLObject.
        got = super().read(len, buffer)
        self._note("received", bytes(buffer[:got]) if buffer is not None else got)
        return got

    def _note(self, direction: str, data: bytes) -> None:
        # A file for each connection: pieces of two connections must not be mixed. Unbuffered: processes are killed.
        files = self.__dict__.setdefault("_files", {})
        if direction not in files:
            files[direction] = (self.folder / f"{self.server_hostname}.{direction}.{os.getpid()}.{next(_numbers)}").open("wb", buffering=0)
        files[direction].write(data)


if __name__ == "__main__":
    Recording.folder = Path(sys.argv[1])  # Not at import: whoever collects doctests imports this too.
    Recording.folder.mkdir(parents=True, exist_ok=True)
    ssl.SSLContext.sslobject_class = Recording
    sys.argv = ["riverbank", *sys.argv[2:]]
    main()
