"""`thresholds.yaml` -> `Policy`: what a fine-tune must gain and what it may lose, every problem at once."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from gate.errors import ConfigErrors, Problem
from gate.policy.champion import read_champion
from gate.policy.clusters import with_clusters
from gate.policy.entries import PATHS_START, Entries, read_general, read_target, read_text
from gate.policy.fields import Section
from gate.policy.prices import read_prices
from gate.policy.pull_request import read_pull_request
from gate.policy.waivers import apply_waivers
from gate.records import Decide, Evaluation, Policy, Trust
from gate.yamlfile import YamlFile, load_yaml, shown

POLICY_KEYS = (
    "version", "confidence", "decide", "include", "target", "general", "text", "evaluation", "trust",
    "pull_request", "waivers", "prices", "on_fail", "fail_budget", "seeds", "champion",
)  # fmt: skip
EVALUATION_KEYS = ("dtype", "chat_template", "quantization", "scorer", "batch_size", "device")
TRUST_KEYS = ("remote_code", "generated_code", "env")
LATER_KEYS = ("drift", "spectrum")
MOST_SEEDS = 16
NO_POLICY = "`ftgate init` writes one"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_policy(path: Path, *, today: date | None = None) -> Policy:
    """Read and check a policy file.

    Margins are in the metric's own unit (accuracy a fraction, text in bits per byte); paths start at
    the policy file's folder. `today` is the day (UTC) that waivers must reach, the clock's where none is
    given. Raises `ConfigErrors` with every problem of the file.
    """
    if not os.path.exists(path):
        raise ConfigErrors([Problem(str(path), "no such file", hint=NO_POLICY)])
    file = load_yaml(path)
    if not isinstance(file.data, dict):
        raise ConfigErrors([file.problem((), f"expected a mapping of rules, got {shown(file.data)}")])
    problems: list[Problem] = []
    policy = _read(file, path.parent, today or datetime.now(UTC).date(), problems)
    if problems:
        raise ConfigErrors(problems)
    return policy


def _read(file: YamlFile, folder: Path, today: date, problems: list[Problem]) -> Policy:
    section = Section(file, (), file.data, problems)
    section.only(POLICY_KEYS, LATER_KEYS)
    _check_version(section)
    deciding = _deciding(section)
    confidence = section.number("confidence", 0.5, 1.0, inside=True)
    include = _include(section, folder)
    entries = Entries(folder)
    read_target(section, entries)
    read_general(section, entries)
    read_text(section, entries)
    evaluation, trust = _evaluation(section), _trust(section)
    pull_request = read_pull_request(section, folder)
    rules, prices = apply_waivers(section, entries.rules, today), read_prices(section)
    if not problems and not any(rule.judges for rule in rules):
        hint = "add a `target`, a `general` task with `max_drop`, or a `text` corpus with `max_rise`"
        section.complain(None, "holds no rule that can fail", hint)
    return Policy(
        rules=rules,
        tasks=with_clusters(entries.by_id.values(), deciding.decide),
        confidence=0.95 if confidence is None else confidence,
        decide=deciding.decide,
        on_fail=deciding.on_fail,
        fail_budget=deciding.fail_budget,
        include=include,
        evaluation=evaluation,
        trust=trust,
        pull_request=pull_request,
        prices=prices,
        seeds=deciding.seeds,
        champion=read_champion(section, folder, entries.rules, deciding.seeds),
        path=file.path,
        digest=file.digest,
    )


def _check_version(section: Section) -> None:
    if "version" not in section.data:
        section.complain(None, "needs `version: 1`")
    elif section.data["version"] != 1 or not _is_whole(section.data["version"]):
        section.complain("version", f"expected 1, got {shown(section.data['version'])}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class _Deciding:
    decide: Decide = "score"
    on_fail: Literal["complete", "stop"] = "complete"
    fail_budget: float = 0.5
    seeds: int = 1


def _deciding(section: Section) -> _Deciding:
    """`decide`, and what a run does once a rule fails for certain, which only `score` can see early."""
    read: dict[str, Any] = {
        "decide": section.choice("decide", ("full", "score", "proven")),
        "on_fail": section.choice("on_fail", ("complete", "stop")),
        "fail_budget": section.number("fail_budget", 0.0, 1.0),
        "seeds": section.whole("seeds", 1, MOST_SEEDS),
    }
    found = _Deciding(**{key: value for key, value in read.items() if value is not None})
    for key in ("on_fail", "fail_budget"):
        if key in section.data and found.decide != "score":
            section.complain(
                key, "only `decide: score` stops before every document is scored", "leave it out"
            )
    if "fail_budget" in section.data and read["on_fail"] == "stop":
        section.complain("fail_budget", "`on_fail: stop` scores nothing after a fail", "keep one of the two")
    return found


def _include(section: Section, folder: Path) -> tuple[str, ...]:
    paths: list[str] = []
    listed = Section(section.file, ("include",), {}, section.problems)
    for index, value in enumerate(section.entries("include")):
        if not isinstance(value, str) or not value.strip():
            listed.complain(index, f"expected the path of a folder, got {shown(value)}")
        elif not os.path.isdir(folder / value):
            listed.complain(index, f"no such folder: {folder / value}", PATHS_START)
        else:
            paths.append(str(folder / value))
    return tuple(paths)


def _evaluation(section: Section) -> Evaluation:
    if "evaluation" not in section.data:
        return Evaluation()
    entry = section.section("evaluation", section.data["evaluation"])
    if entry is None:
        return Evaluation()
    entry.only(EVALUATION_KEYS)
    read: dict[str, Any] = {
        "dtype": entry.choice("dtype", ("auto", "float32", "bfloat16", "float16")),
        "chat_template": entry.choice("chat_template", ("auto", "none", "base")),
        "quantization": entry.choice("quantization", ("none", "match_training")),
        "scorer": entry.choice("scorer", ("auto", "tree", "hf", "vllm")),
        "batch_size": entry.whole("batch_size", 1, 65_536),
        "device": entry.word("device"),
    }
    return Evaluation(**{key: value for key, value in read.items() if value is not None})


def _trust(section: Section) -> Trust:
    if "trust" not in section.data:
        return Trust()
    entry = section.section("trust", section.data["trust"])
    if entry is None:
        return Trust()
    entry.only(TRUST_KEYS)
    return Trust(
        remote_code=entry.flag("remote_code") or False,
        generated_code=entry.flag("generated_code") or False,
        env=_variables(entry),
    )


def _variables(trust: Section) -> tuple[str, ...]:
    value = trust.data.get("env", [])
    if not isinstance(value, list):
        trust.complain("env", f"expected a list of variable names, got {shown(value)}")
        return ()
    listed = Section(trust.file, (*trust.keys, "env"), {}, trust.problems)
    for index, name in enumerate(value):
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            listed.complain(index, f"expected the name of an environment variable, got {shown(name)}")
    return tuple(name for name in value if isinstance(name, str))
