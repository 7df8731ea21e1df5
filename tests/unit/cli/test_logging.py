"""A line of the log says of which object and replica it speaks, and why."""

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from deepseek_operator.cli.logs import LogFormat, configure_logging
configure_logging(LogFormat.JSON)
with structlog.contextvars.bound_contextvars(object="serving/r1", replica="r1-0", reason="NoCapacity"):
    structlog.get_logger("ours").info("action", action="Launch")
    logging.getLogger("theirs").warning("slow")
logging.getLogger("kopf._core.reactor.observation").error("Request attempt #1 failed; will retry: GET https://a/apis")
logging.getLogger("aiohttp.access").info("GET /healthz")
"""


def test_lines_carry_object_replica_and_reason_and_what_libraries_repeat_makes_none() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["action", "slow"]
    for line in lines:
        assert (line["object"], line["replica"], line["reason"]) == ("serving/r1", "r1-0", "NoCapacity")
    assert lines[0]["action"] == "Launch"
