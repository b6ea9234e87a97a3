"""The tests' own small tasks, and lm-eval's HF model of the embedded base to answer their requests."""

import importlib.resources
import json
import os
import tempfile
from pathlib import Path

import pytest

# Read by `datasets` when it is imported: no trace in the user's cache. The tasks' data are local files.
os.environ.setdefault("HF_DATASETS_CACHE", tempfile.mkdtemp(prefix="ftgate-datasets-"))

from gate.records import Policy, Response, TaskSpec

TASKS = Path(__file__).parent / "tasks"


@pytest.fixture
def tasks_folder():
    return TASKS


@pytest.fixture
def opened():
    """Open tasks by name out of the tests' own folder, as a policy would."""
    from checks import open_tasks

    def open_(*specs, **policy):
        specs = [TaskSpec("general", spec) if isinstance(spec, str) else spec for spec in specs]
        return open_tasks(specs, Policy((), tuple(specs), include=(str(TASKS),), **policy))

    return open_


@pytest.fixture(scope="session")
def base_model():
    """lm-eval's HF model of the embedded base, fp32."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = importlib.resources.files("gate") / "demo" / "base"
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=8)


@pytest.fixture(scope="session")
def respond(base_model):
    """Requests -> responses through lm-eval's own model class."""
    from lm_eval.api.instance import Instance

    def ask(requests):
        answers = {}
        for kind in {request.kind for request in requests}:
            asked = [request for request in requests if request.kind == kind]
            instances = [Instance(kind, {}, _arguments(request), 0) for request in asked]
            raw = getattr(base_model, kind)(instances, disable_tqdm=True)
            answers[kind] = iter([_response(kind, one) for one in raw])
        return [next(answers[request.kind]) for request in requests]

    return ask


def _arguments(request):
    if request.kind == "loglikelihood":
        return (request.context, request.continuation)
    if request.kind == "loglikelihood_rolling":
        return (request.context,)
    return (request.context, json.loads(request.generation))


def _response(kind, raw):
    if kind == "loglikelihood":
        return Response(logprob=raw[0], greedy=raw[1])
    return Response(logprob=raw) if kind == "loglikelihood_rolling" else Response(text=raw)
