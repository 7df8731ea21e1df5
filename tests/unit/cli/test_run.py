"""What ``run`` and ``audit`` refuse before they do anything: one sentence, which names the option."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepseek_operator.cli import run
from deepseek_operator.cli.main import app

KUBECONFIG = """\
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: a, user: {token: none}}]
"""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kubeconfig whose server is away. The log of this process stays as it is."""
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setattr(run, "configure_logging", lambda _: None)


def refused(*words: str) -> str:
    """Return what is said; the command must have ended with status 2 and without a traceback."""
    done = CliRunner().invoke(app, list(words), terminal_width=500)
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.stderr


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--skypilot-endpoint=skypilot:46580", "'skypilot:46580' is no URL such as"),
        ("--skypilot-endpoint=https://", "'https://' is no URL such as"),
        ("--skypilot-endpoint=http://[::1", "'http://[::1' is no URL such as"),
        ("--skypilot-endpoint=http://skypilot:99999", "'http://skypilot:99999' is no URL such as"),
        ("--skypilot-endpoint=http://sky pilot:1", "'http://sky pilot:1' is no URL such as"),
        ("--skypilot-user-id=D5EE9000", "must be 8 lower-case hexadecimal digits"),
        ("--skypilot-user-id=d5ee9000a", "must be 8 lower-case hexadecimal digits"),
        ("--skypilot-token-file=/nowhere", "file '/nowhere' does not exist"),
        ("--skypilot-ca-file=/nowhere", "file '/nowhere' does not exist"),
        (f"--skypilot-ca-file={__file__}", "holds no certificate in PEM"),
        ("--namespace=Team_A", "'Team_A' is no name of a namespace"),
    ],
)
@pytest.mark.parametrize("command", ["run", "audit"])
def test_what_cannot_reach_a_server_is_refused(command: str, flag: str, said: str) -> None:
    words = refused(command, flag)
    assert said in words
    assert flag.partition("=")[0] in words


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--lease=operator", "'operator' is not NAMESPACE/NAME"),
        ("--health-address=localhost", "'localhost' is not host:port, [IPv6 address]:port or :port"),
        ("--readiness-address=::1:8082", "'::1:8082' is not host:port, [IPv6 address]:port or :port"),
        ("--health-address=:80800", "':80800' is not host:port"),
        ("--metrics-port=80800", "should be less than or equal to 65535"),
        ("--proxy-pod={", "Invalid JSON"),
        ("--proxy-pod=[]", "must be a mapping of fields"),
        (
            '--proxy-pod={"toleration": []}',
            "toleration: []: there is no such field; there are affinity, ",
        ),
        ('--proxy-pod={"tolerations": {}}', "tolerations: must be a list"),
        ('--proxy-pod={"imagePullSecrets": ["registry"]}', "imagePullSecrets[0]: registry: must be a mapping"),
        ('--proxy-pod={"securityContext": {"runAsUser": 0}}', "securityContext.runAsUser: 0: must be at least 1"),
    ],
)
def test_what_cannot_be_run_with_is_refused(flag: str, said: str) -> None:
    words = refused("run", flag)
    assert said in words
    assert flag.partition("=")[0] in words


def test_a_catalog_that_cannot_be_used_is_refused_with_its_row(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text("models: [{id: acme/a, base: acme/nothing}]")
    flags = ("--health-address=127.0.0.1:0", "--metrics-port=0")
    assert (
        refused("run", "--catalog=/nowhere", *flags) == "Error: /nowhere: cannot be read: No such file or directory\n"
    )
    assert refused("run", f"--catalog={file}", *flags).startswith(f"Error: {file}, acme/a")


@pytest.mark.parametrize("flag", ["--health-address=127.0.0.1:{}", "--readiness-address=127.0.0.1:{}"])
def test_an_address_that_is_taken_is_named(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = refused("run", "--health-address=127.0.0.1:0", "--metrics-port=0", flag.format(port))
    assert words == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_port_of_the_metrics_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        words = refused("run", "--health-address=127.0.0.1:0", f"--metrics-port={port}")
    assert words == f"Error: cannot listen on :{port} for metrics: Address already in use\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no kubeconfig at"),
        ("not: [yaml", "cannot be used: while parsing a flow sequence"),
        ("", "cannot be used: "),
        ("apiVersion: v1\nkind: Config", "cannot be used: Invalid kube-config file"),
        (KUBECONFIG.replace("current-context: a", "current-context: b"), "Expected object with name b"),
    ],
    ids=["none", "no YAML", "empty", "no context", "unknown context"],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    words = refused("run")
    assert "KUBECONFIG" in words
    assert said in words
    words = refused("check", "uninstall")
    assert words.startswith("cannot tell what is held: the kubeconfig cannot be used: ")
    assert words.count("\n") == 1


def test_the_address_of_an_operator_that_is_checked_must_be_one() -> None:
    assert "'operator' is no URL such as" in refused("check", "installed", "--url=operator")
