"""A place that does not exist, or cannot be had: the sentence names the field, the value and a way out."""

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.skypilot.failures import classify, no_access

LISTED = ", ".join(f"eu-west-{number}" for number in range(1, 12))

SCHEMA = "^(?:(?i:(aws|azure|gcp))(?:/[^/]+(?:/[^/]+)?)?|\\*(?:/[^/]+(?:/[^/]+)?)?|(?i:kubernetes|k8s)(?:/.+)?)$"

# type of the error, SkyPilot's own words (0.14.1), reason, start of the sentence, way out
CASES = [
    (
        "InvalidSkyPilotConfigError",
        f"Invalid resources YAML: 'awss' does not match '{SCHEMA}'. Check problematic field(s): $.infra",
        "spec.resources.infra: awss: no cloud of this name; ",
        "did you mean aws or ssh?",
    ),
    (
        "InvalidSkyPilotConfigError",
        f"Invalid resources YAML: 'awss/us-east-1' does not match '{SCHEMA}'. Check problematic field(s): "
        "$.ordered[1].infra",
        "spec.resources.infra: awss: no cloud of this name; ",
        "did you mean aws or ssh?",
    ),
    (
        "ValueError",
        "Cloud 'awss' is not a valid cloud among ['aws', 'gcp']. Did you mean 'aws'?",
        "spec.resources.infra: awss: ",
        "did you mean aws or ssh?",
    ),
    (
        "ValueError",
        "Cloud 'xqz' is not a valid cloud among ['aws', 'gcp'].",
        "spec.resources.infra: xqz: ",
        "SkyPilot knows aws, azure,",
    ),
    (
        "ValueError",
        "Cloud 'yotta' is not a valid cloud among ['aws', 'gcp'].",
        "spec.resources.infra: yotta: the SkyPilot server has no such cloud; ",
        "use one it knows, or upgrade it",
    ),
    (
        "ValueError",
        "\x1b[31mInvalid region 'us-esat-1'\nDid you mean one of these: 'us-east-1, us-east-2'?\x1b[0m",
        "spec.resources.infra: us-esat-1: SkyPilot's catalog has no region of this name; ",
        "did you mean us-east-1 or us-east-2?",
    ),
    (
        "ValueError",
        f"Invalid region 'moon'\nList of supported aws regions: '{LISTED}'",
        "spec.resources.infra: moon: SkyPilot's catalog has no region of this name; ",
        "aws has eu-west-1, eu-west-2, eu-west-3, eu-west-4, eu-west-5, eu-west-6, eu-west-7, eu-west-8 and 3 more",
    ),
    (
        "ValueError",
        "Invalid zone 'us-east-1z' for region 'us-east-1'",
        "spec.resources.infra: us-east-1z: SkyPilot's catalog has no zone of this name in us-east-1; ",
        "leave the zone out, and any will do",
    ),
]


@pytest.mark.parametrize(("kind", "said", "start", "way_out"), CASES)
def test_a_place_that_does_not_exist_is_named_with_what_would_do(
    kind: str, said: str, start: str, way_out: str
) -> None:
    failure = classify(kind, said)
    assert failure.reason is Reason.INVALID_SPEC
    assert failure.message.startswith(start)
    assert way_out in failure.message


def test_a_cloud_is_not_named_twice_where_the_server_was_asked_about_it() -> None:
    failure = no_access("awss", "ValueError", "Cloud 'awss' is not a valid cloud among ['aws']. Did you mean 'aws'?")
    assert failure.reason is Reason.INVALID_SPEC
    assert failure.message == "spec.resources.infra: awss: no cloud of this name; did you mean aws or ssh?"


def test_a_cloud_that_is_not_enabled_is_named_with_the_reason_of_the_server_and_what_to_do() -> None:
    said = "Checking credentials\n  gcp: disabled\n    Reason [compute]: GCP credentials are not set.\n"
    failure = no_access("gcp", "", said)
    assert failure.reason is Reason.CREDENTIALS_INVALID
    assert failure.message == (
        "spec.resources.infra: gcp: the SkyPilot server has no working credentials for gcp (GCP credentials are not "
        "set); give it some, as docs/clouds.md says, or name another place. Nothing was launched."
    )


def test_what_no_catalog_offers_comes_with_the_fields_that_would_help() -> None:
    failure = classify("ResourcesUnavailableError", "Catalog does not contain any instances satisfying L4:3")
    assert failure.reason is Reason.NO_MATCHING_RESOURCES
    assert "L4:3" in failure.message
    for field in ("resources.accelerators", "resources.infra", "resources.maxHourlyCost", "capacityType"):
        assert field in failure.message
