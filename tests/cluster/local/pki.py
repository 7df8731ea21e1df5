"""The cluster's certificate authority and the kubeconfigs of those who talk to its API server."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.local.layout import NODE, Layout

_VALIDITY = timedelta(days=365)


@dataclass(frozen=True)
class Client:
    """Someone who talks to the API server: user name, groups, and the addresses it serves on, if any."""

    user: str
    group: str | None = None
    addresses: tuple[str, ...] = ()


def clients(layout: Layout) -> dict[str, Client]:
    """Return who gets a certificate, by the name of its file."""
    services = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    node = (NODE, str(layout.node_ip))
    return {
        "admin": Client("admin", "system:masters"),
        "apiserver": Client(
            "kube-apiserver", None, (*services, "localhost", "127.0.0.1", str(layout.api_ip), str(layout.node_ip))
        ),
        "apiserver-kubelet-client": Client("kube-apiserver-kubelet-client", "system:masters"),
        "controller-manager": Client("system:kube-controller-manager"),
        "scheduler": Client("system:kube-scheduler"),
        "proxy": Client("system:kube-proxy"),
        "kubelet": Client(f"system:node:{NODE}", "system:nodes", node),
        "coredns": Client("system:coredns"),
    }


def write_pki(layout: Layout) -> None:
    """Write the authority, all certificates, the service accounts' key and all kubeconfigs."""
    folder = layout.state / "pki"
    folder.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(Client("dsd-test-ca"), authority_key, None, authority_key)
    _write(folder / "ca.crt", authority.public_bytes(serialization.Encoding.PEM))
    _write_key(folder / "ca.key", authority_key)
    for name, client in clients(layout).items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(client, key, authority, authority_key)
        _write(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(folder / f"{name}.key", key)
        path = layout.kubeconfig if name == "admin" else folder / f"{name}.kubeconfig"
        _write(path, _kubeconfig(layout, folder, name).encode())
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "sa.key", accounts)
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(folder / "sa.pub", public)


def _certificate(
    client: Client,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, client.user)]
    if client.group:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, client.group))
    subject = x509.Name(attributes)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        # Python 3.13 and later refuse a chain whose members do not name their issuer's key.
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(both, critical=False)
    if client.addresses:
        names = [_general_name(address) for address in client.addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _kubeconfig(layout: Layout, folder: Path, name: str) -> str:
    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    cluster = {"server": layout.server, "certificate-authority-data": data("ca.crt")}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": layout.name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": name}}],
            "current-context": layout.name,
        },
        sort_keys=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    form = serialization.PrivateFormat.PKCS8
    _write(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
