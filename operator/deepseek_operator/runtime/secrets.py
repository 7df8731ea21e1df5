"""What the operator keeps in Secrets for a deployment that rents: an authority for its engines, and their key.

Engines keep the key with which they were launched, and proxies the one with which they were started. So a key whose
Secret somebody deletes comes back as it was: it is remembered, and where nobody remembers it, it follows from the
authority. Of an authority only the certificate is remembered; the next one is another one, and stands beside it.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Known
from deepseek_operator.facts.names import authority_secret_name
from deepseek_operator.facts.store import Store
from deepseek_operator.facts.world import api_key_question, authority_question
from deepseek_operator.kube.errors import KubeRejectedError
from deepseek_operator.runtime.writes import KubeWrites

if TYPE_CHECKING:
    from deepseek_operator.launch.certificates import Authority

__all__ = ["OwnSecrets", "no_authority"]


@dataclass
class OwnSecrets:
    """Makes them, and makes them again."""

    writer: KubeWrites
    store: Store
    clock: Callable[[], datetime]

    async def ensure(self, deployment: DeepSeekDeployment, api_key: SecretKeyRef | None) -> "Authority":
        """Let both be there, and return the authority.

        Where somebody has deleted the Secret of the authority, the Secret of the next one holds the certificates of
        both, the new one first, so that engines that serve are believed as before. The key of the old one is gone with
        its Secret, so it signs nothing any more.

        Parameters
        ----------
        api_key
            Where the key of the engines is kept; None where the user gave one.

        Raises
        ------
        KubeError
            One of them could not be made or read, or holds something else.
        """
        authority = await self._authority(deployment)
        if api_key is not None:
            await self._api_key(deployment, api_key, authority)
        return authority

    async def _authority(self, deployment: DeepSeekDeployment) -> "Authority":
        # Here, because only rented machines need it, and the library behind it takes 11 MiB.
        from deepseek_operator.launch.certificates import Authority, make_authority

        metadata, now = deployment.metadata, self.clock()
        made = make_authority(f"deepseek-operator {metadata.namespace}/{metadata.name}", now)
        known = self.store.authority(deployment)
        believed = known.value if isinstance(known, Known) else ""
        parts = {"tls.crt": made.certificate + believed, "tls.key": made.private_key}
        secret = authority_secret_name(metadata.name)
        encoded = {key: _encoded(value) for key, value in parts.items()}
        body = await self.writer.ensure_secret(deployment, secret, "kubernetes.io/tls", encoded)
        try:
            kept = {key: base64.b64decode(body["data"][key]).decode() for key in parts}
        except (KeyError, ValueError) as error:
            raise KubeRejectedError(no_authority(metadata.name)) from error
        self.store.put_answer(authority_question(deployment), Known(kept["tls.crt"], now))
        return Authority(kept["tls.crt"], kept["tls.key"])

    async def _api_key(self, deployment: DeepSeekDeployment, reference: SecretKeyRef, authority: "Authority") -> None:
        """Make the key that engines ask for where the user gave none."""
        from deepseek_operator.launch.certificates import derive_api_key

        known = self.store.api_key(deployment)
        remembered = known.value.get_secret_value() if isinstance(known, Known) else ""
        data = {reference.key: _encoded(remembered or derive_api_key(authority))}
        body = await self.writer.ensure_secret(deployment, reference.name, "Opaque", data)
        kept = base64.b64decode((body.get("data") or {}).get(reference.key, "")).decode()
        self.store.put_answer(api_key_question(deployment), Known(SecretStr(kept), self.clock()))


def no_authority(name: str) -> str:
    """Return what is wrong with the Secret of the authority of the deployment ``name``."""
    secret = authority_secret_name(name)
    return f"Secret {secret} holds no certificate authority of this operator; delete it, and a new one is made"


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
