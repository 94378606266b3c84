"""One process from start to stop: runs a coroutine, stops on a signal, and turns failures into one sentence and an exit code.

Called by the CLI for each worker and the portal.
Never waits for ever: what has not stopped ten seconds after the signal is killed, and correctness does not depend on it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from federation.errors import Broken, OwnFault
from streams.ports import LogRefused, LogUnavailable
from streams.settings import SettingsError

GRACE_S: Final = 10.0

EXIT_STOPPED: Final = 0  # The coroutine ended, or a signal ended it.
EXIT_FAILED: Final = 1  # Something it needs is away or wrong; one sentence says what.
EXIT_BROKEN: Final = 70  # A fault of ours: an invariant did not hold, or an exception nobody foresaw.

_EXPECTED: Final = (LogRefused, LogUnavailable, OwnFault, OSError, SettingsError)
_log = structlog.get_logger(__name__)


def run_until_signalled(work: Coroutine[Any, Any, None], *, grace_s: float = GRACE_S) -> int:
    """Run `work` to its end, or cancel it at SIGTERM or SIGINT; the exit code (EXIT_STOPPED, EXIT_FAILED or EXIT_BROKEN).

    After the first signal `work` has `grace_s` seconds for its `finally` blocks; then, and on a second signal, the process dies.
    """
    try:
        asyncio.run(_run(work, grace_s))
    except asyncio.CancelledError:
        return EXIT_STOPPED
    except _EXPECTED as error:
        # A sentence for a person, not a JSON line: most often somebody has just started this and looks at the terminal.
        sys.stderr.write(f"riverbank: {error}\n")
        return EXIT_FAILED
    except Broken as error:
        _log.critical("broken", reason=str(error), exc_info=True)
        return EXIT_BROKEN
    except Exception:  # noqa: BLE001 The last resort: nobody above could say more than this does.
        _log.exception("failed unexpectedly")
        return EXIT_BROKEN
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return EXIT_STOPPED


async def _run(work: Coroutine[Any, Any, None], grace_s: float) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop(number: signal.Signals) -> None:
        _log.info("stopping", signal=number.name)
        # The kernel's alarm, whose default is death, works however blocked the loop or a thread may be.
        signal.setitimer(signal.ITIMER_REAL, grace_s)
        for each in signals:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        task.cancel()

    for each in signals:
        loop.add_signal_handler(each, stop, each)
    await task
