"""What can be said before anything was measured: nothing to measure, a finished run's verdict, or not yet.

In the form two-jobs this runs first, in a job that holds the token and runs nothing of the pull request, and
again in the job whose check is required. So a verdict is taken over only where it is plainly this one's: in
doubt everything is measured again.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from gate.changes import dependencies, depends, texts_of
from gate.ci.activity import NONE_CHANGED, concluded, find_activity, find_wait
from gate.ci.check import CiSetting, digest_inputs, failed, find_block, folder_name, read_config
from gate.ci.names import may_be_path
from gate.ci.needed import settled
from gate.ci.plan import CiOptions, CiPlan, make_plan, posting_of
from gate.ci.record import begin, write_ci, write_posting
from gate.ci.watch import Watch
from gate.errors import ConfigErrors, MeasurementError, StoreError, UsageError
from gate.github.api import GitHub
from gate.github.events import Runner
from gate.records import ChangedConfig, CiRun, ConfigRun
from gate.report.text import one_line
from gate.repository import Repository
from gate.shell import Shell
from gate.yamlfile import load_yaml

DEAF = "but in form forks only a label whose name begins with ftgate starts anything: rename it in the policy"
LONGEST_WAIT = 5 * 3600.0
"""Seconds that another run is waited for while GitHub says that it is on: its training has no token to show
a sign of life with."""


def announced(
    run: CiRun,
    options: CiOptions,
    runner: Runner,
    github: GitHub,
    shell: Shell,
    wait: Callable[[float], None],
) -> CiRun:
    """The run as it stands: green where no config changed, with the verdicts of a finished run where every
    changed config has one of the same inputs, else pending. Waits for a run of the same inputs that is on,
    and cancels one of others.

    A fork's that `when` holds back is red, and its judge is not started: that one has no token to ask with.
    Pending too where that cannot be found out here; the judge job then says why.
    """
    said = "trained, not yet measured" if run.event.kind == "workflow_run" else "not yet measured"
    waiting = replace(run, outcome="undecided", message=said)
    try:
        with tempfile.TemporaryDirectory(prefix="ftgate-", dir=runner.temporary) as room:
            plan = make_plan(run.event, options, Repository(Path()), Path(room))
            if plan.setting is None or plan.error is not None:
                return waiting
            run = replace(run, deleted=plan.changes.deleted, policy=plan.policy)
            if not plan.changes.changed:
                return kept(replace(run, message=NONE_CHANGED), options)
            held = find_wait(run.event, plan.asked)
            if run.event.kind == "workflow_run" and held.kind == "wait":
                deaf = plan.asked.when == "label" and not plan.asked.label.casefold().startswith("ftgate")
                message = f"{held.message}; {DEAF}" if deaf else held.message
                return replace(waiting, exit_code=held.exit_code, message=message)
            url = runner.run_url(run.event)
            watch = Watch(
                github, None, run.event, plan.setting, shell, url, wait, measures=False, silent=LONGEST_WAIT
            )
            return taken_over(run, plan, plan.setting, options, watch) or waiting
    except UsageError:
        return waiting
    except StoreError as error:  # a full disk: nothing that could not be kept is told as an end
        shell.warn(one_line(error.message, 1_000))
        return waiting


def being_measured(run: CiRun, options: CiOptions, runner: Runner, github: GitHub, shell: Shell) -> CiRun:
    """The run while its judge measures, pending: each config's check run says since when.

    Before the judge opens anything that was handed over, in the step before it, which alone has a token.
    """
    waiting = replace(run, outcome="undecided", message="trained; being measured")
    try:
        with tempfile.TemporaryDirectory(prefix="ftgate-", dir=runner.temporary) as room:
            plan = make_plan(run.event, options, Repository(Path()), Path(room))
            setting, url = plan.setting, runner.run_url(run.event)
            if setting is not None and settled(run, plan) is None:
                about = (github, None, run.event, setting, shell, url, time.sleep)
                watch = Watch(*about, measures=False, trained=True)
                watch.inputs = {each.path: digest_inputs(each, setting) for each in plan.changes.changed}
                watch.show()
    except UsageError as error:
        shell.warn(one_line(error.message, 1_000))  # the judge's step says it, too
    return waiting


def broken_off(run: CiRun, options: CiOptions, runner: Runner, shell: Shell) -> CiRun:
    """The run of a job that measures and left no result: each changed config could not be measured.

    So no check run that the job began stays in progress.
    """
    error = MeasurementError(
        "the job that measures left no result",
        hint="it broke off, or was not approved: look at its log, and run it again",
    )
    ended = replace(run, outcome="error", exit_code=error.exit_code, error=error.message, hint=error.hint)
    try:
        with tempfile.TemporaryDirectory(prefix="ftgate-", dir=runner.temporary) as room:
            plan = make_plan(run.event, options, Repository(Path()), Path(room))
            setting, nothing = plan.setting, settled(run, plan)
            if setting is None or nothing is not None:
                return nothing or ended
            blank = [
                ConfigRun(each, "error", 3, folder_name(each.path), digest_inputs(each, setting))
                for each in plan.changes.changed
            ]
            shell.warn(f"{error.message}: {error.hint}")
            runs = [failed(each, error, setting, stage="measure") for each in blank]
            write_posting(options.run_dir, posting_of(setting))
            return concluded(replace(run, policy=plan.policy, deleted=plan.changes.deleted), runs)
    except UsageError:
        return ended


def taken_over(
    run: CiRun, plan: CiPlan, setting: CiSetting, options: CiOptions, watch: Watch
) -> CiRun | None:
    """The run with the verdicts that older runs have for all of its configs, kept in the run's folder; None
    if one is missing."""
    changed = plan.changes.changed
    if find_activity(run.event, plan.asked).kind != "run":
        return None
    watch.look_back(changed)
    kinds = {watch.choice(change).kind for change in changed}
    whole = all(seen_whole(change, setting) for change in changed)
    forks = setting.form == "forks"
    if not forks and (kinds != {"carry"} or not whole):
        watch.show()  # a newer push sees what is on
    if "run" in kinds or not whole or (forks and kinds != {"carry"}):  # a person may never start a fork's
        return None
    carried = [ended for ended in map(watch.attach, changed) if ended is not None]
    if len(carried) < len(changed):
        if not forks:
            watch.show()
        return None
    run = kept(concluded(run, carried), options)
    write_posting(options.run_dir, posting_of(setting))
    return run


def kept(run: CiRun, options: CiOptions) -> CiRun:
    """The run, which has an end, in its folder: for whoever comments. Raises `StoreError`."""
    begin(options.run_dir)
    write_ci(options.run_dir, run)
    return run


def seen_whole(change: ChangedConfig, setting: CiSetting) -> bool:
    """Whether the digest of a config's inputs says here all that its result depends on, and it may run.

    What a config names outside of the checkout lies on the machine that trains, and may have changed there;
    likewise the policy's champion.
    Which base models are agreed to is no input of a result, and may have changed on the base ref.
    """
    try:
        texts = texts_of(load_yaml(Path(change.path), version="1.1").data)
        config = read_config(change, trains=False)
    except ConfigErrors:
        return False
    champion = setting.policy.champion
    named = [*texts, champion.name] if champion else texts
    return not _reaches_outside(named, setting) and find_block(change, config, setting) is None


def _reaches_outside(texts: Collection[str], setting: CiSetting) -> bool:
    """Whether a text names what lies outside of the checkout: plainly, by way of `..`, or behind a link."""
    meant = dependencies(texts, setting.links)
    if any(text.startswith(("/", "~", "..", "file:")) for text in {*texts, *meant}):
        return True
    links = (path for path in setting.head_files if os.path.islink(path))
    behind = {path for path in links if any(depends(name, path) for name in meant)}
    root = os.path.realpath(".")
    places = (os.path.realpath(name) for name in meant | behind if may_be_path(name))
    return any(os.path.commonpath((root, place)) != root for place in places)
