"""A program that is started as ``vllm`` or as ``python3 -m sglang.launch_server``, and serves as they do.

How it misbehaves is in its environment: ``STAND_IN=refuse`` ends at once, ``slow`` never becomes healthy, ``dies`` ends
while it is asked, ``stubborn`` ignores SIGTERM. ``STAND_IN_PIDS`` is a file that gets its process id and its worker's.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODE = os.environ.get("STAND_IN", "")
METRICS = 'vllm:cache_config_info{block_size="16",kv_cache_size_tokens="27000"} 1.0\nvllm:num_requests_running 0\n'
TOKEN_S = 0.004


class Handler(BaseHTTPRequestHandler):
    """The OpenAI API, as far as it is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        healthy = MODE != "slow"
        body = METRICS.encode() if self.path == "/metrics" else b""
        self.send_response(200 if healthy else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["ignore_eos"]
        assert all(isinstance(token, int) for token in asked["prompt"])
        if MODE == "dies":
            print("RuntimeError: CUDA error: an illegal memory access was encountered", flush=True)
            os._exit(1)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(asked["max_tokens"]):
            time.sleep(TOKEN_S)
            self._event({"choices": [{"text": "x"}]})
        self._event({"choices": [], "usage": {"completion_tokens": asked["max_tokens"]}})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, document: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(document).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


def main() -> None:
    """Serve until it is ended."""
    words = sys.argv[1:]
    print("arguments:", *words, flush=True)
    if MODE == "refuse":
        print("ValueError: No available memory for the cache blocks.", flush=True)
        sys.exit(1)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["STAND_IN_PIDS"]).write_text(f"{os.getpid()} {worker.pid}")
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    port = int(words[words.index("--port") + 1])
    host = words[words.index("--host") + 1]
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer((host, port), Handler).serve_forever()


if __name__ == "__main__":
    main()
