"""kubectl as a child process: its contexts, credential plugins, proxies and time-outs are then ours as well."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

__all__ = ["DEPLOYMENTS", "FAILED_S", "Kubectl", "KubectlError", "Reading"]

DEPLOYMENTS: Final = "deepseekdeployments.deepseek-operator.io"
"""The kind as kubectl finds it whatever other groups call theirs."""
FAILED_S: Final = 10.0
"""Seconds until kubectl gives up on one request, unless ``--request-timeout`` says otherwise."""
GRACE_S: Final = 5.0
"""Seconds that kubectl gets beyond that to start and to end."""
_LEASH: Final = """
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ read -r _ <&3; kill "$child" 2>/dev/null; } >/dev/null 2>&1 &
wait "$child"
"""
_SECTION: Final = ("Error from server ", "error: ", "Error: ")


class KubectlError(Exception):
    """kubectl ended with an error.

    Attributes
    ----------
    message
        What kubectl wrote, without ``error:`` before it.
    reason
        ``NotFound``, ``Forbidden`` ... where the API server gave one, else empty.
    """

    def __init__(self, message: str) -> None:
        self.reason = ""
        if message.startswith("Error from server ("):
            self.reason = message.partition("(")[2].partition(")")[0]
        for words in _SECTION:
            message = message.removeprefix(words)
        said = message.removeprefix(f"({self.reason}): ")
        # What kubectl makes of an answer that is no Status, such as that of a gateway before the API server.
        super().__init__(f"the API server answered {self.reason} and no reason" if said == "unknown" else said)

    @property
    def message(self) -> str:
        """What kubectl wrote."""
        return str(self)

    @property
    def no_such_kind(self) -> bool:
        """Whether the API server does not know the kind: the CRD is not installed."""
        return (
            "doesn't have a resource type" in self.message or "the server could not find the requested" in self.message
        )


class Reading:
    """A kubectl that is running and whose output is wanted. Several run side by side."""

    def __init__(self, process: "subprocess.Popen[str]", timeout: float | None) -> None:
        self._process, self._timeout = process, timeout

    def text(self) -> str:
        """Return what it printed, once it has ended.

        Raises
        ------
        KubectlError
            If it ended with an error or not in time.
        """
        try:
            out, err = self._process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise KubectlError(f"kubectl did not answer within {self._timeout:g} s") from None
        except KeyboardInterrupt:
            self._process.kill()
            raise
        if self._process.returncode != 0:
            last = f"kubectl ended with status {self._process.returncode}"
            raise KubectlError(_said(err) or _said(out) or err.strip() or last)
        return out

    def json(self) -> Any:
        """Return what it printed as JSON."""
        text = self.text()
        try:
            return json.loads(text)
        except ValueError:
            raise KubectlError(f"kubectl printed no JSON: {text[:200].strip()}") from None

    def items(self) -> list[dict[str, Any]]:
        """Return the objects that it printed: those of a list, or the one."""
        body = self.json()
        return list(body["items"]) if "items" in body else [body]


class Kubectl:
    """kubectl with the flags that the user gave for it.

    Parameters
    ----------
    namespace
        Of ``--namespace``; None leaves it to the context.
    flags
        Flags that stand before every command: ``("--context", "prod")``.
    timeout
        Seconds until a request is given up.
    """

    def __init__(self, namespace: str | None = None, flags: Sequence[str] = (), timeout: float = FAILED_S) -> None:
        self.namespace, self._flags, self._timeout = namespace, tuple(flags), timeout
        self.program = os.environ.get("KUBECTL") or "kubectl"

    def within(self, namespace: str) -> "Kubectl":
        """Return the same for another namespace."""
        return Kubectl(namespace, self._flags, self._timeout)

    def words(self, *args: str) -> list[str]:
        """Return the whole command line, word by word."""
        place = ["--namespace", self.namespace] if self.namespace is not None else []
        return [self.program, *self._flags, *place, *args]

    def start(self, *args: str, stdin: str | None = None) -> Reading:
        """Start ``kubectl ARGS`` whose output is wanted."""
        limit = f"--request-timeout={self._timeout:g}s"
        process = self.spawn(limit, *args, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
        if stdin is not None and process.stdin is not None:
            with process.stdin as pipe:
                pipe.write(stdin)
            process.stdin = None
        return Reading(process, self._timeout + GRACE_S)

    def get(self, *args: str) -> Reading:
        """Start ``kubectl get ARGS -o json``."""
        return self.start("get", *args, "-o", "json")

    def spawn(self, *args: str, stdin: int | IO[str] = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """Start a kubectl that runs on, with its output on pipes."""
        return self._popen(self.words(*args), stdin, apart=False)

    def spawn_leashed(self, *args: str) -> "subprocess.Popen[str]":
        """Start a kubectl that the terminal's Ctrl-C does not reach, and that ends when its standard input is closed.

        Standard input is closed however this process ends, so nothing is left behind.
        """
        return self._popen(["sh", "-c", _LEASH, "sh", *self.words(*args)], subprocess.PIPE, apart=True)

    def _popen(self, words: list[str], stdin: int | IO[str], *, apart: bool) -> "subprocess.Popen[str]":
        try:
            return subprocess.Popen(
                words,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=apart,
            )
        except FileNotFoundError:
            raise KubectlError(f"{self.program} was not found; put kubectl on the PATH, or set KUBECTL to it") from None

    def current_namespace(self) -> str:
        """Return the namespace that commands are about: as given, else that of the context."""
        if self.namespace is not None:
            return self.namespace
        try:
            contexts: list[Any] = self.start("config", "view", "--minify", "-o", "json").json().get("contexts") or [{}]
        except KubectlError:  # inside a pod there is no kubeconfig
            return "default"
        return str((contexts[0].get("context") or {}).get("namespace") or "default")

    def deployment(self, name: str) -> Mapping[str, Any]:
        """Return one DeepSeekDeployment."""
        try:
            body: Mapping[str, Any] = self.get(DEPLOYMENTS, name).json()
        except KubectlError as error:
            raise self.explained(name, error) from None
        return body

    def explained(self, name: str, error: KubectlError) -> KubectlError:
        """Return the error of reading a deployment; NotFound with its namespace, and with those that have one."""
        if error.reason != "NotFound" or error.no_such_kind:
            return error
        try:
            every = self.get(DEPLOYMENTS, "--all-namespaces").items()
        except KubectlError:  # whoever may not see all namespaces
            every = []
        there = sorted(one["metadata"]["namespace"] for one in every if one["metadata"]["name"] == name)
        hint = f"; there is one in {', '.join(there)}: -n {there[0]}" if there else ""
        return KubectlError(f"no deployment {name} in namespace {self.current_namespace()}{hint}")


def _said(text: str) -> str:
    """Return the error that kubectl wrote, without warnings and log lines (``E1127 ...``) before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line for line in lines if not (line[:1] in "EWI" and line[1:5].isdigit()) and not line.startswith("Warning:")
    ]
    return "\n".join(kept)
