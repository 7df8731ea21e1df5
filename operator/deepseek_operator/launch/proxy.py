"""The proxy between a Service and engines that clients cannot speak to themselves: HAProxy, its settings and its pods.

Clients in the cluster speak plain HTTP without a key. Engines on rented machines want TLS and a key, so something has
to add both. It finds the engines by DNS: the operator writes them into the EndpointSlices of two headless Services, one
for engines in the cluster and one for those that answer over TLS, and HAProxy asks for their SRV records every second.
So engines come and go without a new configuration, and the proxy goes on where no operator runs.

The configuration holds no secrets: the key is a variable of the container, the authority a mounted file.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from deepseek_operator.api.names import LABEL_UID
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.facts.kubernetes import COMPONENT, PROXY
from deepseek_operator.facts.names import authority_secret_name, members_service, proxy_name, shared_server_name
from deepseek_operator.launch.proxy_pod import ProxyPod

__all__ = [
    "CONFIG_KEY",
    "OBSOLETE_S",
    "PROXY_PATH",
    "PROXY_PORT",
    "REQUESTS",
    "ProxySettings",
    "ProxySpec",
    "haproxy_config",
    "pod_template",
    "proxy_revision",
    "proxy_selector",
]

PROXY_PORT: Final = 8080
PROXY_PATH: Final = "/deepseek-operator/proxy"
"""Answers 200 while the proxy has an engine to send requests to."""
CONFIG_KEY: Final = "haproxy.cfg"
CONFIG_FOLDER: Final = "/etc/deepseek-proxy"
AUTHORITY_FILE: Final = "/etc/deepseek-proxy-ca/ca.crt"
GRACE_S: Final = 3600
"""Seconds that running requests get when a proxy is replaced."""
LEAVE_S: Final = 5
"""Seconds for which a proxy that goes takes new requests: kube-proxy needs a moment on each node."""
CONNECTIONS: Final = 4096
"""Connections of clients that a proxy takes."""
REQUESTS: Final = 1024
"""Requests that a proxy has running at once, streams among them."""
SLOTS: Final = 128
"""Engines of each kind that a proxy can hold: 100 replicas, and some that come or go."""

_CONFIG: Final = """\
global
  # Connections that ask nothing are cheap, and while no more are taken nobody hears that the proxy is well, either.
  maxconn {connections}
  # A request is repeated at another engine only if all of it is still in the buffer.
  tune.bufsize 262144
  hard-stop-after {grace}s
  ssl-default-server-options ssl-min-ver TLSv1.2

defaults
  mode http
  timeout connect 2s
  timeout http-request 60s
  timeout http-keep-alive 60s
  timeout queue 30s
  # Answers stream for as long as they take.
  timeout client 1h
  timeout server 1h
  timeout check 4s
  # A machine that is lost says nothing any more: who waits for its answer is told after 25 s, and not after an hour.
  option srvtcpka
  srvtcpka-idle 10s
  srvtcpka-intvl 5s
  srvtcpka-cnt 3
  # Without it pieces of a streamed answer wait for each other.
  option http-no-delay
  option abortonclose
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response 503

resolvers cluster
  nameserver dns "tcp@${{NAMESERVER}}"
  accepted_payload_size 65535
  resolve_retries 3
  timeout resolve 1s
  timeout retry 1s
  hold valid 1s
  # An engine that leaves one name as another one enters the other name stays until that one is known as well.
  hold obsolete {obsolete}s
  # What a DNS server says of a name that the last engine has left.
  hold nx {obsolete}s
  hold other {obsolete}s
  # While none answers, everything stays as it is: engines that die are noticed by the checks.
  hold timeout 1h
  hold refused 1h

frontend http
  # All addresses of the pod: its own is one of IPv6 in a cluster that has no other.
  bind "${{LISTEN}}" v4v6
  monitor-uri {path}
  monitor fail if {{ nbsrv(engines) lt 1 }}
  # Each holds buffers, of which the pod's memory has no more. Clients ask again, and the other proxy may have room.
  acl full be_conn(engines) ge {requests}
  http-request return status 503 content-type text/plain string "the proxy is full" hdr Retry-After 1 if full
  default_backend engines

backend engines
  balance leastconn
  option httpchk
  http-check send meth GET uri {health} ver HTTP/1.1 hdr Host engine
  http-check expect status 200
"""
OBSOLETE_S: Final = 10
_KEY: Final = '  http-request set-header Authorization "Bearer ${ENGINE_KEY}"\n'
_COMMON: Final = "check inter 1s fall 2 rise 1 resolvers cluster resolve-prefer ipv4 init-addr none"

_START: Final = f"""\
for domain in $(sed -n 's/^search //p' /etc/resolv.conf); do
  case "$domain" in "$NAMESPACE".svc|"$NAMESPACE".svc.*) MEMBERS_DOMAIN="$domain"; break ;; esac
