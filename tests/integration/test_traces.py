"""Traces of a real operator process, as a receiver of OTLP over HTTP gets them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes.traces import TraceReceiver
from tests.integration.stage import Stage, until


@pytest.fixture
def receiver(alone: Stage) -> Iterator[TraceReceiver]:
    """What an operator sends to that runs in place of the one without traces."""
    alone.operator.end()
    with TraceReceiver() as receiver:
        flags = (f"--tracing-endpoint={receiver.url}", "--instance=dsd-int-traced")
        operator = replace(alone.operator, flags=flags, process=None)
        try:
            operator.start()
            yield receiver
        finally:
            operator.end()
            alone.operator.start()


def test_a_launch_is_a_trace_that_leads_to_the_pass_which_has_sent_it(alone: Stage, receiver: TraceReceiver) -> None:
    alone.apply("traced")
    alone.until_ready("traced")

    (launch,) = until(lambda: receiver.named("launch"), "the launch was sent")
    assert launch.attributes["deepseek_operator.deployment"] == "traced"
    assert launch.attributes["deepseek_operator.result"] == "Ready"
    assert launch.ended >= launch.began  # without stages: this engine answers as soon as its nodes are up
    (sent,) = until(lambda: [span for span in receiver.named("Launch") if span.id in launch.links], "the action")
    assert "SkyPilot /launch" in receiver.below(sent)
    (whole,) = until(lambda: [span for span in receiver.named("pass") if span.id == sent.parent], "the pass")
    assert "Launch" in whole.attributes["deepseek_operator.actions"]
    assert receiver.resource["service.instance.id"] == "dsd-int-traced"
