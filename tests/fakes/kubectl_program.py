"""The executable behind :mod:`tests.fakes.kubectl`: kubectl's command line over a file of objects.

It knows the flags that the plugin may use and refuses all others, in kubectl's own words. Standard library only, so
that it starts as fast as kubectl does.
"""

import json
import os
import signal
import sys
from typing import Any

HOME = os.environ.get("FAKE_KUBECTL", "")
KINDS = {
    "deepseekdeployments.deepseek-operator.io": "DeepSeekDeployment",
    "pods": "Pod",
    "nodes": "Node",
    "namespaces": "Namespace",
    "events": "Event",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "deployments.apps": "Deployment",
    "customresourcedefinitions.apiextensions.k8s.io": "CustomResourceDefinition",
}
WITHOUT_NAMESPACE = ("Node", "Namespace", "CustomResourceDefinition")
VALUED = {
    "--namespace": "namespace",
    "--context": "context",
    "--kubeconfig": "kubeconfig",
    "--as": "as",
    "--request-timeout": "timeout",
    "--selector": "selector",
    "--field-selector": "fields",
    "--container": "container",
    "--address": "address",
    "--raw": "raw",
    "-o": "output",
}
SWITCHES = ("--overwrite", "--all-namespaces", "--stdin", "--ignore-not-found", "--minify")


State = dict[str, Any]
"""What a test has put into ``state.json``."""


class Refused(Exception):
    """What kubectl writes before it ends with status 1."""


def parse(words: list[str]) -> tuple[list[str], dict[str, Any], list[str]]:
    """Return positional words, flags, and what stands behind ``--``."""
    places: list[str] = []
    flags: dict[str, Any] = {}
    rest: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            rest, words = words, []
        elif name in VALUED:
            flags[VALUED[name]] = value if equals else words.pop(0)
        elif word in SWITCHES:
            flags[word] = True
        elif word.startswith("-"):
            raise Refused(f"error: unknown flag: {word}\nSee 'kubectl {places[0] if places else ''} --help' for usage.")
        else:
            places.append(word)
    return places, flags, rest


