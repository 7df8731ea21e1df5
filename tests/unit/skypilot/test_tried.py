"""Logs of launches that found no machines, in the words of AWS, Google Cloud and Azure, and what is read off them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.skypilot import PlaceTried
from deepseek_operator.skypilot.codes import CODES, WAYS_OUT
from deepseek_operator.skypilot.failures import classify
from deepseek_operator.skypilot.tried import places_tried

FAILED = "ResourcesUnavailableError"
GIVEN_UP = "Failed to provision all possible launchable resources. Relax the task's resource requirements: 1x <Res>"
ON_AWS = "\x1b[0m⚙︎ Launching on AWS us-east-1\x1b[0m (us-east-1a,us-east-1b).\n"
ON_GCP = "⚙︎ Launching on GCP us-central1 (us-central1-a).\n"
ON_AZURE = "⚙︎ Launching on Azure eastus.\n"
ON_KUBERNETES = "⚙︎ Launching on Kubernetes.\n"
NEXT = "sky.exceptions.ResourcesUnavailableError: Failed to acquire resources in all zones in us-east-1 for {L4:1}.\n"


def aws(code: str, words: str = "We currently do not have sufficient capacity") -> str:
    return (
        f"create_instances: Attempt failed with An error occurred ({code}) when calling the RunInstances operation: "
        f"{words}.\nAWS handler error: Failed to launch instances. Max attempts exceeded.\n"
    )


def gcp(code: str, words: str = "something") -> str:
    return f"Got return code '{code}' in us-central1-a: '{words}'\n"


def azure(code: str, words: str = "something") -> str:
    error = "azure.core.exceptions.HttpResponseError"
    return f"Failed to create instances: [{error}] ({code}) {words} Code: {code} Message: {words}\n"


AWS, GCP, AZURE = "aws/us-east-1", "gcp/us-central1/us-central1-a", "azure/eastus"


@pytest.mark.parametrize(
    ("log", "place", "reason", "code"),
    [
        (ON_AWS + aws("InsufficientInstanceCapacity"), AWS, Reason.NO_CAPACITY, None),
        (ON_AWS + aws("SpotMaxPriceTooLow"), AWS, Reason.NO_CAPACITY, None),
        (ON_AWS + aws("RequestLimitExceeded", "Request limit exceeded"), AWS, Reason.NO_CAPACITY, None),
        (ON_AWS + aws("VcpuLimitExceeded", "You have requested more vCPU"), AWS, Reason.QUOTA_EXCEEDED, None),
        (ON_AWS + aws("MaxSpotInstanceCountExceeded"), AWS, Reason.QUOTA_EXCEEDED, None),
        (ON_AWS + aws("AuthFailure", "AWS was not able to validate"), AWS, Reason.CREDENTIALS_INVALID, None),
        (ON_AWS + "Boto3 error\nError code: \x1b[1mExpiredToken\x1b[0m\n", AWS, Reason.CREDENTIALS_INVALID, None),
        (ON_AWS + aws("UnauthorizedOperation", "You are not authorized"), AWS, Reason.NOT_AUTHORIZED, None),
        (ON_AWS + aws("OptInRequired"), AWS, Reason.NOT_AUTHORIZED, None),
        (ON_AWS + aws("Unsupported", "is not supported in your zone"), AWS, Reason.NOT_OFFERED, None),
        (ON_AWS + aws("InvalidAMIID.NotFound"), AWS, Reason.NOT_OFFERED, None),
        (ON_AWS + aws("InvalidPermission.Duplicate"), AWS, Reason.LAUNCH_FAILED, None),
        (ON_GCP + gcp("ZONE_RESOURCE_POOL_EXHAUSTED"), GCP, Reason.NO_CAPACITY, None),
        (
            ON_GCP + gcp("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"),
            GCP,
            Reason.NO_CAPACITY,
            None,
        ),
        (ON_GCP + gcp("8", "There is no more capacity"), GCP, Reason.NO_CAPACITY, None),
        (
            ON_GCP + gcp("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 1.0 globally"),
            GCP,
            Reason.QUOTA_EXCEEDED,
            None,
        ),
        (ON_GCP + gcp("quotaExceeded"), GCP, Reason.QUOTA_EXCEEDED, None),
        (
            ON_GCP + gcp("type.googleapis.com/google.rpc.QuotaFailure"),
            GCP,
            Reason.QUOTA_EXCEEDED,
            None,
        ),
        (ON_GCP + gcp("IAM_PERMISSION_DENIED"), GCP, Reason.NOT_AUTHORIZED, None),
        (
            ON_GCP + gcp("forbidden", "Location us-central1-a is not found or access is unauthorized"),
            GCP,
            Reason.NOT_OFFERED,
            None,
        ),
        (
            ON_GCP + "create_instances: google.auth.exceptions.RefreshError: ('invalid_grant: Token expired')\n",
            GCP,
            Reason.CREDENTIALS_INVALID,
            "",
        ),
        (ON_AZURE + azure("ZonalAllocationFailed"), AZURE, Reason.NO_CAPACITY, None),
        (ON_AZURE + azure("OverconstrainedAllocationRequest"), AZURE, Reason.NO_CAPACITY, None),
        (
            ON_AZURE + azure("SkuNotAvailable", "Following SKUs have failed for Capacity Restrictions: NC24ads"),
            AZURE,
            Reason.NO_CAPACITY,
            None,
        ),
        (
            ON_AZURE + azure("SkuNotAvailable", "The requested VM size is not available"),
            AZURE,
            Reason.NOT_OFFERED,
            None,
        ),
        (
            ON_AZURE + azure("OperationNotAllowed", "results in exceeding approved standardNCFamily Cores quota."),
            AZURE,
            Reason.QUOTA_EXCEEDED,
            None,
        ),
        (ON_AZURE + azure("QuotaExceeded"), AZURE, Reason.QUOTA_EXCEEDED, None),
        (ON_AZURE + azure("AuthorizationFailed"), AZURE, Reason.NOT_AUTHORIZED, None),
        (ON_AZURE + azure("ReadOnlyDisabledSubscription"), AZURE, Reason.NOT_AUTHORIZED, None),
        (ON_AZURE + azure("InvalidAuthenticationTokenTenant"), AZURE, Reason.CREDENTIALS_INVALID, None),
        (
            ON_AZURE + "[azure.core.exceptions.ClientAuthenticationError] AADSTS7000222: the secret is expired\n",
            AZURE,
            Reason.CREDENTIALS_INVALID,
            "",
        ),
        (
            "\x1b[33mFound no quota for p4d.24xlarge on-demand instances in region us-west-2 in AWS. \x1b[0m\n",
            "aws/us-west-2",
            Reason.QUOTA_EXCEEDED,
            "NoQuota",
        ),
        (
            "Task 'r1' requires GCP which is not enabled. To enable access, run: sky check gcp\n",
            "gcp",
            Reason.CREDENTIALS_INVALID,
            "NotEnabled",
        ),
        (
            ON_KUBERNETES + "ResourcesUnavailableError: Failed to acquire resources (GPUs) in context x for y. "
            "Reason: Timed out while waiting for nodes to start. 'Insufficient nvidia.com/gpu'\n",
            "kubernetes",
            Reason.UNSCHEDULABLE,
            "",
        ),
    ],
)
def test_a_providers_code_has_a_reason_of_its_own(log: str, place: str, reason: Reason, code: str | None) -> None:
    (tried,) = places_tried(log + NEXT)
    assert (tried.place, tried.reason) == (place, reason)
    assert tried.code == code if code is not None else tried.code in log
    assert classify(FAILED, GIVEN_UP, log + NEXT).reason is reason


def test_a_launch_over_several_places_says_of_each_why_it_was_not_taken() -> None:
    log = ON_AWS + aws("VcpuLimitExceeded") + NEXT + ON_GCP + gcp("ZONE_RESOURCE_POOL_EXHAUSTED") + ON_AZURE
    log += azure("AuthorizationFailed")
    assert [(tried.place, tried.code) for tried in places_tried(log)] == [
        ("aws/us-east-1", "VcpuLimitExceeded"),
        ("gcp/us-central1/us-central1-a", "ZONE_RESOURCE_POOL_EXHAUSTED"),
        ("azure/eastus", "AuthorizationFailed"),
    ]
    failure = classify(FAILED, GIVEN_UP, log)
    assert failure.reason is Reason.NO_CAPACITY, "one of the places may have room again, so it is worth waiting"
    assert failure.message.startswith("gcp/us-central1/us-central1-a: Got return code")
    assert all(word in failure.message for word in ("VcpuLimitExceeded", "AuthorizationFailed", "resources.infra"))


def test_of_the_zones_of_one_place_the_one_that_may_get_room_decides() -> None:
    log = ON_AWS + aws("InsufficientInstanceCapacity") + aws("Unsupported", "not supported in us-east-1e") + NEXT
    assert [(one.place, one.code) for one in places_tried(log)] == [("aws/us-east-1", "InsufficientInstanceCapacity")]


def test_a_place_that_was_tried_twice_is_listed_once() -> None:
    log = ON_AWS + aws("InsufficientInstanceCapacity") + NEXT + ON_AWS + aws("Unsupported") + NEXT
    assert [(one.place, one.reason) for one in places_tried(log)] == [("aws/us-east-1", Reason.NO_CAPACITY)]


def test_a_place_that_had_room_is_not_among_those_that_had_none() -> None:
    log = ON_AWS + aws("InsufficientInstanceCapacity") + NEXT + ON_GCP + "Instance is up.\n"
    assert [one.place for one in places_tried(log)] == ["aws/us-east-1"]


def test_machines_that_came_up_and_never_answered_are_no_lack_of_capacity_elsewhere() -> None:
    log = ON_AWS + aws("InsufficientInstanceCapacity") + NEXT + ON_GCP
    failure = classify("RuntimeError", "Failed to SSH to 203.0.113.7 after timeout 600s, with Error: refused", log)
    assert failure.reason is Reason.LAUNCH_TIMED_OUT
    assert "203.0.113.7" in failure.message


def test_rejected_credentials_are_named_although_skypilot_only_says_exit() -> None:
    log = ON_AWS + "Failed to fetch IAM role.\nError code: UnauthorizedOperation\nBoto3 error: {}\n"
    assert classify("SystemExit", "1", log).reason is Reason.NOT_AUTHORIZED
    assert classify("SystemExit", "1", "").reason is Reason.CREDENTIALS_INVALID


@pytest.mark.parametrize("reason", [reason for reason in WAYS_OUT if reason is not Reason.NO_MATCHING_RESOURCES])
def test_every_reason_of_a_provider_names_a_field_and_a_way_out(reason: Reason) -> None:
    log = {
        Reason.NO_CAPACITY: aws("InsufficientInstanceCapacity"),
        Reason.QUOTA_EXCEEDED: aws("VcpuLimitExceeded"),
        Reason.CREDENTIALS_INVALID: aws("AuthFailure"),
        Reason.NOT_AUTHORIZED: aws("UnauthorizedOperation"),
        Reason.NOT_OFFERED: aws("Unsupported"),
    }[reason]
    message = classify(FAILED, GIVEN_UP, ON_AWS + log).message
    assert message.startswith("aws/us-east-1: An error occurred (")
    assert "What helps: " in message
    assert "resources.infra" in message


def test_an_unknown_region_is_a_mistake_in_the_spec() -> None:
    failure = classify("ValueError", "Invalid region 'us-esat-1'. Did you mean one of these: us-east-1?")
    assert failure.reason is Reason.INVALID_SPEC
    assert "us-esat-1" in failure.message


LINES = st.sampled_from(
    [ON_AWS, ON_GCP, ON_AZURE, ON_KUBERNETES, NEXT, aws("AuthFailure"), gcp("QUOTA_EXCEEDED"), azure("Blocked"), "x\n"]
)


@settings(deadline=None)
@given(st.lists(st.one_of(LINES, st.text(max_size=80)), max_size=20))
def test_any_log_is_read_and_no_place_is_listed_twice(lines: list[str]) -> None:
    tried = places_tried("".join(lines))
    assert len({one.place for one in tried}) == len(tried)
    assert all(isinstance(one, PlaceTried) and one.place and len(one.words) <= 400 for one in tried)


def test_no_code_means_two_things() -> None:
    known = "InsufficientInstanceCapacity VcpuLimitExceeded AuthFailure UnauthorizedOperation Unsupported QuotaExceeded"
    for code in [*known.split(), "RequestLimitExceeded", "UNSUPPORTED_OPERATION", "forbidden", "8"]:
        assert len([reason for reason, pattern in CODES if pattern.search(code)]) == 1, code
