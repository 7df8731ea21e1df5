"""Spans over OTLP/HTTP, by OpenTelemetry's SDK. Imported only where traces are on; see :mod:`.tracing`.

The SDK reads its other settings from the environment: ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_TRACES_SAMPLER`` ...
Spans are sent by a thread of the SDK; a receiver that is away costs the spans, never a pass.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

import deepseek_operator
from deepseek_operator.api.base import read_time
from deepseek_operator.facts.store import Key
from deepseek_operator.runtime.tracing import EndedLaunch, Note, Tracer

__all__ = ["OtlpTracer"]

_PREFIX: Final = "deepseek_operator."
_LIBRARYS_LOG: Final = logging.getLogger(OTLPSpanExporter.__module__)
_CLOSE_S: Final = 3.0
"""Seconds that the last spans get at the end of the process. The SDK alone would wait for half a minute."""
_LAUNCHES_KEPT: Final = 4096
"""Launches whose decision is remembered: the most launch slots that there can be."""


class OtlpTracer(Tracer):
    """Makes spans, and sends them to a receiver of OTLP over HTTP."""

    def __init__(self, endpoint: str, instance: str) -> None:
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", "deepseek-operator"),
                "service.version": deepseek_operator.__version__,
                "service.instance.id": instance,
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = _Exporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        _LIBRARYS_LOG.addFilter(self._exporter.tells)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("deepseek_operator", deepseek_operator.__version__)
        self._decisions: OrderedDict[str, SpanContext] = OrderedDict()
        """Spans of the actions that have launched replicas which have not ended in a result yet."""

    @contextlib.contextmanager
    def span_of_pass(self, key: Key) -> Iterator[Note]:
        """Return a span around a pass."""
        with self._span("pass", _of_deployment(key)) as span:
            yield _note_on(span)

    @contextlib.contextmanager
    def span_of_action(self, action: str, replica: str, reason: str) -> Iterator[Note]:
        """Return a span around an action of the pass that is under way."""
        attributes = {"replica": replica, "reason": reason}
        with self._span(action, {_PREFIX + name: value for name, value in attributes.items() if value}) as span:
            if action == "Launch":
                self._decided(replica, span.get_span_context())
            yield _note_on(span)

    def skypilot_asked(self, path: str, seconds: float | None, error: str) -> None:
        """Note a request to SkyPilot, if it was made for a pass: the snapshots would be most of all spans otherwise."""
        if not trace.get_current_span().get_span_context().is_valid:
            return
        ended = time.time_ns()
        began = ended - int((seconds or 0.0) * 1e9)
        span = self._tracer.start_span(
            f"SkyPilot {path}", kind=SpanKind.CLIENT, attributes={"url.path": path}, start_time=began
        )
        if error:
            _failed(span, error)
        span.end(ended)

    def launch_ended(self, launch: EndedLaunch) -> None:
        """Note a whole launch: a trace of its own, with a link to the action that has sent it."""
        decision = self._decisions.pop(launch.replica, None)
        attributes = {"replica": launch.replica, "infra": launch.infra, "result": launch.result}
        root = self._tracer.start_span(
            "launch",
            context=Context(),  # not part of the pass that has noticed its end
            attributes=_of_deployment(launch.key) | {_PREFIX + name: value for name, value in attributes.items()},
            links=[Link(decision)] if decision is not None else [],
            start_time=_nanoseconds(launch.began),
        )
        within = trace.set_span_in_context(root, Context())
        for stage in launch.stages:
            span = self._tracer.start_span(stage.name, context=within, start_time=_nanoseconds(stage.began))
            span.end(_nanoseconds(stage.ended))
        for tried in launch.tried:
            what = {"place": tried.place, "reason": tried.reason, "code": tried.code}
            at = read_time(tried.time)
            attributes = {_PREFIX + name: value for name, value in what.items()}
            root.add_event("no machines", attributes, _nanoseconds(at) if at is not None else None)
        if launch.ended is None:
            _failed(root, launch.result)
        root.end(_nanoseconds(launch.ended) if launch.ended is not None else None)

    async def close(self) -> None:
        """Send what has not been sent yet, if that is quickly done."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # too late: the loop has ended
                loop.call_soon_threadsafe(sent.set)

        # A daemon: nothing waits for it at the end of the process.
        threading.Thread(target=shut_down, name="last-spans", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sent.wait(), _CLOSE_S)
        _LIBRARYS_LOG.removeFilter(self._exporter.tells)

    @contextlib.contextmanager
    def _span(self, name: str, attributes: Mapping[str, str]) -> Iterator[trace.Span]:
        span = self._tracer.start_span(name, attributes=attributes)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        except BaseException as error:  # also of a pass that is cancelled because it takes too long
            _failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def _decided(self, replica: str, context: SpanContext) -> None:
        self._decisions[replica] = context
        self._decisions.move_to_end(replica)
        if len(self._decisions) > _LAUNCHES_KEPT:
            self._decisions.popitem(last=False)


class _Exporter(OTLPSpanExporter):
    """Sends spans. Why they cannot be sent is logged once until they can: the library tells it at every attempt."""

    _told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        result = super().export(spans)
        self._told = self._told and result is not SpanExportResult.SUCCESS
        return result

    def tells(self, _: logging.LogRecord) -> bool:
        """Return whether a line of the library is the first one since spans were sent."""
        told, self._told = self._told, True
        return not told


def _of_deployment(key: Key) -> dict[str, str]:
    namespace, name = key
    return {"k8s.namespace.name": namespace, f"{_PREFIX}deployment": name}


def _note_on(span: trace.Span) -> Note:
    def note(name: str, value: str | list[str]) -> None:
        span.set_attribute(_PREFIX + name, value)

    return note


def _failed(span: trace.Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, error_type))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)
