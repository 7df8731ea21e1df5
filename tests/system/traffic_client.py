"""A steady client of one model: new connections, kept ones and streams, until it is told to stop.

It runs in a pod, with nothing but Python's standard library: ``python traffic_client.py HOST PORT MODEL``. Each
failed request is a line on standard output when it happens; SIGTERM prints a summary. Nothing is retried.
"""

import http.client
import json
import signal
import sys
import threading
import time

MAX_AGE_S = 3.0
"""Seconds for which a connection is kept: shorter than the time that a replica stays after it has left its Service."""
TIMEOUT_S = 60.0


class Client(threading.Thread):
    """One kind of client, a request after the other.

    Attributes
    ----------
    kept
        Connections are used again.
    streaming
        Answers come as server-sent events, which must end with ``[DONE]``.
    """

    def __init__(
        self, kind: str, host: str, port: int, model: str, *, kept: bool = False, streaming: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self.kind, self.host, self.port, self.model = kind, host, port, model
        self.kept, self.streaming = kept, streaming
        self.requests = self.failures = 0
        self.first_failure: float | None = None
        self.last_failure: float | None = None
        self.connection: http.client.HTTPConnection | None = None
        self.opened = 0.0

    def run(self) -> None:
        """Send requests until the process ends."""
        while not stopping.is_set():
            try:
                self.ask()
            except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                self.failed(error)
            self.requests += 1
            time.sleep(1.0)

    def ask(self) -> None:
        """Send one request and read the whole answer."""
        if self.connection is None or not self.kept or time.monotonic() - self.opened > MAX_AGE_S:
            self.close()
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
            self.opened = time.monotonic()
        body = {"model": self.model, "prompt": "Once upon", "max_tokens": 8, "stream": self.streaming}
        self.connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, f"HTTP {answer.status}: {text[:200]}"
        assert not self.streaming or text.rstrip().endswith("data: [DONE]"), "the stream was cut"

    def failed(self, error: Exception) -> None:
        """Note a failed request."""
        self.close()
        self.failures += 1
        self.last_failure = time.time()
        self.first_failure = self.first_failure or self.last_failure
        print(json.dumps({"kind": self.kind, "at": self.last_failure, "error": repr(error)[:300]}), flush=True)

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


stopping = threading.Event()


def main() -> None:
    """Run the three clients until SIGTERM, then print what became of their requests."""
    host, port, model = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    clients = [
        Client("new connections", host, port, model),
        Client("kept connections", host, port, model, kept=True),
        Client("streams", host, port, model, streaming=True),
    ]
    for client in clients:
        client.start()
    print(json.dumps({"started": True}), flush=True)
    stopping.wait()
    for client in clients:
        client.join(TIMEOUT_S)
    report = {
        client.kind: {
            "requests": client.requests,
            "failures": client.failures,
            "window_s": (client.last_failure or 0) - (client.first_failure or 0),
        }
        for client in clients
    }
    print(json.dumps({"summary": report}), flush=True)


if __name__ == "__main__":
    main()
