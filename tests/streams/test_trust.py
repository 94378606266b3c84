"""Neither side of a connection speaks with somebody it cannot verify: impostors in the broker's place, and bad certificates shown to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from riverbank.embedded.kafka import EmbeddedKafka, answers_metadata
from riverbank.provisioning.bundles import write_secret
from riverbank.provisioning.transport_certificates import certificate_pem, create_authority, key_pem
from streams.access import Principal
from streams.cluster_plan import Wanted
from streams.kafka import KafkaLog
from streams.ports import LogUnavailable, Outgoing, Position
from streams.settings import TlsSettings
from streams.tls import Tls, open_tls
from streams.topology import FEEDBACK, Role
from tests.pki import BROKER, DAY, Pki
from tests.streams.secured import Secured

PORTAL = Principal("holly-bank", Role.PORTAL)
RECORD = Outgoing(FEEDBACK.full_name(PORTAL.party), 0, b"k", b"who reads this?")


def self_signed(directory: Path) -> TlsSettings:
    """An authority's certificate, shown as if it were its own."""
    authority = create_authority("pki", serial=1, now=datetime.now(UTC), valid=DAY)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "own.crt").write_bytes(certificate_pem(authority.certificate))
    write_secret(directory / "own.key", key_pem(authority.key))
    return TlsSettings(ca_file=directory / "own.crt", cert_file=directory / "own.crt", key_file=directory / "own.key")


# --- who stands in the broker's place ------------------------------------------------------------------------------------
@asynccontextmanager
async def relay(shown: TlsSettings, to_port: int) -> AsyncIterator[tuple[str, bytearray]]:
    """A man in the middle who ends TLS with a certificate of his own: his address, and what he could read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.cert_file, shown.key_file)
    overheard = bytearray()

    async def pass_on(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            _, onward = await asyncio.open_connection("127.0.0.1", to_port)
            while piece := await client.read(65_536):
                overheard.extend(piece)
                onward.write(piece)
            onward.close()
        back.close()

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", overheard


@pytest.mark.broker
@pytest.mark.parametrize(
    ("impostor", "reason"),
    [
        ("another authority's", "self-signed certificate in certificate chain|unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("another host's", "certificate is not valid for '127.0.0.1'"),
        ("a member's", "unsuitable certificate purpose"),
    ],
)
async def test_a_man_in_the_middle_hears_nothing(secured: Secured, tmp_path: Path, impostor: str, reason: str):
    """Whatever he shows: writing and reading fail with the reason and the authorities' file, and not a byte of a record reaches him."""
    ours = secured.pki
    shown = {
        "another authority's": lambda: Pki(tmp_path / "other").broker().files,
        "self-signed": lambda: self_signed(tmp_path / "self"),
        "expired": lambda: ours.files(Principal("expired", Role.BROKER), hosts=("127.0.0.1",), life=(-20, -10)),
        "another host's": lambda: ours.files(Principal("elsewhere", Role.BROKER), hosts=("kafka.example", "127.0.0.2")),
        "a member's": lambda: ours.files(Principal("juniper-bank", Role.INSTITUTION), hosts=("127.0.0.1",)),
    }[impostor]()
    tls = ours.tls(PORTAL)
    async with relay(shown, secured.kafka.port) as (address, overheard):
        log = KafkaLog(address, tls=tls)
        for attempt in (log.append([RECORD]), log.reader([Position(RECORD.topic, 0, 0)])):
            with pytest.raises(LogUnavailable) as refused:
                await attempt
            assert f"{address} shows a certificate that authorities in {tls.files.ca_file} do not vouch for" in str(refused.value)
            assert pytest.RaisesExc(LogUnavailable, match=reason).matches(refused.value)
        await log.close()

    assert overheard == b""


