"""Certificates of engines on rented machines.

Each deployment has a certificate authority of its own, which signs for nobody else: whoever steals one can speak for
the replicas of one deployment only. An engine's certificate names the replica, because nobody knows the address of a
machine before it is rented, and because the address of a machine that is gone may be given to a stranger.

Imported only where a machine is rented: the library behind it takes 11 MiB.
"""

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deepseek_operator.launch.script import CERTIFICATE_LIFETIME

__all__ = ["AUTHORITY_LIFETIME", "Authority", "derive_api_key", "engine_identity", "make_authority"]

AUTHORITY_LIFETIME: Final = timedelta(days=3650)
EARLIER: Final = timedelta(days=1)
"""How much earlier than now certificates begin to be valid: clocks of machines differ."""


@dataclass(frozen=True)
class Authority:
    """The certificate authority of one deployment, both parts as PEM.

    Attributes
    ----------
    certificate
        Its own, which may be followed by those of earlier authorities of the deployment.
    """

    certificate: str
    private_key: str = field(repr=False)


def make_authority(name: str, now: datetime) -> Authority:
    """Return a new authority. ``name`` is for people who look at a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    certificate = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _key_pem(key))


def derive_api_key(authority: Authority) -> str:
    """Return the key that engines ask for: always the same one of an authority, and nobody else can find it."""
    derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"deepseek-operator API key")
    return base64.urlsafe_b64encode(derivation.derive(authority.private_key.encode())).decode().rstrip("=")


def engine_identity(authority: Authority, names: tuple[str, ...], now: datetime) -> str:
    """Return a new private key and a certificate for ``names``, as one PEM file in one line of base64.

    Raises
    ------
    ValueError
        The authority cannot be read.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.private_key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("the key of the certificate authority is not one of this operator")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), now, CERTIFICATE_LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return base64.b64encode((_key_pem(key) + _pem(certificate)).encode()).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
