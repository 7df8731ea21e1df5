"""Names: derived, bounded, unique, and led back to their object."""

from hypothesis import given
from hypothesis import strategies as st

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.names import (
    CLUSTER_NAME_MAX_LENGTH,
    belongs_to,
    cluster_name,
    parse_cluster_name,
    revision_of,
    uid_prefix,
)
from tests.unit.reconcile import builders as b

names = st.from_regex(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?", fullmatch=True)


def named(name: str, uid: str) -> DeepSeekDeployment:
    body = {"metadata": {"name": name, "namespace": "n", "uid": uid}, "spec": {"model": {"name": "m"}}}
    return DeepSeekDeployment.parse(body)


@given(names, st.uuids(), st.integers(0, 99))
def test_a_name_fits_skypilot_and_leads_back_to_its_object(name: str, uid: object, ordinal: int) -> None:
    of = named(name, str(uid))
    cluster = cluster_name(of, "0badbeef", ordinal)
    assert len(str(cluster)) <= CLUSTER_NAME_MAX_LENGTH
    parsed = parse_cluster_name(str(cluster))
    assert parsed is not None
    assert (parsed.uid, parsed.revision, parsed.ordinal) == (uid_prefix(str(uid)), "0badbeef", ordinal)


@given(names, st.uuids(), st.integers(0, 999), st.sampled_from(["0badbeef", "0bad"]))
def test_on_google_cloud_no_name_is_cut_which_could_make_one_of_two(
    name: str, uid: object, ordinal: int, revision: str
) -> None:
    of = named(name, str(uid))
    short = cluster_name(of, revision, ordinal, clouds=["aws", "gcp"])
    assert len(f"{short}-d5ee9000") <= 35
    assert parse_cluster_name(str(short)) == short
    assert belongs_to(short, of)
    assert belongs_to(cluster_name(of, revision, ordinal), of), "of an operator before, or of another place"


def test_names_of_others_are_not_taken_for_ours() -> None:
    assert parse_cluster_name("sky-1234-root") is None
    assert parse_cluster_name("my-cluster-0") is None


def test_scaling_and_suspending_do_not_replace_replicas() -> None:
    same = [
        b.deployment(),
        b.deployment(replicas=5),
        b.deployment(suspend=True),
        b.deployment(updateStrategy={"maxSurge": 2}),
        b.deployment(endpoint={"type": "LoadBalancer"}),
        b.deployment(resources={**b.CPU_SPEC["resources"], "maxHourlyCost": "9", "retryUntilUp": False}),
    ]
    assert len({revision_of(of.spec) for of in same}) == 1


def test_what_a_replica_runs_replaces_it() -> None:
    different = [
        b.deployment(),
        b.deployment(engine={**b.CPU_SPEC["engine"], "maxModelLen": 4096}),
        b.deployment(endpoint={"port": 9000}),
        b.deployment(resources={**b.CPU_SPEC["resources"], "nodes": 2}),
        b.deployment(podTemplate={"labels": {"team": "a"}}),
    ]
    assert len({revision_of(of.spec) for of in different}) == len(different)


def test_two_specs_that_shared_a_short_revision_do_not_share_a_long_one() -> None:
    flags = ("--max-num-seqs=17", "--max-num-seqs=332")
    first, second = (revision_of(b.deployment(engine={**b.CPU_SPEC["engine"], "args": [flag]}).spec) for flag in flags)
    assert first[:4] == second[:4]
    assert first != second


def test_a_replica_of_an_older_operator_with_a_short_revision_runs_the_same_spec() -> None:
    of = b.deployment()
    revision = revision_of(of.spec)
    old = cluster_name(of, revision[:4], 0)
    assert len(str(old)) <= CLUSTER_NAME_MAX_LENGTH
    assert parse_cluster_name(str(old)) == old
    assert old.runs(revision)
    assert not old.runs("ffffffff")


def test_a_name_of_an_object_whose_uid_begins_alike_is_not_ours() -> None:
    ours, theirs = named("chat", b.UID), named("code", b.UID[:8] + "-ffff-ffff-ffff-ffffffffffff")
    name = cluster_name(theirs, "0badbeef", 0)
    assert uid_prefix(ours.metadata.uid) == name.uid
    assert belongs_to(name, theirs)
    assert not belongs_to(name, ours)
