"""The page through TLS: requests, WebSockets, and nothing in the clear."""

from __future__ import annotations

import datetime
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.client import connect

from bimetal.web.serving import Site, new_token
from tests.control.homes import LIMIT, Homes
from tests.web.conftest import serving

LOCAL = ip_address("127.0.0.1")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this host that it has signed itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "desk")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOCAL)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_the_page_through_tls(homes: Homes, certificate: Path) -> None:
    homes.machines.define(homes.text("echo", homes.echo))
    homes.machines.start("echo")
    trusting = ssl.create_default_context(cafile=str(certificate))
    made = Site(homes.machines, "0.0.0.0:0", new_token(), certificate=str(certificate))
    with serving(made) as site:
        assert site.address.startswith("https://localhost:")
        place = f"127.0.0.1:{urlsplit(site.address).port}"
        headers = {"Authorization": f"Bearer {site.token}", "Origin": f"https://{place}"}
        https = HTTPSConnection(place, timeout=LIMIT, context=trusting)
        https.request("GET", "/api/list", headers=headers)
        assert b'"echo"' in https.getresponse().read()
        https.request("GET", "/api/list", headers={**headers, "Origin": f"http://{place}"})
        assert https.getresponse().status == 403
        https.close()
        with connect(
            f"wss://{place}/api/machines/echo/console",
            ssl=trusting,
            subprotocols=["bimetal", f"token.{site.token}"],  # type: ignore[list-item]
            compression=None,
        ) as console:
            console.send(b"x")
            assert console.recv(LIMIT) == b"x"
        clear = HTTPConnection(place, timeout=LIMIT)
        clear.request("GET", "/api/list", headers=headers)
        with pytest.raises((HTTPException, ConnectionError)):
            clear.getresponse()
        clear.close()
