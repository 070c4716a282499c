"""A certificate authority for the loopback address, and the CA bundle for clients."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = dt.timedelta(days=365)
_RENEW_BEFORE = dt.timedelta(days=7)
_DEBIAN_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Certificates:
    """Paths of the PEM files."""

    bundle: Path
    """The system's CAs and ours, so that pip and curl can still reach other hosts."""
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """The TLS context of the server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def ensure_certificates(directory: Path) -> Certificates:
    """Create the files in `directory`, or reuse those that are still valid."""
    directory.mkdir(parents=True, exist_ok=True)
    certificates = Certificates(
        bundle=directory / "ca-bundle.pem",
        certificate=directory / "server.pem",
        key=directory / "server.key",
    )
    if not _is_valid(certificates):
        _create(certificates)
    return certificates


def _is_valid(certificates: Certificates) -> bool:
    if not all(
        p.exists() for p in (certificates.bundle, certificates.certificate, certificates.key)
    ):
        return False
    leaf = x509.load_pem_x509_certificate(certificates.certificate.read_bytes())
    return leaf.not_valid_after_utc > dt.datetime.now(dt.UTC) + _RENEW_BEFORE


def _create(certificates: Certificates) -> None:
    # The CA's key is used once and discarded, so that it cannot issue further certificates.
    ca_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _authority(ca_key)
    leaf = _leaf(leaf_key, ca, ca_key)
    pem = serialization.Encoding.PEM
    certificates.key.touch(mode=0o600)
    certificates.key.write_bytes(
        leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificates.certificate.write_bytes(leaf.public_bytes(pem))
    certificates.bundle.write_bytes(_system_authorities() + ca.public_bytes(pem))


def _system_authorities() -> bytes:
    configured = ssl.get_default_verify_paths().cafile  # honours SSL_CERT_FILE
    for path in (Path(configured) if configured else None, _DEBIAN_BUNDLE):
        if path is not None and path.exists():
            return path.read_bytes().rstrip() + b"\n"
    return b""


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
    )


# The extensions are those that Python's ssl, requests, aiohttp, curl and OpenSSL require.
def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("Local Azure simulator CA")
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    return (
        _builder(key)
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    return (
        _builder(key)
        .subject_name(_name("127.0.0.1"))
        .issuer_name(ca.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
