"""How a process is watched: metrics, whether it lives, whether it is ready, on a port of its own.

Opened by each process's `run()` where [ops] names a port; asked by Prometheus, Kubernetes, Docker and systemd's timers.
Never answers from the event loop: a thread does, so that a loop that hangs is seen to hang."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from streams import telemetry
from streams.settings import OpsSettings

BEAT_S: Final = 0.5
# A learner's turn takes a tenth of a second. Twenty times the worst stall seen on an overloaded machine: what lives must not be killed for being slow.
LIVE_S: Final = 10.0
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """When the loop last turned, and what the process says of its parts."""

    def __init__(self, monotonic: Callable[[], float], parts: Callable[[], Mapping[str, bool]]) -> None:
        self._monotonic: Final = monotonic
        self._parts: Final = parts
        self._beat_s = monotonic()

    def beat(self) -> None:
        """The loop turns."""
        self._beat_s = self._monotonic()

    def live(self) -> tuple[bool, dict[str, object]]:
        """Whether the loop turned within LIVE_S, and the document that says so."""
        silent_s = self._monotonic() - self._beat_s
        return silent_s < LIVE_S, {"status": "live" if silent_s < LIVE_S else "stuck", "silent_seconds": round(silent_s, 1)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether it lives and every part said that it has what it needs; none has before the first turn."""
        live, _ = self.live()
        checks = {"loop": live, **self._parts()}
        ready = len(checks) > 1 and all(checks.values())
        return ready, {"status": "ready" if ready else "not ready", "checks": checks}


def degraded_parts() -> dict[str, bool]:
    """Part -> whether it has what it needs, as `riverbank_degraded` says."""
    return {sample.labels["part"]: sample.value == 0 for metric in telemetry.DEGRADED.collect() for sample in metric.samples}


def open_ops(settings: OpsSettings, parts: Callable[[], Mapping[str, bool]] = degraded_parts) -> int | None:
    """Serve /metrics, /health/live and /health/ready until the process ends; the port, or None where none is asked for.

    To be called in the event loop that is watched. OSError if the port is taken.
    """
    if settings.port is None:
        return None
    health, loop = Health(time.monotonic, parts), asyncio.get_running_loop()

    def beat() -> None:
        health.beat()
        loop.call_later(BEAT_S, beat)

    beat()
    server = ThreadingHTTPServer((settings.host, settings.port), _handler(health))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="ops", daemon=True).start()
    return int(server.server_port)


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # Seconds; who connects and says nothing holds a thread no longer.

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, _TEXT, telemetry.rendered_metrics())
            elif path in {"/health/live", "/health/ready"}:
                well, document = health.live() if path == "/health/live" else health.ready()
                status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "application/json", json.dumps(document).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /health/live, /health/ready\n")

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: whoever asks every few seconds would fill the log."""

    return Handler
