"""Jars are the pinned ones, whole, and fetched once.

Run against a small repository on this machine.
Never touches the network."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from jgo.maven import MavenContext

from riverbank.embedded.jars import Jar, JarsError, cache_directory, fetch_jars, pinned_jars
from riverbank.embedded.kafka import free_port

_BYTES = {"/org/example/one/1.0/one-1.0.jar": b"first jar", "/org/example/two/2.0/two-2.0.jar": b"second jar"}
_ONE = Jar(hashlib.sha256(b"first jar").hexdigest(), "org.example", "one", "1.0")
_TWO = Jar(hashlib.sha256(b"second jar").hexdigest(), "org.example", "two", "2.0")


class _Repository(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[str] = []

    def context(self) -> MavenContext:
        return MavenContext(remote_repos={"here": f"http://127.0.0.1:{self.server_port}"}, local_repos=[], timeout=2)


class _Answer(BaseHTTPRequestHandler):
    server: _Repository

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        time.sleep(0.02)
        body = _BYTES.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Silence is what a test wants."""


@pytest.fixture
def repository() -> Iterator[_Repository]:
    with _Repository() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_missing_jars_are_fetched_and_then_kept(repository: _Repository, tmp_path: Path) -> None:
    """The class path is in the order asked for; a second call asks nobody."""
    paths = fetch_jars(tmp_path, [_TWO, _ONE], repository.context())
    asked = len(repository.asked)

    assert [path.read_bytes() for path in paths] == [b"second jar", b"first jar"]
    assert fetch_jars(tmp_path, [_TWO, _ONE], repository.context()) == paths
    assert len(repository.asked) == asked
    assert sorted(path.name for path in (tmp_path / "jars").iterdir()) == [".lock", "one-1.0.jar", "two-2.0.jar"]


def test_a_jar_with_other_bytes_is_refused(repository: _Repository, tmp_path: Path) -> None:
    """Whatever the repository says, bytes that are not the pinned ones never get a jar's name."""
    with pytest.raises(JarsError, match=r"one-1.0.jar is not the pinned one"):
        fetch_jars(tmp_path, [Jar("00" * 32, "org.example", "one", "1.0")], repository.context())

    assert [path.name for path in (tmp_path / "jars").iterdir()] == [".lock"]


def test_a_jar_that_the_repository_lacks_is_one_sentence(repository: _Repository, tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(JarsError, match=r"three-3.0.jar cannot be fetched"):
        fetch_jars(tmp_path, [Jar("00" * 32, "org.example", "three", "3.0")], repository.context())


def test_offline_is_one_sentence(tmp_path: Path) -> None:
    """Nobody answers: the sentence says where the jars should be and asks about the network."""
    nobody = MavenContext(remote_repos={"gone": f"http://127.0.0.1:{free_port()}"}, local_repos=[], timeout=1)

    with pytest.raises(JarsError, match="cannot be fetched, is this machine offline"):
        fetch_jars(tmp_path, [_ONE], nobody)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "jars").write_text("")

    with pytest.raises(JarsError, match="Kafka's jars are not in"):
        fetch_jars(tmp_path, [_ONE])


def test_two_at_once_fetch_each_jar_once(repository: _Repository, tmp_path: Path) -> None:
    """The second waits for the first and finds everything there."""
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(fetch_jars, tmp_path, [_ONE, _TWO], repository.context()) for _ in range(2)]
        paths = [call.result() for call in calls]

    assert paths[0] == paths[1]
    assert sorted(path for path in repository.asked if path.endswith(".jar")) == sorted(_BYTES)


def test_every_jar_is_pinned_once_and_kafka_is_the_version_we_say() -> None:
    """jars.lock has one version per artifact, full hashes, and Kafka 4.2.0 among them."""
    jars = pinned_jars()

    assert len({(jar.group, jar.artifact) for jar in jars}) == len(jars) == len({jar.file_name for jar in jars})
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.2.0"}


def test_the_cache_is_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RIVERBANK_CACHE decides, then XDG_CACHE_HOME, then the home directory."""
    monkeypatch.setenv("RIVERBANK_CACHE", str(tmp_path / "mine"))
    assert cache_directory() == tmp_path / "mine"
    monkeypatch.delenv("RIVERBANK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "riverbank"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache" / "riverbank"
