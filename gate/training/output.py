"""From a trainer's output folder to a model folder, and the record that it is whole."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

from gate.errors import GateError, ModelError, TrainingError
from gate.models import inspect_model, model_files
from gate.records import ModelRef, TrainingCost, TunedModel

RECORD = "trained.json"


def collect_model(output: Path, target: Path, *, base: ModelRef, name: str, remote_code: bool) -> ModelRef:
    """Move what makes the model from the trainer's `output` to `target`, whole or not at all.

    Checkpoints, optimizer states, the pickled arguments and the model card stay behind. Raises
    TrainingError unless it is a complete model or adapter in safetensors.
    """
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        files = model_files(output)
        for file in files:
            (partial / file).parent.mkdir(parents=True, exist_ok=True)
            (output / file).replace(partial / file)
        name_base(partial / "adapter_config.json", base)
        model = inspect_model(partial, name, remote_code=remote_code)
    except ModelError as error:
        raise TrainingError(f"training left no complete model: {error.message}", hint=error.hint) from error
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    return replace(model, path=str(target))


def name_base(config: Path, base: ModelRef) -> None:
    """Have an adapter name its base as the user does: the folder it was trained from is this machine's."""
    if not config.exists():
        return
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields.update(base_model_name_or_path=base.name, revision=base.revision)
    config.write_text(json.dumps(fields, indent=2, sort_keys=True), encoding="utf-8")


def write_record(folder: Path, fingerprint: str, tuned: TunedModel) -> None:
    """Record a finished training; written last, at once, so that a record means a whole model."""
    assert tuned.training is not None
    record = {
        "fingerprint": fingerprint,
        "model": {**asdict(tuned.model), "path": Path(tuned.model.path).name},
        "training": asdict(tuned.training),
    }
    partial = folder / f"{RECORD}.partial"
    with partial.open("w", encoding="utf-8") as out:
        json.dump(record, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(folder / RECORD)


def read_record(folder: Path, fingerprint: str, *, remote_code: bool) -> TunedModel | None:
    """The finished training in `folder`, or None unless it is this one and its model is as it was left."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["fingerprint"] != fingerprint:
            return None
        model = ModelRef(**{**record["model"], "path": str(folder / record["model"]["path"])})
        cost = TrainingCost(**record["training"])
        found = inspect_model(Path(model.path), model.name, remote_code=remote_code)
    except (OSError, ValueError, KeyError, TypeError, GateError):
        return None
    return TunedModel(model, replace(cost, from_store=True)) if found.digest == model.digest else None
