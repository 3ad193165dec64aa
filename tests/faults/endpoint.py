"""An OpenAI-compatible endpoint that answers by rule, and worse ones: slow, lying, half-open."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import forks

_SAID: dict[str, Any] = {
    "MarkAnswer": {"evidence": ["a quote"], "reason": "because of that", "mark": "positive"},
    "ReviewAnswer": {"reason": "because of that", "tier": "A"},
    "PlannerAnswer": {"personas": [{"name": "Recent taste", "why": "chosen lately", "items": [1]}]},
    "ExpertAnswer": {"tags": [{"tag": "something new", "why": "not seen yet"}] * 3},
    "ArbiterAnswer": {"keep": [{"tag": n, "why": "close to the person"} for n in range(1, 9)]},
    "StyleAnswer": {"tone": "plain", "first": ["relevance"], "avoid": "superlatives"},
    "ExplainerAnswer": {
        "sentences": [{"item": n, "text": "This fits what you chose lately."} for n in range(1, 7)]
    },
}
_LIES = (  # 200 OK, each with something else than what was asked for
    b"<html><body>Welcome to the hotel's network</body></html>",
    b'{"choices": []}',
    b'{"choices": [{"message": {"content": "{\\"mark\\": \\"splendid\\"}"}}]}',
    b'{"choices": [{"message": {"content": 7}}], "usage": {"prompt_tokens": "many"}}',
    b"[1, 2",
    b'{"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "length"}]}',
    b'"\xff\xfe"',
    b'{"choices": [{"message": {"content": "{}"}}], "usage": [1]}',
)
_WAITS = {"slow": 0.5, "half-open": 3600.0}  # seconds before an answer
KINDS = ("honest", "slow", "lying", "half-open", "torn", "failing", "closing")


@contextmanager
def endpoint(folder: Path, kind: str = "honest", pause_s: float = 0.003) -> Iterator[str]:
    """An endpoint in a process of its own for the block; gives the address that clients want."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    def serve() -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(kind, pause_s), False)
        server.socket.close()
        server.socket = listener
        server.daemon_threads = True
        server.serve_forever(poll_interval=60)

    with forks.beside(serve, folder / f"endpoint-{kind}.log"):
        listener.close()
        yield url


def _handler(kind: str, pause_s: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked = 0

        def do_GET(self) -> None:
            _send(self, json.dumps({"object": "list", "data": [{"id": "scripted"}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            Handler.asked += 1
            time.sleep(_WAITS.get(kind, pause_s))
            _reply(self, kind, Handler.asked, body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _reply(to: BaseHTTPRequestHandler, kind: str, number: int, body: dict[str, Any]) -> None:
    """The number-th answer of an endpoint of this kind."""
    if kind == "closing":
        to.close_connection = True  # else the open files of the socket keep it open
        to.connection.shutdown(socket.SHUT_RDWR)
    elif kind == "failing":
        _send(to, b'{"error": {"message": "the engine fell over"}}', status=500)
    elif kind == "lying":
        _send(to, _LIES[number % len(_LIES)])
    else:
        _send(to, answer(body), torn=kind == "torn")


def _send(to: BaseHTTPRequestHandler, said: bytes, status: int = 200, torn: bool = False) -> None:
    """Headers and body; a torn one ends in its middle."""
    to.send_response(status)
    to.send_header("content-type", "application/json")
    to.send_header("content-length", str(len(said)))
    to.end_headers()
    to.wfile.write(said[: len(said) // 2] if torn else said)
    if torn:
        to.connection.shutdown(socket.SHUT_RDWR)


def answer(body: dict[str, Any]) -> bytes:
    """What the schema of a question allows; without a schema an echo."""
    form = body.get("response_format")
    name = form["json_schema"]["name"] if form else ""
    text = json.dumps(_SAID[name]) if form else f"heard: {body['messages'][-1]['content']}"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return json.dumps({"choices": [choice | {"finish_reason": "stop"}], "usage": usage}).encode()
