"""Remarks on lines of a pull request's files: where a reader can do something about what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.records import TrainingConfig
from gate.report.carried import carried_title
from gate.report.rows import Row
from gate.report.sentence import said_with
from gate.report.standing import Standing
from gate.report.text import title_words

Level = Literal["notice", "warning", "failure"]
MOST = 10  # remarks of a kind
# The first key that the config has is where the remark stands; else its first line.
_FORGETTING = (
    "learning_rate",
    "use_peft",
    "adapter",
    "finetuning_type",
    "load_in_4bit",
    "num_train_epochs",
    "max_steps",
    "model_name_or_path",
)
_LEARNING = (
    "num_train_epochs",
    "max_steps",
    "num_epochs",
    "learning_rate",
    "dataset_name",
    "model_name_or_path",
)
_MEMORY = ("per_device_train_batch_size", "micro_batch_size", "max_length", "model_name_or_path")
_SEE = "See the report."
_WHAT_TO_TRY = {
    "full": "A lower learning rate, fewer steps or an adapter forgets less.",
    "lora": "A lower learning rate, fewer steps or a smaller rank forgets less.",
    "qlora": "A lower learning rate, fewer steps or a smaller rank forgets less.",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark on a line (from 1) of a file of the repository; plain text."""

    path: str
    line: int
    level: Level
    title: str
    message: str


def remarks_of(
    found: Standing, config: TrainingConfig | None, policy_path: str, lines: Mapping[str, int] | None
) -> tuple[Remark, ...]:
    """The remarks on one config's file and on the policy, as they are at the head. `lines` are the rules'
    in the head's policy, see `PolicyChange`: one that is not there as it judged gets no remark."""
    remarks = list(_on_config(found, config))
    if policy_path:
        remarks += _on_policy(found, policy_path, lines)
    return tuple(remarks)


def _on_config(found: Standing, config: TrainingConfig | None) -> Iterator[Remark]:
    view, path = found.view, found.path
    if found.run.blocked:
        yield Remark(path, 1, "failure", "blocked, not judged", title_words(found.run.blocked, 600) or _SEE)
    if view is None:
        return
    if view.trouble:
        yield from _on_trouble(found, config)
        return
    forgotten = _broken(found, target=False)
    if forgotten:
        hint = _WHAT_TO_TRY.get(view.method, "")
        message = " ".join(filter(None, (_listed(forgotten), hint)))
        yield Remark(path, _line(config, _FORGETTING), _level(forgotten), "capability lost", message)
    missed = _broken(found, target=True)
    if missed:
        yield Remark(path, _line(config, _LEARNING), _level(missed), "target missed", _listed(missed))


def _on_trouble(found: Standing, config: TrainingConfig | None) -> Iterator[Remark]:
    """The lines that an error names; else one remark where its cause may lie."""
    trouble = found.view.trouble if found.view else None
    if trouble is None:
        return
    title = found.kind.label
    named = re.findall(rf"(?m)^{re.escape(found.path)}:(\d{{1,6}}): *(.+)$", trouble.message)
    for line, message in named[:MOST]:
        yield Remark(found.path, max(1, int(line)), "failure", title, title_words(message, 400) or _SEE)
    if not named:
        keys = _MEMORY if trouble.code == "out_of_memory" else _FORGETTING
        line = _line(config, keys) if trouble.code in ("out_of_memory", "non_finite_loss") else 1
        said = f"{title_words(trouble.message, 400)} {title_words(trouble.hint, 400)}".strip()
        yield Remark(found.path, line, "failure", title, said or _SEE)


def _on_policy(found: Standing, policy_path: str, at_head: Mapping[str, int] | None) -> Iterator[Remark]:
    """One remark a line of the policy whose rules do not hold."""
    if found.view is None or found.view.trouble:
        return
    lines: dict[int, list[Row]] = {}
    for row in found.rows:
        place = row.finding.place
        same = place.file.replace("\\", "/").rpartition("/")[2] == policy_path.rpartition("/")[2]
        line = place.line if at_head is None else at_head.get(row.finding.rule, 0)
        if row.outcome in ("fail", "undecided") and line and same:
            lines.setdefault(line, []).append(row)
    for line, rows in list(lines.items())[:MOST]:
        title = f"this rule blocks {title_words(found.path, 80)}"
        yield Remark(policy_path, line, "warning", title, _listed(rows))


def _broken(found: Standing, *, target: bool) -> list[Row]:
    rows = [row for row in found.rows if row.outcome in ("fail", "undecided")]
    return [row for row in rows if (row.finding.kind == "target") is target]


def _level(rows: Sequence[Row]) -> Level:
    return "failure" if any(row.outcome == "fail" for row in rows) else "warning"


def _listed(rows: Sequence[Row]) -> str:
    said = [
        f"{title_words(row.name, 60)}: {row.change} {row.spread} {title_words(row.noun, 20)}".rstrip()
        + f", {row.bound}{' (undecided)' if row.outcome == 'undecided' else ''}"
        for row in rows[:3]
    ]
    more = f"; {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return "; ".join(said) + more + "."


def _line(config: TrainingConfig | None, keys: Sequence[str]) -> int:
    lines = config.lines if config else {}
    return next((lines[key] for key in keys if lines.get(key, 0) > 0), 1)


def title_of(found: Standing) -> str:
    """A config's standing in one line that is no Markdown, at most 200 characters."""
    claim = said_with(found.view.claim, title_words) if found.view and found.key != "unjudged" else ""
    claim = claim or title_words(found.run.carried.claim, 200)
    title = f"{found.kind.label}: {claim or title_words(found.run.blocked, 160) or title_words(found.path)}"
    return carried_title(title, found.run.carried_from) if found.run.carried_from else title[:200]
