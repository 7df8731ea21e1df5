"""examples/from_python.py over real HTTP, against an API server of four paths that also plays the engine."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.unit.docs.blocks import ROOT

NAME = yaml.safe_load((ROOT / "examples/smallest.yaml").read_text(encoding="utf-8"))["metadata"]["name"]
Status = tuple[str, str, str]
"""Type, status and reason of a condition."""


class Server:
    """An API server with one object.

    Parameters
    ----------
    seen
        The conditions of the object at each event of a watch; None ends one watch.
    """

    def __init__(self, seen: list[list[Status] | None]) -> None:
        self.seen = seen
        self.created: dict[str, Any] = {}
        self.query: dict[str, list[str]] = {}
        self.asked: dict[str, Any] = {}
        self.looks_after_deletion = 0
        self.deleted = False

    def __enter__(self) -> Self:
        server: Server = self

        class Handler(_Handler):
            fake = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def body(self, conditions: list[Status]) -> dict[str, Any]:
        found = [{"type": t, "status": s, "reason": r, "message": f"{r} it is"} for t, s, r in conditions]
        status = {"conditions": found, "endpoint": {"internalURL": f"{self.url}/v1"}}
        return {**self.created, "metadata": {"name": NAME, "resourceVersion": "7"}, "status": status}

    def kubeconfig(self, folder: Path) -> Path:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "c", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path


class _Handler(BaseHTTPRequestHandler):
    fake: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/chat/completions":
            self.fake.asked = sent
            self._answer(200, {"choices": [{"message": {"content": "Rayleigh scattering."}}]})
            return
        self.fake.query = parse_qs(urlsplit(self.path).query)
        self.fake.created = sent
        self._answer(201, sent)

    def do_GET(self) -> None:
        if "watch=" in self.path:
            self._watch()
        elif self.fake.deleted and self.fake.looks_after_deletion:
            self._answer(404, {"kind": "Status", "code": 404})
        else:
            self.fake.looks_after_deletion += self.fake.deleted
            self._answer(200, self.fake.body([]))

    def do_DELETE(self) -> None:
        self.fake.deleted = True
        self._answer(200, {"kind": "Status"})

    def _watch(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while self.fake.seen and (conditions := self.fake.seen.pop(0)) is not None:
            event = {"type": "MODIFIED", "object": self.fake.body(conditions)}
            self.wfile.write(json.dumps(event).encode() + b"\n")
            self.wfile.flush()
        self.close_connection = True

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def run(server: Server, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the script as a user does."""
    command = [sys.executable, "examples/from_python.py", "examples/smallest.yaml", "Why is the sky blue?"]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig(folder))}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_a_model_is_served_for_one_question_and_given_back(tmp_path: Path) -> None:
    seen: list[list[Status] | None] = [
        [],
        [("Ready", "False", "Launching"), ("Stalled", "False", "Ready")],
        None,  # a watch ends now and then
        [("Ready", "False", "Launching"), ("Stalled", "False", "Ready")],
        [("Ready", "True", "Ready")],
    ]
    with Server(seen) as server:
        done = run(server, tmp_path)
    assert done.stdout.splitlines() == ["Unseen: ", "Launching: Launching it is", "Rayleigh scattering."], done.stderr
    assert done.returncode == 0
    assert server.query["fieldValidation"] == ["Strict"]
    assert server.created["kind"] == "DeepSeekDeployment"
    assert server.asked["messages"] == [{"role": "user", "content": "Why is the sky blue?"}]
    assert server.deleted
    assert server.looks_after_deletion == 1, "it returned although the object was still there"


def test_what_will_not_go_on_by_itself_is_given_up_and_deleted(tmp_path: Path) -> None:
    with Server([[("Ready", "False", "DoesNotFit"), ("Stalled", "True", "DoesNotFit")]]) as server:
        done = run(server, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "RuntimeError: DoesNotFit: DoesNotFit it is"
    assert server.deleted
