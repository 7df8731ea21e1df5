"""What goes wrong has a Reason of its own, a message with the cause, and an end when the cause goes away."""

import json
import time

from tests.cluster import gpus
from tests.cluster.api import Cluster
from tests.e2e.conftest import Tenant
from tests.system.demo import chat
from tests.system.stack import RELEASE, Stack
from tests.system.wait import eventually


def test_without_room_it_is_unschedulable_and_says_what_is_missing(tenant: Tenant) -> None:
    tenant.apply(
        resources={"accelerators": [], "cpus": "0.5+", "memory": "3+"}, podTemplate={"nodeSelector": {"room": "yes"}}
    )
    message = tenant.wait_reason("Unschedulable")
    assert "node" in message
    node = tenant.kubectl.get("nodes")[0]["metadata"]["name"]
    tenant.kubectl("label", "node", node, "room=yes")
    try:
        tenant.wait_ready(within=360)
    finally:
        tenant.kubectl("label", "node", node, "room-")


def test_gpus_that_nobody_offers_are_named_and_used_once_they_are_there(tenant: Tenant, cluster: Cluster) -> None:
    created = tenant.apply(
        model={"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
        engine={"maxModelLen": 4096},
        resources={"accelerators": ["L4:1"], "cpus": "0.5+", "memory": "2+"},
    )
    message = tenant.wait_reason("NoMatchingResources")
    assert "L4" in message
    gpus.advertise(cluster, count=1, product="NVIDIA-L4")
    try:
        uid = created["metadata"]["uid"]
        (pod,) = eventually(
            lambda: [
                p
                for p in tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={uid}")
                if p["spec"].get("nodeName")
            ],
            within=240,
            what="a pod was scheduled to the node with GPUs",
        )
        (container,) = pod["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        tenant.delete()
        tenant.expect_nothing_left(created)
    finally:
        gpus.withdraw(cluster)


def test_an_image_that_does_not_exist_is_said_and_a_fixed_one_comes_up(tenant: Tenant) -> None:
    tenant.apply(engine={"image": "localhost/deepseek-operator/nobody-built-it:1"})
    message = tenant.wait_reason("ImagePullFailed")
    assert "nobody-built-it" in message
    tenant.apply()
    tenant.wait_ready()
    assert tenant.condition(kind="Stalled")["status"] == "False"


def test_an_engine_that_exits_is_shown_with_its_last_lines_and_started_again(tenant: Tenant) -> None:
    created = tenant.apply(
        engine={"args": ["--chat-template", "/scratch/template.jinja"]},
        podTemplate={
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        },
    )
    message = tenant.wait_reason("EngineExited", within=300)
    assert "template.jinja" in message
    uid = created["metadata"]["uid"]
    (pod,) = tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={uid}")
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tenant.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", f'echo "{template}" > /scratch/template.jinja')
    body = tenant.wait_ready()
    (instance,) = body["status"]["instances"]
    assert instance["restarts"] >= 1
    (same,) = tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={uid}")
    assert same["metadata"]["uid"] == pod["metadata"]["uid"], "the engine runs again on the same nodes"


def test_a_missing_secret_is_waited_for_and_its_value_is_nowhere(tenant: Tenant) -> None:
    value = "hf_thisIsASecretOfTheTest"
    created = tenant.apply(
        model={"name": "somebody/gated-model", "huggingFaceTokenSecretRef": {"name": "hf"}},
        engine={"args": ["--load-format", "dummy"]},
    )
    message = tenant.wait_reason("SecretNotFound")
    assert "hf" in message
    tenant.kubectl("create", "secret", "generic", "hf", f"--from-literal=token={value}")
    uid = created["metadata"]["uid"]
    (pod,) = eventually(
        lambda: [
            p
            for p in tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={uid}")
            if p["status"]["phase"] == "Running"
        ],
        within=180,
        what="a pod runs once the Secret is there",
    )
    environment = tenant.kubectl("exec", pod["metadata"]["name"], "--", "printenv", "HF_TOKEN")
    assert environment.strip() == value
    requests = tenant.stack.skypilot_requests(tenant.get()["status"]["instances"][0]["name"])
    everywhere = [
        json.dumps(requests),
        json.dumps(pod["spec"]),
        json.dumps(tenant.get()),
        tenant.kubectl("get", "events", "-o", "json"),
        tenant.stack.system("logs", "deploy/deepseek-operator", "-c", "operator", "--tail=-1"),
    ]
    assert not [place for place in everywhere if value in place]


def test_skypilot_away_is_said_and_what_serves_goes_on_serving(tenant: Tenant) -> None:
    tenant.apply("serving")
    body = tenant.wait_ready("serving")
    system = tenant.stack.system
    server = ("exec", "deploy/deepseek-operator", "-c", "skypilot", "--", "pkill")
    system(*server, "-STOP", "-f", "sky.server.server")
    try:
        tenant.apply("waiting")
        message = tenant.wait_reason("SkyPilotUnavailable", "waiting", within=120)
        assert "does not answer" in message
        answer = chat(
            tenant.stack, tenant.namespace, body["status"]["endpoint"]["internalURL"], "deepseek-ai/DeepSeek-R1"
        )
        assert answer["usage"]["completion_tokens"] > 0
        assert tenant.condition("serving")["status"] == "True"
    finally:
        system(*server, "-CONT", "-f", "sky.server.server")
    tenant.wait_ready("waiting", within=360)


def test_an_operator_killed_in_mid_launch_adopts_what_it_started(tenant: Tenant) -> None:
    created = tenant.apply()
    uid = created["metadata"]["uid"]
    eventually(
        lambda: tenant.kubectl.get("pods", labels=f"deepseek-operator.io/uid={uid}"), within=120, what="it launches"
    )
    restarts = _restarts(tenant)
    _kill_operator(tenant)
    eventually(lambda: _restarts(tenant) > restarts or None, within=60, what="the operator was started again")
    body = tenant.wait_ready()
    (instance,) = body["status"]["instances"]
    launches = [r for r in tenant.stack.skypilot_requests(instance["name"]) if r["name"] == "sky.launch"]
    assert len(launches) == 1, launches
    assert instance["attempts"] == 0


def _restarts(tenant: Tenant) -> int:
    (pod,) = tenant.stack.system.get("pods", labels="app.kubernetes.io/name=deepseek-operator")
    statuses = pod["status"]["containerStatuses"]
    return next(int(status["restartCount"]) for status in statuses if status["name"] == "operator")


def _kill_operator(tenant: Tenant) -> None:
    """SIGKILL the operator's process from the node; from inside its container, process 1 cannot be killed."""
    from tests.system.processes import kill_in_pod

    (pod,) = tenant.stack.system.get("pods", labels="app.kubernetes.io/name=deepseek-operator")
    killed = kill_in_pod(pod["metadata"]["name"], "deepseek-operator", "run")
    assert killed, "no process of the operator was found on this machine"
    print(f"killed {killed} at {time.strftime('%X')}")


def test_a_worker_of_skypilot_lets_go_of_what_a_cancelled_request_has_left_locked(stack: Stack) -> None:
    """The change that the image makes is in it: the call before each request, and what it calls."""
    code = """
import inspect, logging, threading
from sky.server.requests import executor
assert "_release_locks_of_cancelled_request()" in inspect.getsource(executor._request_execution_wrapper)
logging._lock.acquire()
executor._release_locks_of_cancelled_request()
thread = threading.Thread(target=logging.getLogger, args=("new",), daemon=True)
thread.start()
thread.join(5)
print("hangs" if thread.is_alive() else "goes on")
"""
    said = stack.system("exec", f"deploy/{RELEASE}", "-c", "skypilot", "--", "python", "-c", code)
    assert said.splitlines()[-1] == "goes on"
