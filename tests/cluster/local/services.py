"""The node's services: their command lines and configuration files."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.local.layout import NODE, Layout

PAUSE_IMAGE = "localhost/pause:1"
VOLUMES = Path("/tmp/hostpath_pv")  # where the controller-manager makes volumes; fixed in its code


def write_configuration(layout: Layout, *, audit: bool) -> None:
    """Write the files that the services read."""
    files: dict[str, str] = {
        "containerd.toml": _containerd(layout),
        "cni/10-pods.conflist": json.dumps(_cni(layout), indent=1),
        "kubelet.yaml": yaml.safe_dump(_kubelet(layout)),
        "proxy.yaml": yaml.safe_dump(_proxy(layout)),
        "resolv.conf": f"nameserver {layout.dns_ip}\n",
        "Corefile": _corefile(layout),
    }
    if audit:
        files["audit-policy.yaml"] = yaml.safe_dump(_audit_policy())
    for name, text in files.items():
        path = layout.state / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def services(layout: Layout, bin_dir: Path, *, audit: bool) -> list[dict[str, Any]]:
    """Return the services in the order in which they start, as :mod:`nodeinit` reads them."""
    pki, etc = layout.state / "pki", layout.state / "etc"
    api, containerd = 6443, str(layout.containerd_socket)

    def service(name: str, *flags: str, after: int | str | None = None) -> dict[str, Any]:
        return {"name": name, "argv": [str(bin_dir / name), *flags], "after": after}

    return [
        service(
            "etcd",
            f"--data-dir={layout.state / 'etcd'}",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
            # The API server's watch cache learns from these that it is up to date when nothing is written.
            "--watch-progress-notify-interval=5s",
        ),
        service("kube-apiserver", *_apiserver(layout, audit=audit), after=2379),
        {"name": "containerd", "argv": ["containerd", "--config", str(etc / "containerd.toml")]},
        service(
            "kube-controller-manager",
            f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--use-service-account-credentials",
            "--enable-hostpath-provisioner",
            "--leader-elect=false",
            after=api,
        ),
        service("kube-scheduler", f"--kubeconfig={pki / 'scheduler.kubeconfig'}", "--leader-elect=false", after=api),
        service(
            "kubelet",
            f"--config={etc / 'kubelet.yaml'}",
            f"--kubeconfig={pki / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE}",
            f"--node-ip={layout.node_ip}",
            after=containerd,
        ),
        service("kube-proxy", f"--config={etc / 'proxy.yaml'}", after=api),
        service("coredns", f"-conf={etc / 'Corefile'}", after=api),
    ]


def _apiserver(layout: Layout, *, audit: bool) -> list[str]:
    pki = layout.state / "pki"
    flags = [
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        f"--advertise-address={layout.node_ip}",
        "--secure-port=6443",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        # The second one is on in OpenShift: without a right on an owner's finalizers, nobody may block its deletion.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={layout.services}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
    ]
    if audit:
        flags += [
            f"--audit-policy-file={layout.state / 'etc' / 'audit-policy.yaml'}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-maxsize=512",
            "--audit-log-maxbackup=1",
        ]
    return flags


def _audit_policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def _containerd(layout: Layout) -> str:
    return f"""\
version = 2
root = "{layout.images}"
state = "{layout.run}/containerd"
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  netns_mounts_under_state_dir = true
  # A machine without CAP_SYS_RESOURCE may not lower oom_score_adj, and every sandbox would fail for it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{layout.state}/etc/cni"
"""


def _cni(layout: Layout) -> dict[str, Any]:
    # ptp, not bridge: each packet between pods passes the node's routing, so that Services work between them whether
    # or not the kernel has br_netfilter.
    ipam = {
        "type": "host-local",
        "dataDir": f"{layout.run}/ipam",
        "ranges": [[{"subnet": str(layout.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "0.4.0", "name": layout.name, "plugins": plugins}


def _kubelet(layout: Layout) -> dict[str, Any]:
    pki = layout.state / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "clusterDNS": [str(layout.dns_ip)],
        "clusterDomain": "cluster.local",
        "resolvConf": str(layout.state / "etc" / "resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "enforceNodeAllocatable": [],
        "serializeImagePulls": False,
        "maxPods": 250,
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": str(layout.pods),
        "clientConnection": {"kubeconfig": str(layout.state / "pki" / "proxy.kubeconfig")},
        "hostnameOverride": NODE,
        # These settings are the whole machine's: leave them alone.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _corefile(layout: Layout) -> str:
    return f"""\
.:53 {{
    errors
    health :8080
    ready :8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.state}/pki/coredns.kubeconfig
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""