done
: "${{MEMBERS_DOMAIN:?the pod has no search domain of its namespace}}"
NAMESERVER="$(sed -n 's/^nameserver //p' /etc/resolv.conf | head -n 1)"
case "$NAMESERVER" in *:*) NAMESERVER="[$NAMESERVER]" ;; esac
NAMESERVER="$NAMESERVER:53"
LISTEN=":{PROXY_PORT}"
if [ -e /proc/net/if_inet6 ]; then LISTEN="[::]:{PROXY_PORT}"; fi
export MEMBERS_DOMAIN NAMESERVER LISTEN
exec haproxy -db -f {CONFIG_FOLDER}/{CONFIG_KEY}
"""


@dataclass(frozen=True)
class ProxySettings:
    """What the operator was started with.

    Attributes
    ----------
    image
        Has ``haproxy`` 2.6 or newer, ``sh``, ``sed`` and ``head``, and stops on SIGUSR1.
    """

    image: str = "docker.io/library/haproxy:2.6-bookworm"
    replicas: int = 2
    pod: ProxyPod = field(default_factory=ProxyPod)


@dataclass(frozen=True)
class ProxySpec:
    """The proxy of one deployment.

    Attributes
    ----------
    name
        Name of the deployment.
    encrypted
        Engines may answer over TLS.
    authority
        Stands for the certificate of the authority, which HAProxy reads when it starts and never again: another one
        needs other pods.
    api_key
        Key that is added to each request; None: requests go on as they come.
    """

    name: str
    uid: str
    namespace: str
    health_path: str
    settings: ProxySettings
    encrypted: bool = False
    authority: str = ""
    api_key: SecretKeyRef | None = None


def haproxy_config(spec: ProxySpec, *, authority_file: str = AUTHORITY_FILE) -> str:
    """Return HAProxy's configuration. Its variables are set where the container starts."""
    text = _CONFIG.format(
        connections=CONNECTIONS,
        requests=REQUESTS,
        grace=GRACE_S,
        obsolete=OBSOLETE_S,
        path=PROXY_PATH,
        health=spec.health_path,
    )
    if spec.api_key is not None:
        text += _KEY
    text += _servers(spec, encrypted=False) + "\n"
    if spec.encrypted:
        name = shared_server_name(spec.uid)
        tls = f"ssl verify required ca-file {authority_file} verifyhost {name} sni str({name}) check-sni {name}"
        text += f"{_servers(spec, encrypted=True)} {tls}\n"
    return text


def _servers(spec: ProxySpec, *, encrypted: bool) -> str:
    kind = "tls" if encrypted else "plain"
    name = f'"_http._tcp.{members_service(spec.name, encrypted=encrypted)}.${{MEMBERS_DOMAIN}}"'
    return f"  server-template {kind} 1-{SLOTS} {name} {_COMMON}"


@lru_cache(maxsize=4096)
def proxy_revision(spec: ProxySpec) -> str:
    """Return 8 hexadecimal digits that change with anything that the pods of a proxy read when they start."""
    pod = spec.settings.pod
    added = [pod.labels, pod.annotations] if pod.labels or pod.annotations else []
    parts = [haproxy_config(spec), _pod_spec(spec), spec.authority, *added]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def pod_template(spec: ProxySpec, labels: dict[str, str]) -> dict[str, Any]:
    """Return the template of the pods, fit for the ``restricted`` profile of Pod Security."""
    pod = spec.settings.pod
    metadata: dict[str, Any] = {"labels": {**pod.labels, **labels}}
    if pod.annotations:
        metadata["annotations"] = dict(pod.annotations)
    return {"metadata": metadata, "spec": _pod_spec(spec)}


def _pod_spec(spec: ProxySpec) -> dict[str, Any]:
    variables: list[dict[str, Any]] = [{"name": "NAMESPACE", "value": spec.namespace}]
    if spec.api_key is not None:
        reference = {"name": spec.api_key.name, "key": spec.api_key.key}
        variables.append({"name": "ENGINE_KEY", "valueFrom": {"secretKeyRef": reference}})
    mounts = [{"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "config", "configMap": {"name": proxy_name(spec.name)}}]
    if spec.encrypted:
        folder, _, file = AUTHORITY_FILE.rpartition("/")
        mounts.append({"name": "authority", "mountPath": folder, "readOnly": True})
        # The certificate only: who holds the key could speak for every replica.
        items = [{"key": "tls.crt", "path": file}]
        volumes.append(
            {"name": "authority", "secret": {"secretName": authority_secret_name(spec.name), "items": items}}
        )
    container = {
        "name": "haproxy",
        "image": spec.settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-euc", _START],
        "env": variables,
        "ports": [{"name": "http", "containerPort": PROXY_PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": PROXY_PATH, "port": "http"}, "periodSeconds": 1, "failureThreshold": 2},
        "livenessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_S)]}}},
        "resources": dict(spec.settings.pod.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            **spec.settings.pod.security_context,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": proxy_selector(spec.uid)},
            }
        ],
        "containers": [container],
        "volumes": volumes,
        **spec.settings.pod.placement(),
    }


def proxy_selector(uid: str) -> dict[str, str]:
    """Return the labels by which the pods of a proxy are known."""
    return {LABEL_UID: uid, COMPONENT: PROXY}
