"""What a proxy adds to requests, and what its pods need for that. tests/proxy runs the configuration in HAProxy."""

from dataclasses import replace

import pytest

from deepseek_operator.facts.names import api_key_secret
from deepseek_operator.launch.proxy import ProxySettings, ProxySpec, haproxy_config, pod_template

PLAIN = ProxySpec("r1", "0a1b2c3d-4e5f-6789-abcd-ef0123456789", "serving", "/health", ProxySettings())
KEYED = replace(PLAIN, api_key=api_key_secret("r1"))
ENCRYPTED = replace(PLAIN, encrypted=True)


@pytest.mark.parametrize(("spec", "added"), [(PLAIN, False), (KEYED, True), (ENCRYPTED, False)])
def test_requests_get_the_key_where_there_is_one(spec: ProxySpec, added: bool) -> None:
    assert ('Authorization "Bearer ${ENGINE_KEY}"' in haproxy_config(spec)) is added
    (container,) = pod_template(spec, {})["spec"]["containers"]
    assert ("ENGINE_KEY" in [variable["name"] for variable in container["env"]]) is added


@pytest.mark.parametrize(("spec", "kinds"), [(PLAIN, ["plain"]), (KEYED, ["plain"]), (ENCRYPTED, ["plain", "tls"])])
def test_engines_of_a_kind_are_found_under_its_name_and_only_machines_over_tls(
    spec: ProxySpec, kinds: list[str]
) -> None:
    servers = [line.split() for line in haproxy_config(spec).splitlines() if line.startswith("  server-template")]
    assert [words[1] for words in servers] == kinds
    for _, kind, _, name, *options in servers:
        assert name == f'"_http._tcp.r1-{kind}.${{MEMBERS_DOMAIN}}"'
        assert ("verify" in options) is (kind == "tls")


@pytest.mark.parametrize(("spec", "folders"), [(PLAIN, ["config"]), (ENCRYPTED, ["config", "authority"])])
def test_pods_wait_for_a_certificate_only_where_one_is_needed(spec: ProxySpec, folders: list[str]) -> None:
    pod = pod_template(spec, {})["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == folders
    assert [mount["name"] for mount in pod["containers"][0]["volumeMounts"]] == folders
