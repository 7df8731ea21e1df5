"""A user's key is replaced: the running engine keeps the old one until a change of the spec brings the next replica."""

import pytest

from tests.cloud.client import Client
from tests.cloud.tenant import API_KEY, Tenant, question
from tests.cluster.images import reference_of
from tests.system.wait import eventually

pytestmark = pytest.mark.cluster

NAME = "keyed"
NEW = "canary-of-the-next-key"


def test_a_new_key_counts_after_a_change_of_the_spec_and_the_old_one_no_longer(tenant: Tenant) -> None:
    reference = {"name": "next-key", "key": "token"}
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": reference["name"]}}
    tenant.kubectl.apply({**head, "stringData": {"token": API_KEY}})
    tenant.apply(NAME, endpoint={"apiKeySecretRef": reference})
    first = tenant.until_ready(NAME)["status"]["instances"][0]["name"]
    client = Client(tenant.kubectl, reference_of("engine-stub"))
    url = f"{tenant.url(NAME)}/chat/completions"

    def status_with(key: str) -> int:
        return client.post(url, question("Whose key?"), key=key)[0]

    assert (status_with(API_KEY), status_with(NEW)) == (200, 401)
    tenant.kubectl.apply({**head, "stringData": {"token": NEW}})
    assert (status_with(API_KEY), status_with(NEW)) == (200, 401)

    engine = {"name": "VLLM", "runtime": "Packages", "env": [{"name": "KEY_VERSION", "value": "2"}]}
    tenant.apply(NAME, engine=engine, endpoint={"apiKeySecretRef": reference})

    def replaced() -> bool:
        names = [one["name"] for one in tenant.get(NAME)["status"]["instances"]]
        return len(names) == 1 and names != [first]

    eventually(replaced, within=900, what="a replica with the new key has taken over")
    tenant.until_ready(NAME)
    assert (status_with(API_KEY), status_with(NEW)) == (401, 200)
    client.remove()
    tenant.delete(NAME)
    tenant.expect_nothing_rented()
