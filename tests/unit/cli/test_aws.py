"""The audit's questions to AWS, with an ``aws`` that answers from a file."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deepseek_operator.cli import aws
from deepseek_operator.cli.aws import AwsError, AwsMachine

USER = "d5ee9000"
PROGRAM = """\
import fnmatch, json, sys
words = sys.argv[1:]
here = {folder!r}
with open(here + "/calls", "a") as calls:
    calls.write(" ".join(words) + "\\n")
answers = json.load(open(here + "/answers"))
for pattern, answer in answers.items():
    if fnmatch.fnmatch(" ".join(words), pattern):
        if "fails" in answer:
            sys.exit(answer["fails"])
        print(json.dumps(answer))
        break
"""


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "aws"
    program.write_text(f"#!{sys.executable}\n" + PROGRAM.replace("{folder!r}", repr(str(tmp_path))))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "answers"


def instance(identity: str, cluster: str, **more: Any) -> dict[str, Any]:
    tags = [{"Key": "skypilot-cluster-name", "Value": f"{cluster}-{USER}"}, {"Key": "Name", "Value": "x"}]
    return {"InstanceId": identity, "InstanceType": "g6.xlarge", "Tags": tags, **more}


REGIONS = {"ec2 describe-regions *": {"Regions": [{"RegionName": "us-east-1"}, {"RegionName": "eu-west-1"}]}}


def test_machines_of_every_enabled_region_are_found(answers: Path) -> None:
    spot = instance("i-2", "chat-1a2b3c4d-9f8e7d6c-1", InstanceLifecycle="spot")
    found = {
        "ec2 describe-instances --region=eu-west-1 *": {"Reservations": [{"Instances": [spot]}]},
        "ec2 describe-instances --region=us-east-1 *": {
            "Reservations": [{"Instances": [instance("i-1", "chat-1a2b3c4d-9f8e7d6c-0")]}]
        },
    }
    answers.write_text(json.dumps(REGIONS | found))
    assert aws.rented(USER) == (
        AwsMachine("i-2", "g6.xlarge", "eu-west-1", True, "chat-1a2b3c4d-9f8e7d6c-1"),
        AwsMachine("i-1", "g6.xlarge", "us-east-1", False, "chat-1a2b3c4d-9f8e7d6c-0"),
    )
    asked = answers.with_name("calls").read_text()
    assert f"Name=tag:skypilot-cluster-name,Values=*-{USER}" in asked, "other users' machines are none of our business"
    assert "Name=instance-state-name,Values=pending,running,stopping,stopped" in asked


@pytest.mark.parametrize("cluster", ["train", "sky-jobs-controller-1a2b3c4d", "alice-dev-2"])
def test_what_somebody_else_launched_as_the_same_user_is_none_of_our_business(answers: Path, cluster: str) -> None:
    """A SkyPilot server that knows its users by tokens files everything of one token under one id."""
    found = {"ec2 describe-instances *": {"Reservations": [{"Instances": [instance("i-1", cluster)]}]}}
    answers.write_text(json.dumps(REGIONS | found))
    assert aws.rented(USER) == ()


def test_a_region_that_cannot_be_asked_is_no_good_news(answers: Path) -> None:
    refusal = {"ec2 describe-instances *": {"fails": "An error occurred (UnauthorizedOperation)"}}
    answers.write_text(json.dumps(REGIONS | refusal))
    with pytest.raises(AwsError, match=r"describe-instances: An error occurred \(UnauthorizedOperation"):
        aws.rented(USER)


def test_without_the_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AwsError, match="install the AWS command line"):
        aws.rented(USER)


def test_the_group_of_a_cluster_goes_after_its_machines_have_ended(answers: Path) -> None:
    groups = {"SecurityGroups": [{"GroupId": "sg-1"}]}
    answers.write_text(json.dumps({"ec2 describe-security-groups *": groups}))
    aws.terminate((AwsMachine("i-1", "g6.xlarge", "us-east-1", False, "chat-1a2b3c4d-9f8e7d6c-0"),))
    asked = [call.split()[1] for call in answers.with_name("calls").read_text().splitlines()]
    assert asked == ["terminate-instances", "wait", "describe-security-groups", "delete-security-group"]
    assert "Values=sky-sg-chat-1a2b3c4d-9f8e7d6c-0" in answers.with_name("calls").read_text()
