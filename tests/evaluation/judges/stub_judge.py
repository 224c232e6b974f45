"""A judge's server in this process: verdicts from a function of what is asked, and the troubles of a real one."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Verdict = Callable[[dict[str, Any]], str]


class StubJudge:
    """`troubles` says what happens to the n-th request, from 0: a name below, or None. `billed` counts answers sent."""

    def __init__(self, verdict: Verdict, troubles: Callable[[int], str | None] = lambda number: None) -> None:
        self.verdict, self.troubles = verdict, troubles
        self.lock = threading.Lock()
        self.requests = self.in_flight = self.most_in_flight = 0
        self.billed: Counter[str] = Counter()
        self.keys: set[str | None] = set()
        self.times: list[float] = []
        self.url = ""


@contextmanager
def serving(judge: StubJudge) -> Iterator[StubJudge]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(judge))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()


def completion(text: str, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


def _handler(judge: StubJudge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *given: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with judge.lock:
                number = judge.requests
                judge.requests += 1
                judge.in_flight += 1
                judge.most_in_flight = max(judge.most_in_flight, judge.in_flight)
                judge.keys.add(self.headers.get("Authorization"))
                judge.times.append(time.monotonic())
            try:
                self._answer(body, judge.troubles(number))
            finally:
                with judge.lock:
                    judge.in_flight -= 1

        def _answer(self, body: bytes, trouble: str | None) -> None:
            match trouble:
                case "429":
                    self._send(429, b'{"error": "slow down"}', {"Retry-After": "0.05"})
                case "500":
                    self._send(500, b"oops")
                case "time-out":
                    time.sleep(4.0)
                    self.close_connection = True
                case "death":
                    self.close_connection = True
                case "no JSON":
                    self._send(200, b"\xff\xfe<html>")
                case "no verdict":
                    self._bill(body, "I would rather not say.")
                case status if status is not None and status.isdigit():
                    self._send(int(status), b'{"error": "no"}', {"Location": "http://127.0.0.1:9/"})
                case _:
                    self._bill(body, judge.verdict(json.loads(body)))

        def _bill(self, body: bytes, text: str) -> None:
            with judge.lock:
                judge.billed[hashlib.sha256(body).hexdigest()] += 1
            self._send(200, json.dumps(completion(text)).encode())

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return Handler
