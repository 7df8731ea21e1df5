"""The simulated cloud as a process: the API, the machines' metadata service, and a control port for tests.

Control, JSON in and out::

    POST /_sim/faults    [{"action": "RunInstances", "match": {"region": "us-east-1"}, "code": "VcpuLimitExceeded"}]
    POST /_sim/knobs     {"boot": 30}
    POST /_sim/reclaim   {"wanted": {"role": "head"}, "notice": 2}
    POST /_sim/kill      {"wanted": {}}
    POST /_sim/instances | /_sim/groups | /_sim/calls    {}
"""

import argparse
import io
import json
import os
import signal
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tests.cloud.simulator.cloud import ROLE, Cloud
from tests.cloud.simulator.faults import Fault
from tests.cloud.simulator.machine import Ground

Environment = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
_CREDENTIALS = "/latest/meta-data/iam/security-credentials"


class Api:
    """moto's application behind the control port, the log of calls and the faults that replace an answer."""

    def __init__(self, cloud: Cloud) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._cloud = cloud
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        environment["wsgi.input"] = io.BytesIO(body)
        path = environment["PATH_INFO"]
        if path.startswith("/_sim/"):
            return _answer(start, json.dumps(self._control(path.removeprefix("/_sim/"), json.loads(body or b"{}"))))
        # Credential=KEY/DATE/REGION/SERVICE/aws4_request
        scope = environment.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
        region, service = scope[2:4] if len(scope) > 4 else ("", "")
        form = urllib.parse.parse_qs(body.decode(errors="replace"))
        action = form.get("Action", [f"{environment['REQUEST_METHOD']} {path}"])[0]
        fault = self._cloud.faults.take(action, answered=True, region=region, service=service)
        if action != "RunInstances" or fault is not None:
            self._cloud.note(action=action, region=region, service=service, fault=fault.code if fault else "")
        if fault is not None:
            return _answer(start, _error(fault, service), f"{fault.http} Simulated", "text/xml")
        answer: Iterable[bytes] = self._moto(environment, start)
        if "SecurityGroup" in action or "Attribute" in action:
            self._cloud.open_ports()
        return answer

    def _control(self, what: str, body: Any) -> Any:
        cloud = self._cloud
        if what == "faults":
            cloud.faults.replace(body)
        elif what == "knobs":
            for key, value in body.items():
                setattr(cloud.knobs, key, value)
            cloud.open_ports()
        elif what == "reclaim":
            cloud.reclaim(body["wanted"], body.get("notice", 0.0))
        elif what == "kill":
            cloud.kill(body["wanted"])
        elif what == "groups":
            return cloud.groups()
        elif what == "calls":
            return cloud.calls
        return cloud.listed()


class Metadata:
    """The instance metadata service. SkyPilot's autostop on a machine takes its credentials from here."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def __call__(self, environment: Environment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request of a machine."""
        found = self._cloud.matching({"private": environment["REMOTE_ADDR"], "state": "running"})
        text = self._text(environment["PATH_INFO"].rstrip("/"), found[0]) if found else None
        return _answer(start, text or "", "200 OK" if text else "404 Not Found", "text/plain")

    def _text(self, path: str, instance: Any) -> str | None:
        if path == "/latest/meta-data/spot/instance-action" and instance.id in self._cloud.notices:
            return json.dumps({"action": "terminate", "time": _stamp(120)})
        keys = {
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIASIMULATED0000001",
            "SecretAccessKey": "simulated", "Token": "t", "LastUpdated": _stamp(0), "Expiration": _stamp(21600),
        }  # fmt: skip
        identity = {
            "availabilityZone": instance.placement.zone, "instanceId": instance.id,
            "instanceType": instance.instance_type, "privateIp": instance.private_ip,
        }  # fmt: skip
        texts = {
            "/latest/api/token": "token",
            _CREDENTIALS: ROLE,
            f"{_CREDENTIALS}/{ROLE}": json.dumps(keys),
            "/latest/meta-data/placement/availability-zone": str(instance.placement.zone),
            "/latest/dynamic/instance-identity/document": json.dumps(identity),
        }
        return texts.get(path)


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def _error(fault: Fault, service: str) -> str:
    error = f"<Error><Code>{fault.code}</Code><Message>{fault.message or 'simulated'}</Message></Error>"
    if service == "ec2":
        return f"<Response><Errors>{error}</Errors><RequestID>simulated</RequestID></Response>"
    return f"<ErrorResponse>{error}</ErrorResponse>"


def _answer(start: StartResponse, text: str, status: str = "200 OK", kind: str = "application/json") -> list[bytes]:
    data = text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(data)))]
    start(status, [*headers, ("X-aws-ec2-metadata-token-ttl-seconds", "21600")])
    return [data]


def main() -> None:
    """Serve until SIGTERM, then end all machines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--public", type=IPv4Network, required=True)
    parser.add_argument("--regions", nargs="+", required=True)
    parser.add_argument("--outside", nargs="*", default=[])
    options = parser.parse_args()
    ground = Ground(options.tree, options.images, options.work, options.public, tuple(options.outside))
    cloud = Cloud(ground, frozenset(options.regions))

    def end(*_: object) -> None:
        cloud.close()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    metadata = make_server("169.254.169.254", 80, Metadata(cloud), threaded=True)
    threading.Thread(target=metadata.serve_forever, daemon=True).start()
    make_server("0.0.0.0", options.port, Api(cloud), threaded=True, request_handler=MotoRequestHandler).serve_forever()


if __name__ == "__main__":
    main()
