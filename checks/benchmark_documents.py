"""From an lm-eval task to documents and requests, exactly as `simple_evaluate` builds them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.utils import handle_non_serializable, hash_string

from checks.parts import part_of
from gate.digests import folder_digest, folder_files
from gate.errors import DataError
from gate.records import Document, Request
from gate.scoring import ChatTemplate

FEWSHOT_SEED: int = DEFAULT_OTHER_SEED
MOST_FILES, MOST_BYTES = 20_000, 1 << 28  # below a task's folder; lm-eval's own have 963 files at most
SHOWN = 2000  # characters of a rolling document that a report could show


def build_instances(
    task: Task, system: str | None, chat: ChatTemplate | None, total: int, seed: int = FEWSHOT_SEED
) -> list[list[Instance]]:
    """All instances of a task, by document number; the whole task, since a part of it gets other prompts.

    Arguments are those of `simple_evaluate`, and so is the examples' usual `seed`. Raises DataError when
    documents are missing.
    """
    task.set_fewshot_seed(seed=seed)
    task.build_all_requests(
        limit=None,
        rank=0,
        world_size=1,
        system_instruction=system,
        apply_chat_template=chat is not None,
        fewshot_as_multiturn=True,
        chat_template=chat.render if chat else None,
        tokenizer_name=chat.tokenizer if chat else "",
    )
    by_number: dict[int, list[Instance]] = defaultdict(list)
    for instance in task.instances:
        by_number[instance.doc_id].append(instance)
    if sorted(by_number) != list(range(total)):
        raise DataError(
            f"{task.task_name} gave requests for {len(by_number)} of its {total} documents",
            hint="every document must ask at least one request; look at the task's process_docs",
        )
    return [by_number[number] for number in range(total)]


def one_document(task: Task, doc: Any, number: int) -> list[Instance]:
    """A document's instances without examples, to try metrics on; draws no random number."""
    context = task.fewshot_context(
        doc,
        num_fewshot=0,
        system_instruction=None,
        apply_chat_template=False,
        fewshot_as_multiturn=True,
        chat_template=None,
        gen_prefix=task.doc_to_prefix(doc),
    )
    made = task.construct_requests(
        doc=doc,
        ctx=context,
        metadata=(task.config.task, number, task.config.repeats),
        apply_chat_template=False,
        chat_template=None,
    )
    return made if isinstance(made, list) else [made]


def document_hash(doc: Any) -> str:
    """lm-eval's own hash of a document, as in its logged samples."""
    return str(hash_string(json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)))


def make_document(
    task: Task,
    number: int,
    instances: list[Instance],
    cluster_by: str | None = None,
    slice_by: str | None = None,
) -> Document:
    """A record of one document: its requests in lm-eval's order, its texts for the report, its value of the
    field `cluster_by`, and the part that it is in. Raises DataError where it has no such field."""
    doc = instances[0].doc
    requests = tuple(
        request for instance in instances for request in [_request(task, instance)] * (instance.repeats or 1)
    )
    prompt, target, choices = _texts(task, doc, requests)
    cluster = None if cluster_by is None else cluster_of(task, doc, cluster_by)
    part = None if slice_by is None else part_of(task.task_name, doc, prompt, slice_by)
    return Document(number, document_hash(doc), requests, prompt, target, choices, cluster, part)


def count_clusters(
    task: Task, documents: Sequence[Any], field: str, planned: int
) -> tuple[tuple[int, int], ...]:
    """(documents, how many clusters of so many) of `planned` documents: of all, or else of a random draw."""
    named = [cluster_of(task, doc, field) for doc in documents]
    if planned < len(named):
        named = random.Random(0).sample(named, planned)
    return tuple(sorted(Counter(Counter(named).values()).items()))


