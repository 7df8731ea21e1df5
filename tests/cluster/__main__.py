"""Command line of the test cluster: ``python -m tests.cluster --help``."""

import argparse
import sys

from tests.cluster import gpus, images, packages
from tests.cluster.api import Cluster, ClusterError
from tests.cluster.providers import DEFAULT_NAME, PROVIDERS, select


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=DEFAULT_NAME, help="name of the cluster (default: %(default)s)")
    common.add_argument("--provider", choices=PROVIDERS, help="default: external if a kubeconfig is named, kind, local")
    common.add_argument("--kubeconfig", help="use this cluster; the same as DSD_TEST_KUBECONFIG")
    top = argparse.ArgumentParser(prog="python -m tests.cluster", description="A Kubernetes cluster for tests.")
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    up = command("up", "Bring the cluster up; returns at once if it is healthy, repairs it if it is not.")
    up.add_argument("--no-audit", action="store_true", help="do not write the API server's audit log")
    down = command("down", "Remove the cluster and everything that belongs to it.")
    down.add_argument("--purge", action="store_true", help="forget the images it had loaded, too")
    command("status", "Say how the cluster is; exits with 1 unless it is healthy.")
    ahead = command("build-images", "Build some of the project's images if they are stale, load nothing.")
    ahead.add_argument("images", nargs="+", choices=images.TARGETS)
    command("build", "Build all binaries and images, fetch Prometheus, start nothing.")
    load = command("load-image", "Build one of the project's images if it is stale, load it, print its reference.")
    load.add_argument("image", choices=images.TARGETS)
    command("kubeconfig", "Print the path of the administrator's kubeconfig.")
    command("bin", "Print the folder that holds kubectl and helm.")
    fake = command("fake-gpus", "Let the node advertise GPUs that it does not have.")
    fake.add_argument("--count", type=int, default=1, help="how many; 0 withdraws them (default: %(default)s)")
    fake.add_argument("--product", default="NVIDIA-L4", help="as NVIDIA labels it (default: %(default)s)")
    return top


def execute(options: argparse.Namespace, cluster: Cluster) -> int:
    """Carry out one command and return the exit code."""
    match options.command:
        case "up":
            cluster.up()
        case "down":
            cluster.down(purge=options.purge)
        case "status":
            health = cluster.health()
            print("\n".join(health.details))
            return 0 if health.healthy else 1
        case "build":
            print(f"programs: {cluster.bin_dir}")  # what this provider needs, built by being asked for
            for target in images.TARGETS:
                images.builder().build(target)
            print(f"promtool: {packages.prometheus('promtool')}")
        case "build-images":
            for target in options.images:
                images.builder().build(target)
        case "load-image":
            print(cluster.load_image(options.image))
        case "kubeconfig":
            print(cluster.kubeconfig)
        case "bin":
            print(cluster.bin_dir)
        case "fake-gpus" if options.count:
            gpus.advertise(cluster, count=options.count, product=options.product)
        case "fake-gpus":
            gpus.withdraw(cluster)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; what a person can fix is one line without a traceback."""
    options = parser().parse_args(arguments)
    try:
        audit = not getattr(options, "no_audit", False)
        cluster = select(options.name, provider=options.provider, kubeconfig=options.kubeconfig, audit=audit)
        return execute(options, cluster)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
