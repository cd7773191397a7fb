"""Who is trusted, and that a renewed certificate is used without a new context."""

import asyncio
import ssl

import pytest
from conftest import Authority

from app.tls import Tls


async def _hello(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes, ssl.SSLObject]:
    """What a client reads from a server over one connection, and the client's side of it."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
        said, secured = await reader.read(), writer.get_extra_info("ssl_object")
        writer.close()
    return said, secured


def _serial(secured: ssl.SSLObject) -> int:
    return int(secured.getpeercert()["serialNumber"], 16)


def test_neighbours_of_the_same_authority_understand_each_other(tls):
    said, _ = asyncio.run(_hello(tls.server, tls.client))
    assert said == b"hello"


def test_who_asks_for_a_certificate_is_shown_one(tls):
    asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.files.roots)
    asking.load_cert_chain(tls.files.certificate)
    asking.verify_mode = ssl.CERT_REQUIRED
    said, _ = asyncio.run(_hello(asking, tls.client))
    assert said == b"hello"


def test_a_server_of_another_authority_is_refused(tls, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Authority().issue(elsewhere)
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(_hello(Tls(elsewhere).server, tls.client))


def test_a_root_that_is_dropped_is_trusted_no_longer(tls, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Authority().issue(elsewhere)
    (tmp_path / "ca.pem").write_bytes((elsewhere / "ca.pem").read_bytes())
    tls.reload()
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(_hello(tls.server, tls.client))
    assert asyncio.run(_hello(Tls(elsewhere).server, tls.client))[0] == b"hello"


def test_a_renewed_certificate_is_shown_by_the_same_server(tls, tmp_path, authority):
    before = _serial(asyncio.run(_hello(tls.server, tls.client))[1])
    renewed = authority.issue(tmp_path)
    assert _serial(asyncio.run(_hello(tls.server, tls.client))[1]) == before
    tls.reload()
    assert _serial(asyncio.run(_hello(tls.server, tls.client))[1]) == renewed != before


def test_a_file_that_is_no_good_changes_nothing(tls, tmp_path):
    before = _serial(asyncio.run(_hello(tls.server, tls.client))[1])
    (tmp_path / "tls.pem").write_text("half a file")
    with pytest.raises(OSError, match="PEM|NO_START_LINE"):
        tls.reload()
    assert _serial(asyncio.run(_hello(tls.server, tls.client))[1]) == before
