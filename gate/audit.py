"""`ftgate audit` and `check --audit`: a verdict that was made early, held against the one of all documents.

RUN/audit/        the run folder of the full measurement, of a recipe with its trainings, with its own verdict
RUN/audit.json    what came of the comparison
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gate.champion import keep_pairs
from gate.errors import FAIL, PASS, GateError, MeasurementError, UsageError
from gate.fetch import fetch_model
from gate.history import FOLDER, past_of, read_history, write_past
from gate.judging import (
    conclude_recipe,
    facts_of,
    judge_measurements,
    judged_model,
    read_champion,
    store_of,
)
from gate.models import digest_model
from gate.recording import said_of_audits
from gate.records import Cost, Measurements, ModelRef, Plan, Policy, RunFacts
from gate.records.history import Audit, Judged
from gate.runfolder import AUDIT, AUDITED, PLAN, RESOLVED_POLICY, RUN, SEEDS, RunFolder
from gate.scoring import ModelSession
from gate.seeds import Recipe, is_recipe, judge_model, judge_seeds, sum_costs
from gate.shell import Shell
from gate.stages import CheckOptions
from gate.store import Store
from gate.verdict import Verdict


def audit_run(run: Path, history: Path | None, commit: str, shell: Shell, beside: Path | None = None) -> int:
    """Score the rest of a run, judge by `full`, compare, and say how often early verdicts differ so far.

    `history` is the folder that keeps the outcome; else the repository's own, where it has one. `beside` has
    earlier ones that count too. Exit code 0 where the verdicts are the same, 1 where they differ. Raises
    `UsageError` where models or policy are gone, `MeasurementError` where what had been scored does not come
    out again.
    """
    folder = RunFolder.open(run)
    policy, facts = folder.read_record(RESOLVED_POLICY, Policy), facts_of(folder)
    if facts.seed is not None:
        raise UsageError(
            f"{run} is seed {facts.seed} alone, one training of a recipe",
            hint="name the recipe's run folder, the one that holds seeds.json: all are scored on the rest",
        )
    early = None if policy.decide != "score" else _judge(folder, policy, facts)
    if early is None or not any(finding.early for finding in early.findings):
        shell.say(f"nothing to audit: every document of {run} was scored")
        return PASS
    full = _score_rest(folder, policy, facts, shell)
    found = compare(early, full, 1 - policy.confidence)
    folder.write_record(AUDITED, found)
    shell.say(said(found))
    place = history or (FOLDER if FOLDER.is_dir() else None)
    if place is not None:
        write_past(place, past_of(full, commit, created=shell.now(), audit=found))
        earlier = read_history(beside, shell.warn) if beside else ()
        shell.say(said_of_audits((*earlier, *read_history(place, shell.warn))))
    return PASS if found.agrees else FAIL


AuditRun = Callable[[Path, Path | None, str, Shell, Path | None], int]


def audit_check(run: Path, options: CheckOptions, shell: Shell, audit: AuditRun = audit_run) -> int:
    """`ftgate check --audit`: the audit of a check that has just ended in the folder `run`, see `audit_run`.

    It is kept in the folder `options.audit`. Whatever comes of it, the check's own verdict stays as it is.
    """
    run, place = run.absolute(), options.audit
    assert place is not None
    place, commit = place.absolute(), shell.environ.get("GITHUB_SHA", "")
    beside = options.history if options.history not in (None, place) else None
    try:
        with options.at_policy():
            code = audit(run, place, commit, shell, beside)
    except GateError as error:
        shell.warn(f"the verdict stands, but it could not be audited: {error.message}")
        raise
    if code != PASS:
        shell.warn(f"all documents give another verdict than the early one: see {run / AUDIT}")
    return code


def compare(early: Verdict, full: Verdict, error: float) -> Audit:
    """Each rule that was claimed early, against what all documents say. Pure."""
    outcomes = {finding.rule: finding.outcome for finding in full.findings}
    claimed = [each for each in early.findings if each.early and each.outcome in ("pass", "fail")]
    differing = tuple(each.rule for each in claimed if outcomes[each.rule] != each.outcome)
    first, then = _judged(early), _judged(full)
    return Audit(first, then, len(claimed), differing, round(error, 12))


def _judged(verdict: Verdict) -> Judged:
    outcome = verdict.outcome
    assert outcome != "error"
    return outcome


def said(audit: Audit) -> str:
    """An audit in one sentence."""
    how = f"the same ({audit.full})" if audit.agrees else f"{audit.full}, not {audit.early}"
    rules = f"{len(audit.differing)} of {audit.settled} rules that were settled early came out otherwise"
    names = f": {', '.join(audit.differing)}" if audit.differing else ""
    return f"audit: on all documents the verdict is {how}; {rules}{names}"


def _judge(folder: RunFolder, policy: Policy, facts: RunFacts) -> Verdict:
    """The verdict of what lies in a run's folder; nothing is written."""
    if is_recipe(folder):
        return judge_seeds(folder, policy, facts, read_champion).verdict
    base = facts.base_digest or None
    return judge_model(folder.read_measurements(), policy, facts, read_champion(folder), base)


