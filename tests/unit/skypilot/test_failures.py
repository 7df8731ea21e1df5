"""SkyPilot's errors, as they were seen, and what a person is told."""

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.text import cause, clean, tail
from deepseek_operator.skypilot.failures import classify


@pytest.mark.parametrize(
    ("error_type", "message", "reason"),
    [
        (
            "ResourcesUnavailableError",
            "Failed to provision all possible launchable resources. Reason: Timed out while waiting for nodes "
            "to start. Details: '0/3 nodes are available: 3 Insufficient nvidia.com/gpu.'",
            Reason.UNSCHEDULABLE,
        ),
        (
            "ResourcesUnavailableError",
            "Kubernetes cluster does not contain any instances satisfying the request: 1x Kubernetes({'H200': 16})",
            Reason.NO_MATCHING_RESOURCES,
        ),
        ("NoCloudAccessError", "Cloud access is not set up. Run: sky check", Reason.CREDENTIALS_INVALID),
        (
            "ResourcesUnavailableError",
            "Task requires aws which is not enabled. To enable access, change the task cloud requirement or run: "
            "\x1b[1msky check aws\x1b[0m",
            Reason.CREDENTIALS_INVALID,
        ),
        (
            "ResourcesUnavailableError",
            "Failed to create container while launching the node. Error: ErrImagePull: failed to pull image",
            Reason.IMAGE_PULL_FAILED,
        ),
        ("Exception", "KubernetesError: (403) Reason: Forbidden", Reason.NOT_AUTHORIZED),
        ("ResourcesUnavailableError", "Failed to acquire resources in all zones in us-east-1", Reason.NO_CAPACITY),
        ("SystemExit", "1", Reason.CREDENTIALS_INVALID),
        ("RuntimeError", "rsync is not installed", Reason.LAUNCH_FAILED),
    ],
)
def test_an_error_has_a_reason_of_its_own(error_type: str, message: str, reason: Reason) -> None:
    assert classify(error_type, message).reason is reason


def test_the_gpu_that_is_not_offered_is_named() -> None:
    message = (
        "Kubernetes cluster does not contain any instances satisfying the request: 1x Kubernetes(cpus=0.5+, mem=2+, "
        "{'L4': 1}).\nTo fix: relax or change the resource requirements.\n"
    )
    told = classify("ResourcesUnavailableError", message).message
    assert "no node of the cluster offers any of these, with the CPUs and the memory that are wanted: L4:1. " in told


def test_the_gpus_that_no_node_has_are_named_in_the_same_order_each_time() -> None:
    kinds = ["H100", "GB200", "L4", "A100", "H200", "B200", "B300", "L40S", "A10G", "T4"]
    for order in (kinds, kinds[::-1]):
        asked = ", ".join(f"1x Kubernetes({{'{kind}': 1}}, image_id=docker:vllm/vllm-openai:v0)" for kind in order)
        message = f"Kubernetes cluster does not contain any instances satisfying the request: {asked}."
        told = classify("ResourcesUnavailableError", message).message
        assert (
            "wanted: A100:1, A10G:1, B200:1, B300:1, GB200:1, H100:1, H200:1, L40S:1 and 2 more. What helps: " in told
        )


def test_what_skypilots_log_puts_before_a_line_is_left_out() -> None:
    quoted = "kubernetes: W 11-28 03:08:35.327 PID=122 instance.py:2628] KubernetesError: no such image"
    assert clean(quoted) == "kubernetes: KubernetesError: no such image"


def test_hints_for_skypilots_command_line_are_left_out() -> None:
    message = "\x1b[31mNo room.\x1b[0m\nTo keep retrying until the cluster is up, use the `--retry-until-up` flag."
    assert classify("RuntimeError", message).message == "RuntimeError: No room."


@pytest.mark.parametrize(
    "secret",
    [
        "hf_abcdefghijklmnop",
        "sk-abcdefghijklmnop",
        "Bearer abcdefghijkl.mnop",
        "--api-key=verysecret",
        "token=abcdefgh",
    ],
)
def test_secrets_are_never_shown(secret: str) -> None:
    value = secret.split("=")[-1].split(" ")[-1]
    assert value not in clean(f"failed with {secret} in it")
    assert value not in tail(f"line\nfailed with {secret} in it")


def test_a_log_keeps_its_end() -> None:
    text = "\n".join(f"line {n}" for n in range(500))
    assert tail(text, lines=3) == "line 497\nline 498\nline 499"


def test_words_are_bounded_and_say_that_they_were_cut() -> None:
    assert clean("four\n  words,\tone line", limit=19) == "four words, one li…"
    assert clean("four words", limit=10) == "four words"
    assert tail("ab\n\n \ncd", limit=5) == "ab\ncd"
    assert tail("abc\nde", limit=5) == "…c\nde"
    assert tail("one\n\ntwo", lines=2) == "one\ntwo", "empty lines do not count"


def test_halves_of_characters_which_nobody_can_store_are_left_out() -> None:
    """Python writes bytes that are no text as such: in the error of a command whose output was not UTF-8, say."""
    assert clean("file caf\udce9 \ud83d") == "file caf"
    assert clean("caf\u00e9 \U0001f600") == "caf\u00e9 \U0001f600"
    assert cause("OSError: no file caf\udce9").startswith("OSError: no file caf\nlast")


def test_the_end_of_a_log_is_told_without_what_skypilot_adds() -> None:
    assert cause("(r1, pid=9) Killed\nERROR: Job 9 failed with return code list: [1]\n") == "Killed"


def test_the_cause_is_the_first_error_and_not_the_last_line() -> None:
    log = (
        "(r1, pid=9) (Worker pid=7) ERROR 11-24 07:18:44 [multiproc_executor.py:953]     param = params_dict[name]\n"
        "(r1, pid=9) (Worker pid=7) ERROR 11-24 07:18:44 [multiproc_executor.py:953] KeyError: 'layers.1.gate'\n"
        "(r1, pid=9)     raise RuntimeError(\n"
        "(r1, pid=9) RuntimeError: Engine core initialization failed. See root cause above.\n"
        "ERROR: Job 9 failed with return code list: [1]\n"
    )
    assert cause(log).startswith("KeyError: 'layers.1.gate'; RuntimeError: Engine core initialization failed.")
    assert "Job 9" not in cause(log)


def test_a_refused_argument_is_a_cause_too() -> None:
    assert cause("usage: vllm serve\n(r1, pid=9) vllm serve: error: unrecognized arguments: --x\n").startswith(
        "vllm serve: error"
    )