async def test_a_server_without_tls_is_no_broker(tmp_path: Path):
    """It gets a greeting of the handshake and nothing more."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65_536))
        writer.write(b"\0\0\0\4\0\0\0\1")
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        log = KafkaLog(address, tls=Pki(tmp_path).tls(PORTAL))
        with pytest.raises(LogUnavailable, match=f"{address} does not speak TLS 1.3 with us: "):
            await log.append([RECORD])
        await log.close()
    assert heard.startswith(b"\x16\x03")
    assert RECORD.value not in heard


async def test_nobody_there_is_said_as_before(tmp_path: Path):
    """No talk of certificates where nobody listens."""
    log = KafkaLog("127.0.0.1:9", tls=Pki(tmp_path).tls(PORTAL))
    with pytest.raises(LogUnavailable, match=r"^no Kafka broker answers at 127\.0\.0\.1:9$"):
        await log.append([RECORD])
    await log.close()


# --- what the broker is shown --------------------------------------------------------------------------------------------
def shown_to(secured: Secured, files: TlsSettings, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Tls:
    """As `open_tls`, without its own look at the files: the broker has to notice."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(secured.pki.ca_file)
    context.load_cert_chain(files.cert_file, files.key_file)
    return Tls(context, PORTAL, files)


@pytest.mark.broker
@pytest.mark.parametrize("wrong", ["another authority's", "self-signed", "expired", "not valid yet", "another federation's"])
async def test_the_broker_refuses_a_bad_certificate(secured: Secured, tmp_path: Path, wrong: str):
    """Also when a client does not look at its own files: the sentence has the file, and that it was the broker who refused."""
    files = {
        "another authority's": lambda: Pki(tmp_path / "other").files(PORTAL),
        "self-signed": lambda: self_signed(tmp_path / "self"),
        "expired": lambda: secured.pki.files(Principal("ivy-bank", Role.PORTAL), life=(-20, -10)),
        "not valid yet": lambda: secured.pki.files(Principal("larch-bank", Role.PORTAL), life=(1, 10)),
        "another federation's": lambda: secured.pki.of_federation("elsewhere").files(PORTAL),
    }[wrong]()
    log = KafkaLog(secured.bootstrap, tls=shown_to(secured, files))

    with pytest.raises(LogUnavailable, match=rf"{secured.bootstrap} refuses {files.cert_file} \(holly-bank\.portal\): "):
        await log.append([RECORD])
    await log.close()


@pytest.mark.broker
async def test_the_broker_refuses_an_older_tls(secured: Secured):
    """And one without any certificate, and plain text."""
    older = KafkaLog(secured.bootstrap, tls=shown_to(secured, secured.pki.files(PORTAL), version=ssl.TLSVersion.TLSv1_2))
    plain = KafkaLog(secured.bootstrap)
    for log in (older, plain):
        with pytest.raises(LogUnavailable):
            await log.append([RECORD])
        await log.close()
    nameless = ssl.create_default_context(cafile=str(secured.pki.ca_file))
    assert not await answers_metadata(secured.kafka.port, tls=Tls(nameless, PORTAL, secured.pki.files(PORTAL)))
    assert await answers_metadata(secured.kafka.port, tls=secured.pki.tls(PORTAL))


@pytest.mark.broker
async def test_a_renewed_certificate_is_shown_without_a_restart(secured: Secured, tmp_path: Path):
    """New connections show what lies on the disk by then; files that do not fit together leave the old one in use."""
    await secured.apply(Wanted.own(PORTAL.party))
    renewing = Pki(tmp_path / "renewing")
    folder = renewing.files(PORTAL)  # Of an authority that the broker does not know: the old one.
    good = secured.pki.files(PORTAL)
    folder.ca_file.write_bytes(folder.ca_file.read_bytes() + good.ca_file.read_bytes())
    tls = open_tls(folder, PORTAL)
    log = KafkaLog(secured.bootstrap, tls=tls)
    with pytest.raises(LogUnavailable, match="refuses"):
        await log.append([RECORD])

    folder.cert_file.write_bytes(good.cert_file.read_bytes())
    with pytest.raises(LogUnavailable, match="refuses"):
        await log.append([RECORD])
    folder.key_file.write_bytes(good.key_file.read_bytes())

    assert len(await log.append([RECORD])) == 1
    await log.close()


@pytest.mark.broker
async def test_a_broker_with_an_expired_certificate_does_not_start(tmp_path: Path):
    """The file and the date; nothing is left running."""
    pki = Pki(tmp_path / "pki", life=(-20, -10))
    kafka = EmbeddedKafka(tmp_path / "kafka", tls=pki.broker())

    with pytest.raises(Exception, match=f"{pki.files(BROKER).cert_file}: CN=kafka,OU=broker,O=pki expired on"):
        await kafka.start()
    assert kafka.pid is None
