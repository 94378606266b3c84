"""Hosts of their own for a test: network namespaces with a switch between them where this machine allows, else loopback addresses.

Used by the test of separate clusters.
Never leaves a namespace behind, and never touches the network of the machine itself."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class Host:
    """A thread with an event loop of its own, inside the host's namespace if there is one; children started there are on the host too."""

    def __init__(self, name: str, address: str, namespace: str | None) -> None:
        self.name, self.address, self.namespace = name, address, namespace
        self.loop = asyncio.new_event_loop()
        entered = threading.Event()

        def live() -> None:
            if namespace is not None:
                with Path("/run/netns", namespace).open("rb") as file:
                    assert _LIBC.setns(file.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            entered.set()
            self.loop.run_forever()

        self._thread = threading.Thread(target=live, name=name, daemon=True)
        self._thread.start()
        assert entered.wait(10)

    def do(self, work: Coroutine[Any, Any, T], timeout_s: float = 120) -> T:
        """Run a coroutine there; its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def call(self, work: Callable[[], T]) -> T:
        """Call a function there, in the loop's thread."""

        async def called() -> T:
            return work()

        return self.do(called())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S607 Wherever this machine has it.


def namespaces_allowed() -> bool:
    """Whether this machine lets us make network namespaces and links; tried, not guessed."""
    if shutil.which("ip") is None:
        return False
    name = f"rb{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError:
        return False
    try:
        _ip("-n", name, "link", "add", "name", "one", "type", "veth", "peer", "name", "other")
        _ip("-n", name, "link", "add", "name", "switch", "type", "bridge")
    except subprocess.CalledProcessError:
        return False
    finally:
        _ip("netns", "del", name)
    return True


@contextmanager
def network(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """A host for each name, all on one network that nobody else is on."""
    with ExitStack() as stack:
        if namespaces_allowed():
            places = _namespaces(names, stack)
        else:
            places = {name: (f"127.0.1.{number}", None) for number, name in enumerate(names, start=1)}
        hosts = {}
        for name, (address, namespace) in places.items():
            hosts[name] = Host(name, address, namespace)
            stack.callback(hosts[name].close)
        yield hosts


def _namespaces(names: Sequence[str], stack: ExitStack) -> dict[str, tuple[str, str | None]]:
    prefix = f"rb{os.getpid()}"
    switch = f"{prefix}-switch"
    _ip("netns", "add", switch)
    stack.callback(_ip, "netns", "del", switch)
    _ip("-n", switch, "link", "add", "name", "switch", "type", "bridge")
    _ip("-n", switch, "link", "set", "switch", "up")
    places: dict[str, tuple[str, str | None]] = {}
    for number, name in enumerate(names, start=1):
        namespace, address = f"{prefix}-{number}", f"10.87.0.{number}"
        _ip("netns", "add", namespace)
        stack.callback(_ip, "netns", "del", namespace)
        _ip("-n", switch, "link", "add", "name", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("-n", switch, "link", "set", f"port{number}", "master", "switch", "up")
        _ip("-n", namespace, "link", "set", "eth0", "addrgenmode", "none")  # No IPv6: its own chatter would look like traffic.
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", link, "up")
        places[name] = (address, namespace)
    return places


class Capture:
    """What leaves a host's network card, packet by packet: where to, and how many bytes of TCP; needs a namespace."""

    _OUTGOING = 4  # linux/if_packet.h: PACKET_OUTGOING.
    _ALL, _IPV4, _ARP, _TCP = 3, 0x0800, 0x0806, 6

    def __init__(self, host: Host) -> None:
        self._socket = host.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self._ALL)))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing may be dropped.
        self._socket.bind(("eth0", 0))
        self._socket.settimeout(0.2)
        self._dropped = 0
        self.others: set[str] = set()
        self._segments: dict[tuple[str, int, int], dict[int, int]] = defaultdict(dict)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Listen no more; how many packets were dropped unseen."""
        self._stop.set()
        self._thread.join(10)
        if self._socket.fileno() >= 0:
            _seen, self._dropped = struct.unpack("II", self._socket.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS.
            self._socket.close()
        return self._dropped

    def connections(self) -> dict[tuple[str, int], int]:
        """(address, port) spoken to -> how many connections."""
        found: dict[tuple[str, int], int] = defaultdict(int)
        for address, port, _source in self._segments:
            found[address, port] += 1
        return dict(found)

    def sent_bytes(self) -> int:
        """TCP payload that left, repeated segments once."""
        return sum(sum(segments.values()) for segments in self._segments.values())

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                packet, (_card, kind, direction, *_) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if direction == self._OUTGOING and kind != self._ARP:
                self._note(packet[14:], kind)

    def _note(self, packet: bytes, kind: int) -> None:
        if kind != self._IPV4 or packet[9] != self._TCP:
            self.others.add(f"ethertype {kind:#06x}, protocol {packet[9]}")
            return
        header = (packet[0] & 15) * 4
        (total,) = struct.unpack_from(">H", packet, 2)
        source, port, sequence = struct.unpack_from(">HHI", packet, header)
        payload = total - header - (packet[header + 12] >> 4) * 4
        segments = self._segments[socket.inet_ntoa(packet[16:20]), port, source]
        if payload > 0:
            segments[sequence] = max(payload, segments.get(sequence, 0))