def selected(labels: dict[str, str], selector: str | None) -> bool:
    """Return whether labels match ``a``, ``a=b`` or several with commas."""
    for term in filter(None, (selector or "").split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def field(body: Any, path: str) -> Any:
    """Return the value at a path of a field selector."""
    for key in path.split("."):
        body = (body or {}).get(key)
    return body


def get(state: State, places: list[str], flags: dict[str, Any]) -> None:
    """Print objects as ``kubectl get -o json`` does."""
    if "raw" in flags:
        if flags["raw"] not in state["raw"]:
            raise Refused("Error from server (NotFound): the server could not find the requested resource")
        print(json.dumps(state["raw"][flags["raw"]]))
        return
    plural, name = places[0], places[1] if len(places) > 1 else None
    kind = KINDS.get(plural)
    if kind is None or kind in state["missing"]:
        raise Refused(f'error: the server doesn\'t have a resource type "{plural.partition(".")[0]}"')
    verb, namespace = "get" if name else "list", flags.get("namespace", "default")
    refused = [[verb, plural], *([["list-all", plural]] if "--all-namespaces" in flags else [])]
    if any(pair in state["forbidden"] for pair in refused):
        raise Refused(
            f'Error from server (Forbidden): {plural} is forbidden: User "jane" cannot {verb} resource "{plural}" in '
            f'API group "" in the namespace "{namespace}"'
        )
    everywhere = kind in WITHOUT_NAMESPACE or "--all-namespaces" in flags
    found = [
        body
        for body in state["objects"]
        if body["kind"] == kind
        and (everywhere or body["metadata"].get("namespace") == namespace)
        and (name is None or body["metadata"]["name"] == name)
        and selected(body["metadata"].get("labels") or {}, flags.get("selector"))
        and all(
            field(body, term.partition("=")[0]) == term.partition("=")[2]
            for term in filter(None, flags.get("fields", "").split(","))
        )
    ]
    if flags.get("output") != "json":
        raise Refused("error: this fake prints JSON only")
    if name is None:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
    elif found:
        print(json.dumps(found[0]))
    elif "--ignore-not-found" not in flags:
        raise Refused(f'Error from server (NotFound): {plural} "{name}" not found')


def execute(state: State, places: list[str], flags: dict[str, Any], rest: list[str]) -> None:
    """Become the command, in the home directory of the pod."""
    pod = places[0]
    home = f"{HOME}/pods/{pod}"
    if not os.path.isdir(home):
        raise Refused(f'Error from server (NotFound): pods "{pod}" not found')
    if flags.get("container") not in state["containers"]:
        raise Refused(f"error: container {flags.get('container')} is not valid for pod {pod}")
    if "--stdin" not in flags:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(home)
    os.execvpe(rest[0], rest, {"HOME": home, "PATH": f"{home}/bin:{os.environ['PATH']}"})


def forward(state: State, places: list[str], flags: dict[str, Any]) -> None:
    """Say where a port of a pod is to be reached, which is where a test's own server listens, until killed."""
    target, port = places[0], places[1].lstrip(":")
    if target.startswith("svc/") or target.startswith("service/"):
        raise Refused(
            f"error: cannot attach to *v1.Service: invalid service '{target}': Service is defined without a selector"
        )
    if f"{target}:{port}" not in state["ports"]:
        raise Refused(f"error: unable to forward port because pod is not running. Current status={target}")
    print(f"Forwarding from {flags['address']}:{state['ports'][f'{target}:{port}']} -> {port}", flush=True)
    signal.pause()


def annotate(state: State, places: list[str], flags: dict[str, Any]) -> None:
    """Put an annotation on an object, in the file as well."""
    plural, name, note = places
    namespace = flags.get("namespace", "default")
    if ["patch", plural] in state["forbidden"]:
        raise Refused(f'Error from server (Forbidden): {plural} "{name}" is forbidden: User "jane" cannot patch it')
    for body in state["objects"]:
        metadata = body["metadata"]
        if body["kind"] == KINDS[plural] and (metadata["namespace"], metadata["name"]) == (namespace, name):
            key, _, value = note.partition("=")
            annotations = metadata.setdefault("annotations", {})
            if key in annotations and "--overwrite" not in flags:
                raise Refused(f"error: --overwrite is false but found the following declared annotation(s): '{key}'")
            annotations[key] = value
            with open(f"{HOME}/state.json", "w", encoding="utf-8") as file:
                json.dump(state, file)
            print(f"{plural}/{name} annotated")
            return
    raise Refused(f'Error from server (NotFound): {plural} "{name}" not found')


def can_i(state: State, places: list[str], flags: dict[str, Any]) -> None:
    """Print yes or no."""
    allowed = " ".join(places) not in state["denied"]
    print("Warning: the fake warns as kubectl does", file=sys.stderr)
    print("yes" if allowed else "no")
    sys.exit(0 if allowed else 1)


def main() -> None:
    """Note the call and answer it."""
    words = sys.argv[1:]
    with open(f"{HOME}/calls.jsonl", "a", encoding="utf-8") as calls:
        calls.write(json.dumps(words) + "\n")
    with open(f"{HOME}/state.json", encoding="utf-8") as file:
        state = json.load(file)
    try:
        places, flags, rest = parse(words)
        if state["away"]:
            raise Refused(state["away"])
        if places[0] == "get":
            get(state, places[1:], flags)
        elif places[0] == "annotate":
            annotate(state, places[1:], flags)
        elif places[0] == "exec":
            execute(state, places[1:], flags, rest)
        elif places[0] == "port-forward":
            forward(state, places[1:], flags)
        elif places[:2] == ["config", "view"]:
            print(json.dumps({"contexts": [{"name": "test", "context": {"namespace": "default"}}]}))
        elif places[:2] == ["auth", "can-i"]:
            can_i(state, places[2:], flags)
        else:
            raise Refused(f'error: unknown command "{places[0]}" for "kubectl"')
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
