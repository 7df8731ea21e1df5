"""A receiver of OpenTelemetry's traces (OTLP over HTTP), in a thread of the test."""

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

__all__ = ["Span", "TraceReceiver"]


@dataclass(frozen=True)
class Span:
    """A span as it was received. Times are seconds since 1970."""

    name: str
    trace: bytes
    id: bytes
    parent: bytes
    began: float
    ended: float
    failed: bool
    attributes: dict[str, Any]
    links: tuple[bytes, ...]
    """Ids of the spans that it points to."""
    events: tuple[tuple[str, dict[str, Any]], ...]


@dataclass
class TraceReceiver:
    """Keeps what comes, unless it is told to refuse.

    Attributes
    ----------
    refuses
        Status with which it answers instead of keeping anything.
    refused
        Exports answered so.
    """

    spans: list[Span] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    """Every export as it came, for a search in everything that was sent."""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refuses: int | None = None
    refused: int = 0

    def __enter__(self) -> Self:
        """Listen on a free port of loopback."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.refuses is None:
                    receiver.take(self.path, dict(self.headers.items()), body)
                else:
                    receiver.refused += 1
                self.send_response(receiver.refuses or 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name, in the order of their start."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began)

    def below(self, parent: Span) -> list[str]:
        """Return the names of the spans right below another one, in the order of their start."""
        found = [span for span in self.spans if span.parent == parent.id and span.trace == parent.trace]
        return [span.name for span in sorted(found, key=lambda span: span.began)]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Keep an export."""
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            self.resource = _values(group.resource.attributes)
            self.spans += [_read(span) for scope in group.scope_spans for span in scope.spans]
        self.bodies.append(body)
        self.paths.append(path)
        self.headers.append(headers)


def _read(span: WireSpan) -> Span:
    return Span(
        name=span.name,
        trace=span.trace_id,
        id=span.span_id,
        parent=span.parent_span_id,
        began=span.start_time_unix_nano / 1e9,
        ended=span.end_time_unix_nano / 1e9,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes=_values(span.attributes),
        links=tuple(link.span_id for link in span.links),
        events=tuple((event.name, _values(event.attributes)) for event in span.events),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
