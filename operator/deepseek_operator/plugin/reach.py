"""The way to an engine: a port-forward to the head of a replica that answers, or to the proxy of rented ones."""

import base64
import binascii
import os
import re
import select
import subprocess
import threading
from types import TracebackType
from typing import Final, Self

from deepseek_operator.plugin.kubectl import Kubectl, KubectlError
from deepseek_operator.plugin.objects import Deployment, Node, Replica
from deepseek_operator.plugin.status import read

__all__ = ["KEY_VARIABLE", "Reach"]

KEY_VARIABLE: Final = "DEEPSEEK_API_KEY"
"""Environment variable with the key for a deployment's API, for whoever may not read its Secret."""
_PROXY_PORT: Final = "8080"
"""Port of the pods of a proxy, which adds key and TLS; as in launch/proxy.py, which takes too long to import."""
_OPENED_S: Final = 20.0
"""Seconds for kubectl port-forward to say that it listens."""
_LISTENS: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


class Reach:
    """Leads to one deployment; opened again when what it led to is gone.

    ``kubectl port-forward service/NAME`` cannot be used: it needs the selector of a Service, and the Service of a
    deployment has none, because it leads to the replicas that answer the operator's own probe. The forward goes to the
    head pod of one of those.
    """

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self._kubectl, self._name = kubectl, name
        self._process: subprocess.Popen[str] | None = None
        self._address = ("", 0)
        self._key: str | None = None
        self.target = ""
        """What it leads to, for people."""

    def __enter__(self) -> Self:
        """Do nothing until it is needed."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End the port-forward."""
        self.close()

    def close(self) -> None:
        """End the port-forward."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    @property
    def key(self) -> str | None:
        """The key that requests must bring; known once an address was asked for."""
        return self._key

    def address(self) -> tuple[str, int]:
        """Return host and port at which the engine answers now.

        Raises
        ------
        KubectlError
            If no replica answers, or none can be reached.
        """
        if self._address[1] and (self._process is None or self._process.poll() is None):
            return self._address
        self.close()
        (deployment,) = read(self._kubectl, self._name)
        here = self._kubectl.within(deployment.namespace)
        self._key = self._key or _key(here, deployment)
        replica, node = _choose(deployment)
        port = str(replica.address).rpartition(":")[2]
        if node is None:
            proxy = f"deployment/{deployment.name}-proxy"
            self.target, self._address = proxy, ("127.0.0.1", self._forward(here, proxy, _PROXY_PORT))
        else:
            self.target, self._address = node.name, ("127.0.0.1", self._forward(here, f"pod/{node.name}", port))
        return self._address

    def _forward(self, kubectl: Kubectl, to: str, port: str) -> int:
        words = ("port-forward", to, f":{port}", "--address", "127.0.0.1")
        process = self._process = kubectl.spawn_leashed(*words)
        assert process.stdout is not None
        assert process.stderr is not None
        ready, _, _ = select.select([process.stdout], [], [], _OPENED_S)
        line = process.stdout.readline() if ready else ""
        match = _LISTENS.match(line)
        if match is None:
            self._process = None
            _end(process)
            said = process.stderr.read().strip()
            raise KubectlError(said or f"kubectl port-forward did not listen within {_OPENED_S:g} s")
        # It writes a line for each connection, and would stop when nobody reads them.
        for pipe in (process.stdout, process.stderr):
            threading.Thread(target=pipe.read, daemon=True).start()
        return int(match[1])


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _choose(deployment: Deployment) -> tuple[Replica, Node | None]:
    """Return a replica that answers and its head; None for a rented one, to which only the proxy leads."""
    ready = [replica for replica in deployment.replicas if replica.ready and replica.address]
    for replica in ready:
        head = next((node for node in replica.nodes if node.rank == 0 and node.running), None)
        if head is not None or replica.rented:
            return replica, None if replica.rented else head
    if ready:
        raise KubectlError(f"the pods of {deployment.name} cannot be seen, and a port-forward needs one")
    why = f"{deployment.reason}: {deployment.message}" if deployment.reason else "no operator has looked at it"
    raise KubectlError(f"no replica of {deployment.name} answers: {why}")


def _key(kubectl: Kubectl, deployment: Deployment) -> str | None:
    """Return the key of the API: of the environment, else of the Secret that the spec names."""
    given = os.environ.get(KEY_VARIABLE, "").strip()
    if given or deployment.api_key is None:
        return _usable(given, KEY_VARIABLE) if given else None
    name, key = str(deployment.api_key.get("name")), str(deployment.api_key.get("key", "token"))
    try:
        data = kubectl.get("secrets", name).json().get("data") or {}
        return _usable(base64.b64decode(data[key]).decode().strip(), f"key {key} of the Secret {name}")
    except KubectlError as error:
        raise KubectlError(f"the API key cannot be read ({error.message}); set {KEY_VARIABLE} to it") from error
    except (KeyError, binascii.Error, UnicodeDecodeError):
        raise KubectlError(f"the Secret {name} has no key {key} with text; set {KEY_VARIABLE}") from None


def _usable(key: str, where: str) -> str:
    """Return a key that a request can bring; else say what it is, without a word of it."""
    if key.isascii() and key.isprintable():
        return key
    raise KubectlError(f"{where} is no API key: it has line breaks, or characters beyond ASCII")
