"""Who believes whom: keys and certificates, as far as it matters to whom they belong."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography import x509

from deepseek_operator.launch.script import TLS_VARIABLE
from tests.simulation.kubernetes import SimulatedKubernetes

__all__ = ["Identity", "Trust", "identity_of"]

_KEY = "VLLM_API_KEY"


@dataclass(frozen=True)
class Identity:
    """What an engine on a rented machine was launched with.

    Attributes
    ----------
    key
        The key that it asks for.
    signer
        The authority that has signed its certificate.
    names
        Whose certificate it is.
    """

    key: str
    signer: bytes
    names: tuple[str, ...]


@dataclass(frozen=True)
class Trust:
    """What a proxy was started with.

    Attributes
    ----------
    key
        The key that it adds; empty where clients bring their own.
    authorities
        Those whose certificates it believes.
    """

    key: str = ""
    authorities: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, kubernetes: SimulatedKubernetes, namespace: str, deployment: Mapping[str, Any]) -> "Trust | None":
        """Return what a pod of a Deployment reads when it starts; None while a Secret of it is missing."""
        spec, key = deployment["spec"]["template"]["spec"], ""
        for variable in spec["containers"][0]["env"]:
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                found = kubernetes.get("secrets", namespace, reference["name"])
                if found is None:
                    return None
                key = base64.b64decode(found["data"][reference["key"]]).decode()
        mounted = [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume]
        if not mounted:
            return cls(key)
        found = kubernetes.get("secrets", namespace, mounted[0])
        return cls(key, authorities(found["data"]["tls.crt"])) if found is not None else None

    def believes(self, identity: Identity | None) -> bool:
        """Return whether it sends requests to an engine."""
        return identity is None or identity.signer in self.authorities


def identity_of(task: Mapping[str, Any]) -> Identity | None:
    """Return what the engine of a task shows; None where it speaks no TLS."""
    secrets = task.get("secrets") or {}
    return _identity(secrets[TLS_VARIABLE], secrets[_KEY]) if TLS_VARIABLE in secrets else None


def _identity(encoded: str, key: str) -> Identity:
    certificate = x509.load_pem_x509_certificate(base64.b64decode(encoded))
    signer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return Identity(key, signer or b"", tuple(names.get_values_for_type(x509.DNSName)))


@lru_cache(maxsize=256)
def authorities(encoded: str) -> frozenset[bytes]:
    """Return the authorities in a file of their certificates, which is in base64."""
    return believed(base64.b64decode(encoded).decode())


@lru_cache(maxsize=256)
def believed(pem: str) -> frozenset[bytes]:
    """Return the authorities in a file of their certificates."""
    found = x509.load_pem_x509_certificates(pem.encode())
    return frozenset(one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest for one in found)
