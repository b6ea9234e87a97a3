"""Tasks whose scoring runs what the model wrote (HumanEval and its like): judged in a child process.

The child is a fresh interpreter with an allow-listed environment and without network. It loads the
task once; each document is then evaluated in a process of its own (`checks.isolation`).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from checks.isolation import Ended, Limits, run_isolated
from checks.metrics import Choice, unit_of
from checks.protocol import DocumentValues
from gate.errors import InfrastructureError, MeasurementError
from gate.records import Document, Place, Policy, TaskSpec, Trust

PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "XDG_CACHE_HOME",
)
LOADING_SECONDS = 600.0
LIMITS = Limits()
# The network is left before anything is imported, since a process with threads cannot; then the parent's
# import path is taken over, so that nothing in the working folder can stand for a package.
START = """
import json, sys
kept = sys.path[:]
sys.path.insert(0, sys.argv[2])
import isolation
sys.path[:] = kept
try:
    isolation.leave_network()
except OSError as error:
    print(json.dumps({"how": "failed", "text": str(error)}), flush=True)
    raise SystemExit(1)
sys.path[:] = json.loads(sys.argv[1])
from checks.generated_code import serve
serve()
"""


def environment(parent: dict[str, str]) -> dict[str, str]:
    """The child's environment: where caches are, and nothing that could be a secret."""
    kept = {name: parent[name] for name in PASSED_ON if name in parent}
    return kept | {"HF_ALLOW_CODE_EVAL": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


class CodeJudge:
    """Evaluates the documents of one task in a child, which starts with the first and ends with this."""

    def __init__(
        self,
        spec: TaskSpec,
        policy: Policy,
        index: Path | None,
        leaf: str,
        choice: Choice,
        limits: Limits = LIMITS,
    ) -> None:
        self.choice, self.leaf, self.limits = choice, leaf, limits
        self.order = {
            "spec": asdict(spec),
            "include": policy.include,
            "policy": policy.path,
            "index": str(index) if index else "",
            "leaf": leaf,
            "limits": asdict(self.limits),
        }
        self._child: subprocess.Popen[bytes] | None = None

    def evaluate(self, document: Document, raw: Sequence[Any]) -> DocumentValues:
        """A document's values; code that runs out of time or memory, or dies, counts as wrong.

        Raises MeasurementError where the metric is not one of right and wrong, or the task failed, and
        InfrastructureError where code cannot be isolated.
        """
        child = self._child or self._start()
        reply = self._ask(
            child, {"number": document.number, "hash": document.hash, "raw": raw}, self._patience()
        )
        if reply["how"] == "done":
            answer = json.loads(reply["text"])
            return DocumentValues(answer["values"], answer["items"])
        what = f"{self.leaf} document {document.number}: {reply['how']}: {reply['text']}"
        if reply["how"] == "failed" or unit_of(self.choice.metric) != "accuracy":
            raise MeasurementError(what)
        return DocumentValues({self.choice.key: 0.0})

    def _patience(self) -> float:
        return self.limits.seconds + 30.0

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                START,
                json.dumps([p for p in sys.path if p]),
                os.path.dirname(__file__),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(dict(os.environ)),
            start_new_session=True,
        )
        weakref.finalize(self, _end, child)
        self._child = child
        reply = self._ask(child, self.order, LOADING_SECONDS)
        if reply["how"] != "done":
            raise InfrastructureError(
                f"{self.leaf} runs code that the model wrote, which cannot be isolated here: {reply['text']}",
                hint="allow user namespaces (kernel.unprivileged_userns_clone, seccomp), or drop the task",
            )
        return child

    def _ask(self, child: subprocess.Popen[bytes], message: object, seconds: float) -> dict[str, str]:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(message).encode() + b"\n")
            child.stdin.flush()
            line = _line_within(child.stdout, seconds)
        except BrokenPipeError:
            line = b""
        if not line:
            _end(child)
            self._child = None
            raise InfrastructureError(f"{self.leaf}: the process that evaluates generated code died")
        reply: dict[str, str] = json.loads(line)
        return reply


def _line_within(stream: IO[bytes], seconds: float) -> bytes:
    """A line, or nothing when the child ended or took too long."""
    deadline, parts = time.monotonic() + seconds, b""
    while (left := deadline - time.monotonic()) > 0 and select.select([stream], [], [], left)[0]:
        part = os.read(stream.fileno(), 65536)
        if not part or (parts := parts + part).endswith(b"\n"):
            break
    return parts if parts.endswith(b"\n") else b""


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream:
            stream.close()


# ── The child ────────────────────────────────────────────────────────────────────────────────────


def serve() -> None:
    """The child's loop: an order, then documents, one JSON line each; ends when its parent does."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a task prints must not mix with the replies
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        order = json.loads(sys.stdin.readline())
        try:
            evaluate = _evaluator(order, scratch)
        except Exception as error:
            _reply(replies, Ended("failed", f"{type(error).__name__}: {error}"))
            return
        _reply(replies, Ended("done", ""))
        for line in sys.stdin:
            _reply(replies, evaluate(json.loads(line)))


def _reply(stream: IO[str], ended: Ended) -> None:
    stream.write(json.dumps({"how": ended.how, "text": ended.text}) + "\n")
    stream.flush()


def _evaluator(order: dict[str, Any], scratch: str) -> Any:
    from checks.benchmark_documents import document_hash, one_document
    from checks.benchmark_tasks import TaskNames
    from checks.benchmark_values import answered, document_values
    from checks.benchmarks import find, task_documents

    names = TaskNames(Path(order["index"]) if order["index"] else None)
    for folder in order["include"]:
        names.add_folder(Path(folder))
    spec = TaskSpec(**{**order["spec"], "place": Place(**order["spec"]["place"])})
    policy = Policy(
        (), (spec,), include=tuple(order["include"]), trust=Trust(generated_code=True), path=order["policy"]
    )
    task = find(spec, policy, names).leaves[order["leaf"]]
    documents, limits = task_documents(task), Limits(**order["limits"])

    def evaluate(asked: dict[str, Any]) -> Ended:
        doc = documents[asked["number"]]
        if document_hash(doc) != asked["hash"]:
            return Ended("failed", "the task gave other documents this time")

        def compute() -> str:
            raw = [tuple(one) if isinstance(one, list) else one for one in asked["raw"]]
            found = document_values(task, answered(one_document(task, doc, asked["number"]), raw))
            return json.dumps({"values": dict(found.values), "items": dict(found.items)})

        return run_isolated(compute, limits, scratch)

    return evaluate
