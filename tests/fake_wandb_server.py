"""W&B's server as far as its client needs one: what it is sent can be looked at. Listens on 127.0.0.1 alone."""

import gzip
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "somebody"
KEY = 40 * "a"


@dataclass
class SentRun:
    """A run as the server knows it."""

    project: str
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    """`groupName`, `jobType`, `displayName`, `tags`."""
    state: str = "running"


class FakeWandb(ThreadingHTTPServer):
    """`runs`: id -> what was sent; `files`: the path of each upload -> its bytes; `views`: workspaces; `operations`:
    the names of all GraphQL requests; `refused`: those that get an error instead of an answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: dict[str, SentRun] = {}
        self.files: dict[str, bytes] = {}
        self.views: list[dict[str, Any]] = []
        self.operations: list[str] = []
        self.refused: set[str] = set()

    def __enter__(self) -> "FakeWandb":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that has all it wants hangs up
            super().handle_error(request, client_address)

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": self._upsert(given), "inserted": True}}
        if operation in ("Runs", "Run"):
            return {"project": self._found(given)}
        if operation == "UpsertView2":
            self.views.append(given)
            return {"upsertView": {"view": {"id": "view", "name": given["name"]}, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}}}
        return ANSWERS.get(operation, {})

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("name") or given["id"]  # the public API knows a run by `id`, which is its name here
        run = self.runs.setdefault(name, SentRun(given.get("project") or ""))
        run.about |= {key: given[key] for key in ABOUT if given.get(key)}
        if given.get("config"):
            run.config |= {key: item["value"] for key, item in json.loads(given["config"]).items()}
        if given.get("summaryMetrics"):
            run.summary = json.loads(given["summaryMetrics"])
        project = {"id": "p", "name": run.project, "entity": {"id": "e", "name": ENTITY}}
        return {"id": name, "name": name, "displayName": name, "config": "{}", "project": project}

    def _found(self, given: dict[str, Any]) -> dict[str, Any] | None:
        wanted = json.loads(given["filters"])["name"]["$in"]
        nodes = [self._node(name, run) for name, run in self.runs.items() if name in wanted]
        if not any(run.project == given["project"] for run in self.runs.values()):
            return None
        page = {"endCursor": None, "hasNextPage": False}
        return {
            "runCount": len(nodes),
            "runs": {"edges": [{"node": n, "cursor": "c"} for n in nodes], "pageInfo": page},
        }

    def _node(self, name: str, run: SentRun) -> dict[str, Any]:
        texts = {"config": "{}", "systemMetrics": "{}", "summaryMetrics": json.dumps(run.summary)}
        return {"id": name, "name": name, "displayName": name, "state": run.state, "user": {}, "tags": [], **texts}

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        run, files = self.runs[name], sent.get("files") or {}
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run.summary = json.loads(line)
        run.history += [json.loads(line) for line in files.get("wandb-history.jsonl", {}).get("content", [])]
        if sent.get("complete"):
            run.state = "finished" if sent.get("exitcode") == 0 else "failed"


ABOUT = ("groupName", "jobType", "displayName", "tags")
ANSWERS: dict[str, dict[str, Any]] = {
    "Viewer": {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}},
    "GetDefaultEntity": {"viewer": {"id": "u", "entity": ENTITY}},
    "ArtifactType": {"project": {"artifact": None}},
}


class Handler(BaseHTTPRequestHandler):
    server: FakeWandb
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        sent = json.loads(self._body() or b"{}")
        if "/file_stream" in self.path:
            self.server.stream(self.path.split("/")[-2], sent)
            return self._reply({})
        found = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])
        operation = found[1] if found else ""
        self.server.operations.append(operation)
        if operation in self.server.refused:
            return self._reply({"errors": [{"message": f"{operation} is refused"}]})
        self._reply({"data": self.server.answer(operation, sent.get("variables") or {})})

    def do_PUT(self) -> None:
        self.server.files[self.path.removeprefix("/upload/")] = self._body()
        self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, what: dict[str, Any]) -> None:
        text = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Not on the test's output."""