def _score_rest(folder: RunFolder, policy: Policy, facts: RunFacts, shell: Shell) -> Verdict:
    """The verdict of all documents, in a run folder of its own below the run's; of a recipe each of its
    trainings has its own there."""
    whole, place = replace(policy, decide="full"), folder.path / AUDIT
    quiet, store = replace(shell, say=_nothing), store_of(folder.path, shell)
    if not is_recipe(folder):
        own, full = _score_model(folder, place, whole, facts, store, shell)
        judge_measurements(own, whole, full, quiet)
        return _judge(own, whole, full)
    own, costs = RunFolder.begin(place), []
    recipe = folder.read_record(SEEDS, Recipe)
    for one in recipe.trained:
        trained = RunFolder.open(folder.path / one.folder)
        _, scored = _score_model(trained, place / one.folder, whole, facts_of(trained), store, shell)
        costs.append(scored.cost)
    own.write_policy(whole)
    own.write_record(PLAN, replace(folder.read_record(PLAN, Plan), policy=whole))
    own.write_record(SEEDS, recipe)
    seconds = sum(cost.measuring_seconds for cost in costs) - facts.cost.measuring_seconds
    full = _in_full(facts, sum_costs(costs, facts.cost.total_seconds + seconds), shell)
    own.write_record(RUN, full)
    conclude_recipe(own, whole, full, quiet)
    return _judge(own, whole, full)


def _in_full(facts: RunFacts, cost: Cost, shell: Shell) -> RunFacts:
    """A run's facts once all documents were scored."""
    return replace(
        facts, cost=cost, provenance=replace(facts.provenance, created=shell.now(), order_digest="")
    )


def _score_model(
    folder: RunFolder, place: Path, whole: Policy, facts: RunFacts, store: Store, shell: Shell
) -> tuple[RunFolder, RunFacts]:
    """All documents of one model's run, into the run folder at `place`, not judged yet."""
    from checks import open_tasks
    from gate.measure import measure

    plan = folder.read_record(PLAN, Plan)
    early = folder.read_measurements()
    base = _found(plan.base, shell)
    tuned = replace(early.tuned, path=str(judged_model(folder.path, early.tuned.digest, store)))
    tasks = open_tasks(whole.tasks, whole, index_folder=store.root / "tasks")
    bits = plan.config.quantization_bits if plan.config else None
    trust, believed = whole.trust, store.self_tests
    with ModelSession(base, tuned, whole.evaluation, trust, bits, believed) as session:
        measured = measure(tasks, session, store, shell)
    check_reproduced(early, measured.measurements)
    own = RunFolder.begin(place)
    own.write_policy(whole)
    own.write_record(PLAN, replace(plan, policy=whole))
    own.write_measurements(measured.measurements)
    champion = read_champion(folder)
    if champion is not None:
        keep_pairs(own, champion)
    cost = replace(
        facts.cost,
        measuring_seconds=facts.cost.measuring_seconds + measured.seconds,
        total_seconds=facts.cost.total_seconds + measured.seconds,
    )
    full = _in_full(facts, cost, shell)
    own.write_record(RUN, full)
    return own, full


def _nothing(_text: str) -> None:
    """The full verdict's report is in its folder; here the comparison is said."""


def _found(base: ModelRef, shell: Shell) -> ModelRef:
    """The run's base model; fetched again where its folder is gone. Raises `UsageError` for another one."""
    path = Path(base.path)
    if not path.is_dir():
        path, _ = fetch_model(base.name, base.revision, environ=shell.environ)
    if digest_model(path) != base.digest:
        raise UsageError(
            f"{base.name} is no longer the base model that this run measured", hint="run ftgate check again"
        )
    return replace(base, path=str(path))


def check_reproduced(early: Measurements, full: Measurements) -> None:
    """Raise MeasurementError unless every document that was scored early has the same values again.

    Else the two verdicts are about other scores, and say nothing about stopping early. Pure.
    """
    known = {(each.task, each.leaf, each.metric, each.filter): each for each in full.measurements}
    for each in early.measurements:
        whole = known.get((each.task, each.leaf, each.metric, each.filter))
        values = zip(whole.numbers, whole.hashes, whole.base, whole.tuned, strict=True) if whole else ()
        if each.aggregation == "corpus":
            continue  # it was scored in full, and its values are one number
        again = {number: (text, one, other) for number, text, one, other in values}
        rows = zip(each.numbers, each.hashes, each.base, each.tuned, strict=True)
        for number, text, one, other in rows:
            if again.get(number) != (text, one, other):
                raise MeasurementError(
                    f"{each.task}, {each.leaf}: document {number} does not come out as it did in the run",
                    hint="audit where the run was made, with the same packages and its store",
                )
