"""A server of W&B as far as its client asks: it takes runs and their rows, and tells what it has of a run."""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

WHO = {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}


@dataclass
class TakenRun:
    """What the server was sent of a run; `flags` are those of its last start."""

    name: str = ""
    tags: list[str] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    exit_codes: list[int] = field(default_factory=list)


@dataclass
class WandbServer:
    """The runs by their ids, and where the server listens."""

    address: str = ""
    refuses_runs: bool = False
    runs: dict[str, TakenRun] = field(default_factory=dict)

    def answer(self, question: str, values: dict[str, Any]) -> dict[str, Any] | None:
        match question:
            case "RunResumeStatus":
                return {"model": {"id": "1", "name": "p", "entity": WHO, "bucket": self._bucket(values["name"])}}
            case "UpsertBucket" if self.refuses_runs:
                return None
            case "UpsertBucket":
                run = self.runs.setdefault(values["name"], TakenRun())
                run.name = values["displayName"] or run.name
                run.tags = values["tags"] or run.tags
                config = json.loads(values["config"] or "{}").items()
                run.flags |= {name: one["value"] for name, one in config if name != "_wandb"}
                project = {"id": "1", "name": values["project"], "entity": {"id": "1", "name": "me"}}
                bucket = {"id": values["name"], "name": values["name"], "displayName": run.name, "project": project}
                count = {"historyLineCount": len(run.history)}
                return {"upsertBucket": {"bucket": bucket | count, "inserted": not run.history}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{self.address}/up"} for name in values["files"]]
                self.runs[values["run"]].files.update(values["files"])
                return {"createRunFiles": {"runID": values["run"], "uploadHeaders": [], "files": files}}
            case _:
                return {"viewer": WHO}

    def take(self, run_id: str, stream: dict[str, Any]) -> None:
        """Take rows as W&B's server does, each at its offset."""
        run = self.runs[run_id]
        for name, part in stream.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                run.history[part["offset"] :] = lines
            elif name == "wandb-summary.json":
                run.summary = lines[-1]
        if "exitcode" in stream:
            run.exit_codes.append(stream["exitcode"])

    def _bucket(self, run_id: str) -> dict[str, Any] | None:
        if run_id not in self.runs:
            return None
        run = self.runs[run_id]
        counts = {"historyLineCount": len(run.history), "eventsLineCount": 0, "logLineCount": 0}
        tails = {"historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]), "eventsTail": "[]"}
        texts = {"summaryMetrics": json.dumps(run.summary), "config": "{}", "wandbConfig": '{"t": 1}'}
        return {"id": run_id, "name": run_id, "displayName": run.name, "tags": run.tags, **counts, **tails, **texts}


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that has gone."""


@contextmanager
def serving() -> Iterator[WandbServer]:
    state = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_PUT(self) -> None:
            self._read()
            self._reply({})

        def do_POST(self) -> None:
            content = self._read()
            if self.path.endswith("/graphql"):
                asked = json.loads(content)
                found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                data = state.answer(found[1] if found else "", asked.get("variables") or {})
                wrong = {"errors": [{"message": "this project is full"}], "data": None}
                self._reply(wrong if data is None else {"data": data})
                return
            if self.path.endswith("/file_stream"):
                state.take(self.path.split("/")[-2], json.loads(content))
            self._reply({})

        def _read(self) -> bytes:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

        def _reply(self, answer: object) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = QuietServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
