"""What ``run`` refuses before it does anything, in a sentence that names the flag."""

import pytest
import typer

from deepseek_operator.cli.run import check_proxy_pod, check_user_id


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "Invalid JSON"),
        ("[]", "must be a mapping of fields"),
        ('{"toleration": []}', "toleration: []: there is no such field; there are affinity, imagePullSecrets"),
        ('{"tolerations": {}}', "tolerations: must be a list"),
        ('{"imagePullSecrets": ["registry"]}', "imagePullSecrets[0]: registry: must be a mapping"),
        ('{"securityContext": {"runAsUser": 0}}', "securityContext.runAsUser: 0: must be at least 1"),
    ],
)
def test_what_cannot_be_part_of_a_pod_is_refused_with_its_field(value: str, said: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        check_proxy_pod(value)
    assert said in refused.value.message
    assert refused.value.param_hint == "--proxy-pod"


@pytest.mark.parametrize("value", ["", "d5ee900", "D5EE9000", "d5ee9000a", "skypilot"])
def test_what_is_no_user_id_is_refused(value: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be 8 lower-case hexadecimal digits"):
        check_user_id(value)
