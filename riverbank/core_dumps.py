"""No core dumps: a dump of a process's memory holds its private keys.

Called by the command line before anything is read.
Never undone: a process that must be looked into is looked into by root."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def forbid_core_dumps() -> None:
    """For this process; its children inherit the limit, and forbid the rest for themselves. OSError if the kernel refuses.

    Two locks, because a limit of 0 does not bind a kernel that pipes dumps to a program (core(5): systemd-coredump, apport). A process that
    is not dumpable is not traced either, nor is its environment, in which a passphrase may be, read by others of the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"cannot forbid core dumps: {os.strerror(ctypes.get_errno())}")
