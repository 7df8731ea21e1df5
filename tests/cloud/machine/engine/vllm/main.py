"""``vllm serve MODEL ...``: a small HTTP engine that answers as vLLM does, without a model."""

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--served-model-name", nargs="+", default=[])
    options, _ = parser.parse_known_args()
    names = options.served_model_name or [options.model]
    key = os.environ.get("VLLM_API_KEY")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/health":
                self.answer(200, {})
            elif not self.allowed():
                self.answer(401, {"error": "Unauthorized"})
            elif self.path == "/v1/models":
                self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
            else:
                self.answer(404, {"error": "Not Found"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            if not self.allowed():
                self.answer(401, {"error": "Unauthorized"})
            elif body.get("model") not in names:
                self.answer(404, {"error": f"The model {body.get('model')!r} does not exist."})
            else:
                message = {"role": "assistant", "content": f"I am a stand-in of {names[0]}."}
                usage = {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}
                self.answer(200, {"choices": [{"index": 0, "message": message}], "usage": usage})

        def allowed(self) -> bool:
            return key is None or self.headers.get("Authorization") == f"Bearer {key}"

        def answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()
