"""Agents and endpoints on this machine, for tests of the probe panel."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an answer."""


def write_panel(path: Path, names: Iterable[str], **further: object) -> str:
    """A panel of refund requests; the path as one types it."""
    lines = [{"request_id": name, "capability": "refunds", "text": f"Refund {name}?", **further} for name in names]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def python_agent(folder: Path, body: str, *, name: str = "agent.py") -> str:
    """A command whose program has the question in `q` and runs *body*."""
    path = folder / name
    path.write_text(f"import json, os, sys, time\nq = json.load(sys.stdin)\n{body}\n", encoding="utf-8")
    return f"{sys.executable} -S -E {path}"


def shell_agent(folder: Path, passes: Callable[[str, str], bool], models: Sequence[str], names: Sequence[str]) -> str:
    """
    A command that starts fast: a dollar cent for each answer, and a line in `calls` for each question.

    Args:
        folder: Where its files go.
        passes: Whether a model passes a probe.
        models: All models.
        names: All probes.
    """
    for model in models:
        (folder / model).mkdir()
        for name in names:
            if passes(model, name):
                (folder / model / name).touch()
    script = folder / "agent.sh"
    script.write_text(
        "read -r q\n"
        """id=${q#*'"request_id": "'}; id=${id%%'"'*}; model=${q#*'"model": "'}; model=${model%%'"'*}\n"""
        f'cd {folder}; echo "$model $id" >> calls\n'
        '[ -e "$model/$id" ] && success=true || success=false\n'
        'echo "{\\"success\\": $success, \\"failure_class\\": \\"wrong\\", \\"usage\\": {\\"cost_usd\\": 0.01}}"\n',
        encoding="utf-8",
    )
    return f"sh {script}"


@contextmanager
def chat_server(reply: Callable[[Any], Reply]) -> Iterator[tuple[str, list[Any]]]:
    """An OpenAI-compatible endpoint on loopback: its base URL, and the headers and bodies that it was sent."""
    requests: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append((self.path, self.headers, body))
            status, headers, content = reply(body)
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(text: str, **usage: int) -> bytes:
    """The body of a chat completion."""
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()
