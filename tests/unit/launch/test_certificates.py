"""Certificates of engines on rented machines, judged by the verifier of the library, which is as strict as browsers."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from deepseek_operator.launch.certificates import (
    AUTHORITY_LIFETIME,
    Authority,
    derive_api_key,
    engine_identity,
    make_authority,
)
from deepseek_operator.launch.script import CERTIFICATE_LIFETIME

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NAMES = ("r1-0.serving", "r1-0")
AUTHORITY = make_authority("serving/r1", NOW)


def shown(authority: Authority = AUTHORITY) -> x509.Certificate:
    """The certificate that an engine shows."""
    return x509.load_pem_x509_certificate(base64.b64decode(engine_identity(authority, NAMES, NOW)))


def verify(certificate: x509.Certificate, authority: Authority, name: str, at: datetime) -> None:
    """Raise unless a client that trusts the authority takes the certificate for that of ``name``."""
    trusted = x509.load_pem_x509_certificates(authority.certificate.encode())
    verifier = PolicyBuilder().store(Store(trusted)).time(at).build_server_verifier(x509.DNSName(name))
    verifier.verify(certificate, [])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "after", [timedelta(hours=-23), timedelta(), CERTIFICATE_LIFETIME - timedelta(seconds=1)], ids=str
)
def test_an_engine_is_believed_under_its_names_while_its_certificate_lasts(name: str, after: timedelta) -> None:
    """Also where the clock of a machine is behind."""
    verify(shown(), AUTHORITY, name, NOW + after)


@pytest.mark.parametrize(
    ("name", "at"),
    [("r1-1.serving", NOW), (NAMES[0], NOW + CERTIFICATE_LIFETIME + timedelta(seconds=1))],
    ids=["another name", "too late"],
)
def test_it_is_not_believed_under(name: str, at: datetime) -> None:
    with pytest.raises(VerificationError):
        verify(shown(), AUTHORITY, name, at)


def test_another_deployment_believes_none_of_its_engines() -> None:
    with pytest.raises(VerificationError):
        verify(shown(), make_authority("serving/r2", NOW), NAMES[0], NOW)


def test_an_engine_can_sign_for_nobody_else() -> None:
    pem = base64.b64decode(engine_identity(AUTHORITY, NAMES, NOW))
    key = serialization.load_pem_private_key(pem, password=None)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    stolen = Authority(pem.decode(), private.decode())
    forged = x509.load_pem_x509_certificate(base64.b64decode(engine_identity(stolen, ("r1-9",), NOW)))
    trusted = x509.load_pem_x509_certificates(AUTHORITY.certificate.encode())
    verifier = PolicyBuilder().store(Store(trusted)).time(NOW).build_server_verifier(x509.DNSName("r1-9"))
    with pytest.raises(VerificationError):
        verifier.verify(forged, [shown()])


def test_certificates_are_used_for_what_they_are_for() -> None:
    authority = x509.load_pem_x509_certificate(AUTHORITY.certificate.encode())
    uses = [one.extensions.get_extension_for_class(x509.KeyUsage).value for one in (authority, shown())]
    assert [(one.key_cert_sign, one.crl_sign, one.digital_signature) for one in uses] == [
        (True, True, False),
        (False, False, True),
    ]


def test_an_authority_outlives_what_it_signs_by_years() -> None:
    authority = x509.load_pem_x509_certificate(AUTHORITY.certificate.encode())
    assert authority.not_valid_after_utc == NOW + AUTHORITY_LIFETIME
    assert AUTHORITY_LIFETIME > 2 * CERTIFICATE_LIFETIME


def test_no_private_key_shows_where_an_authority_is_printed() -> None:
    assert "PRIVATE KEY" not in repr(AUTHORITY)


def test_the_api_key_is_always_the_same_of_an_authority_and_no_other_has_it() -> None:
    found = derive_api_key(AUTHORITY)
    assert found == derive_api_key(AUTHORITY) != derive_api_key(make_authority("serving/r1", NOW))
    assert len(base64.urlsafe_b64decode(found + "=")) == 32


def test_a_key_of_another_kind_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(ValueError, match="not one of this operator"):
        engine_identity(Authority(AUTHORITY.certificate, pem.decode()), NAMES, NOW)