def cluster_of(task: Task, doc: Any, field: str) -> str:
    """A digest of the field's value: a passage may be long, and only which are equal matters. Raises
    DataError where the document has no such field."""
    if not isinstance(doc, Mapping) or field not in doc:
        fields = ", ".join(map(str, doc)) if isinstance(doc, Mapping) else "none"
        raise DataError(
            f"a document of {task.task_name} has no field {field!r}, which `cluster_by` names",
            hint=f"its fields are {fields}",
        )
    text = json.dumps(doc[field], default=handle_non_serializable, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _request(task: Task, instance: Instance) -> Request:
    kind, arguments = instance.request_type, instance.args
    texts = arguments[:1] if kind != "loglikelihood" else arguments
    wanted = {"loglikelihood": 2, "loglikelihood_rolling": 1, "generate_until": 2}[kind]
    if len(arguments) != wanted or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{task.task_name} asks a {kind} request that is not text alone")
    if kind == "loglikelihood":
        return Request(kind, arguments[0], arguments[1])
    if kind == "loglikelihood_rolling":
        return Request(kind, arguments[0])
    return Request("generate_until", arguments[0], generation=json.dumps(arguments[1], sort_keys=True))


def _texts(task: Task, doc: Any, requests: tuple[Request, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Prompt without examples, right answer, and options, for a person to read."""
    if requests[0].kind == "loglikelihood_rolling":
        return requests[0].context[:SHOWN], "", ()
    choices: tuple[str, ...] = ()
    if task.OUTPUT_TYPE == "multiple_choice" and getattr(task.config, "doc_to_choice", None) is not None:
        choices = tuple(str(choice) for choice in task.doc_to_choice(doc))
    text, target = task.doc_to_text(doc), task.doc_to_target(doc)
    if getattr(task, "multiple_input", 0):  # the options are contexts, the target is their continuation
        return str(target), _named(text, choices), choices
    return str(text), _named(target, choices), choices


def _named(target: Any, choices: tuple[str, ...]) -> str:
    if isinstance(target, list | tuple):
        return " / ".join(_named(part, choices) for part in target)
    if choices and isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


# ── Digest ───────────────────────────────────────────────────────────────────────────────────────


def task_digest(task: Task, documents: tuple[Document, ...], lm_eval_version: str) -> str:
    """SHA-256 over all that can change an answer or a value: config, code, filters, metrics, data, requests.

    Where the task lies on disk is left out, so that two machines agree; its data stand in the documents.
    """
    config = {key: value for key, value in vars(task.config).items() if value is not None}
    config["metadata"] = {k: v for k, v in (config.get("metadata") or {}).items() if k != "config_source"}
    config["dataset_kwargs"] = {
        k: v for k, v in (config.get("dataset_kwargs") or {}).items() if k != "data_files"
    }
    parts = {
        "lm_eval": lm_eval_version,
        "class": _canonical(type(task)),
        "config": _canonical(config),
        "filters": [[ensemble.name, _canonical(list(ensemble.filters))] for ensemble in task._filters],
        "metrics": _canonical(dict(getattr(task, "_metric_fn_list", {}))),
        "aggregation": _canonical(dict(task.aggregation())),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode())
    for document in documents:
        asked = [document.number, document.hash, [list(_astuple(request)) for request in document.requests]]
        digest.update(json.dumps(asked, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _astuple(request: Request) -> tuple[str, str, str, str]:
    return request.kind, request.context, request.continuation, request.generation


def _canonical(value: Any) -> Any:
    """JSON of a config value, with code in place of functions and without addresses."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping) and not is_dataclass(value):
        return {str(key): _canonical(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(str(part) for part in value)
    if isinstance(value, functools.partial):
        return [_canonical(value.func), _canonical(value.args), _canonical(value.keywords)]
    if is_dataclass(value) and not isinstance(value, type):
        return _canonical({key: getattr(value, key) for key in vars(value)})
    if callable(value):
        return _code_of(value)
    return type(value).__qualname__


def _code_of(function: Any) -> dict[str, str]:
    """A function's name, and the digest of every file in the folder of its own."""
    target = inspect.unwrap(getattr(function, "__func__", function))
    name = getattr(target, "__qualname__", type(target).__qualname__)
    try:
        file = inspect.getsourcefile(target) or inspect.getsourcefile(type(target))
    except TypeError:
        file = None
    module = getattr(target, "__module__", None) or ""
    if file is None or (module.startswith("lm_eval.") and not module.startswith("lm_eval.tasks.")):
        return {"name": f"{module}.{name}"}  # lm-eval's version stands for it
    return {"name": name, "code": _folder_code(Path(file).parent)}


def _folder_code(folder: Path) -> str:
    """Code may import its neighbours and read data beside it: its folder counts as a whole."""
    require_small(folder)
    return folder_digest(folder)


def require_small(folder: Path) -> None:
    """Raises DataError for a folder that is too big to be a task's own."""
    read = 0
    for count, path in enumerate(folder_files(folder), 1):
        read += path.stat().st_size
        if count > MOST_FILES or read > MOST_BYTES:
            raise DataError(
                f"{folder} holds a task's Python and too much beside it, all of which may change its answers",
                hint="move the task and what it reads into a folder of its own",
            )
