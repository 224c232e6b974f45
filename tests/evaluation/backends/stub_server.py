"""A small OpenAI-compatible server: python stub_server.py MODEL_FOLDER PORT [HOW].

HOW: `model` answers with the model of the folder, by plain forward passes of its own; the others answer without one, or
not at all, each in the way that its name says.
"""

import json
import os
import subprocess
import sys
import threading
import time
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER, PORT, HOW = sys.argv[1], int(sys.argv[2]), (sys.argv[3:] or ["echo"])[0]
LOCK = threading.Lock()


@lru_cache(maxsize=1)
def loaded() -> tuple[Any, Any, list[int]]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ends = json.loads((Path(FOLDER) / "generation_config.json").read_text())["eos_token_id"]
    return AutoTokenizer.from_pretrained(FOLDER), AutoModelForCausalLM.from_pretrained(FOLDER).eval(), ends


def log_probs(ids: list[int]) -> Any:
    import torch

    with torch.no_grad():
        return loaded()[1](torch.tensor([ids])).logits[0].log_softmax(dim=-1)


def answered(body: dict[str, Any]) -> dict[str, Any]:
    """Token by token without a cache; draws by inverse distribution function at numbers of the request's seed."""
    import torch

    tokenizer, _, ends = loaded()
    given = body["prompt"] if isinstance(body["prompt"], list) else tokenizer(body["prompt"])["input_ids"]
    if body.get("echo"):
        found = log_probs(given)
        each = [None, *(float(found[place - 1, token]) for place, token in enumerate(given) if place)]
        top = [None, *({"any": float(found[place - 1].max())} for place in range(1, len(given)))]
        return {"text": "", "finish_reason": "length", "logprobs": {"token_logprobs": each, "top_logprobs": top}}
    generator = torch.Generator().manual_seed(body.get("seed", 0))
    made: list[int] = []
    text, reason = "", "length"
    while len(made) < body["max_tokens"]:
        found = log_probs([*given, *made])[-1]
        token = int(
            found.argmax() if not body["temperature"] else torch.multinomial(found.exp(), 1, generator=generator)
        )
        if token in ends:
            reason = "stop"
            break
        made.append(token)
        text = tokenizer.decode(made, skip_special_tokens=True)
        if any(stop in text for stop in body.get("stop", [])):
            reason, text = "stop", min((text.split(stop)[0] for stop in body["stop"]), key=len)
            break
    return {"text": text, "finish_reason": reason, "prompt_tokens": len(given)}


class Handler(BaseHTTPRequestHandler):
    """Speaks so much of the protocol as is asked of it."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        known = {
            "/v1/models": {"data": [{"id": "policy", "owned_by": "stub"}, {"id": FOLDER}]},
            "/version": {"version": "1.2"},
        }
        if HOW == "unlisted":
            known = {"/health": {}}
        self._say(200 if self.path in known else 404, known.get(self.path, {}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if HOW == "dies-later":
            sys.stderr.write("out of memory, says the server\n")
            sys.stderr.flush()
            os._exit(7)
        if HOW == "refuses":
            return self._say(400, {"error": "prompt must be a string"})
        if HOW == "chatters":
            return self._say(200, {"choices": []})
        if HOW == "model":
            with LOCK:
                choice = answered(body)
        else:
            choice = {"text": json.dumps(body, sort_keys=True), "finish_reason": "abort" if HOW == "aborts" else "stop"}
        tokens = 1000 if HOW == "reads-more" else choice.pop("prompt_tokens", None)
        return self._say(200, {"choices": [choice], "usage": {} if tokens is None else {"prompt_tokens": tokens}})

    def _say(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until ended."""
    if HOW == "dies":
        sys.exit("no such model, says the server")
    if HOW == "silent":
        time.sleep(600)
    if HOW == "spawns":  # a child that leaves its group and does not end when asked to
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    if HOW == "model":
        loaded()
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
