"""Serve a model from Python: create a DeepSeekDeployment, wait for it, ask it, delete it.

    pip install kubernetes
    python examples/from_python.py examples/smallest.yaml "Why is the sky blue?"

Needs nothing but the official client. Run it where the endpoint can be reached: in the cluster, or with an endpoint
of type LoadBalancer.
"""

import json
import sys
import time
import urllib.request
from typing import Any

import yaml  # the official client brings it
from kubernetes import client, config, watch
from kubernetes.client import ApiException

KIND = {"group": "deepseek-operator.io", "version": "v1alpha1", "plural": "deepseekdeployments"}


def create(api: client.CustomObjectsApi, namespace: str, body: dict[str, Any]) -> None:
    """Create the object; a wrong field or value is refused here, in a sentence that names it."""
    api.create_namespaced_custom_object(**KIND, namespace=namespace, body=body, field_validation="Strict")


def wait_ready(api: client.CustomObjectsApi, namespace: str, name: str, within: float) -> dict[str, Any]:
    """Return the object once it is Ready; say on the way why it is not yet.

    Raises
    ------
    RuntimeError
        The operator will not go on by itself: the message says what to mend.
    TimeoutError
        It was not ready in time.
    """
    end, last = time.monotonic() + within, ""
    while (left := end - time.monotonic()) > 0:
        stream = watch.Watch().stream(
            api.list_namespaced_custom_object,
            **KIND,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            timeout_seconds=max(1, int(left)),
        )
        try:
            for event in stream:
                found = event["object"]
                conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
                ready, stalled = conditions.get("Ready", {}), conditions.get("Stalled", {})
                if ready.get("status") == "True":
                    return dict(found)
                if stalled.get("status") == "True":
                    raise RuntimeError(f"{stalled['reason']}: {stalled['message']}")
                if (words := f"{ready.get('reason', 'Unseen')}: {ready.get('message', '')}") != last:
                    print(words)
                    last = words
        except ApiException as error:
            if error.status != 410:  # the watch fell too far behind; begin another one
                raise
    raise TimeoutError(f"{name} is not ready after {within:g} s: {last}")


def ask(url: str, model: str, question: str, key: str = "") -> str:
    """Return the model's answer."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 256}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def delete(api: client.CustomObjectsApi, namespace: str, name: str, within: float) -> None:
    """Delete the object, and return when everything that was launched for it is gone."""
    api.delete_namespaced_custom_object(**KIND, namespace=namespace, name=name)
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            api.get_namespaced_custom_object(**KIND, namespace=namespace, name=name)
        except ApiException as error:
            if error.status == 404:
                return
            raise
        time.sleep(1)
    raise TimeoutError(f"{name} is still there after {within:g} s")


def main(file: str, question: str, namespace: str = "default", within: float = 1800) -> None:
    """Serve the model of a file for one question."""
    config.load_config()  # ~/.kube/config, or the pod's own account
    api = client.CustomObjectsApi()
    with open(file, encoding="utf-8") as text:
        body = yaml.safe_load(text)
    name = body["metadata"]["name"]
    create(api, namespace, body)
    try:
        found = wait_ready(api, namespace, name, within)
        endpoint = found["status"]["endpoint"]
        print(ask(endpoint.get("url") or endpoint["internalURL"], body["spec"]["model"]["name"], question))
    finally:
        delete(api, namespace, name, within)


if __name__ == "__main__":
    main(*sys.argv[1:4])
