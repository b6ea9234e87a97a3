"""Verdicts kept as small files: what is in them, what is refused, and what a history says."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.history import (
    LARGEST,
    agreement,
    decode_past,
    encode_past,
    flip_rates,
    of_config,
    past_of,
    read_history,
    write_past,
)
from gate.records.history import Audit, PastRule, PastTask, PastVerdict
from gate.report.history_table import history_json, history_text
from gate.sealed import BLANK_SEAL, Damaged, NewerSchema, seal

PAST = PastVerdict(
    created="2026-11-24T18:20:00+00:00",
    commit="0123456789abcdef",
    config="configs/lora.yaml",
    outcome="pass",
    rules=(PastRule("general/x/max_drop", "accuracy", True, -0.0123, -0.02, 0.01, 0.02, "pass"),),
    flips=(PastTask("general/x", 30, 300),),
    documents_scored=300,
    documents_planned=1_000,
    seconds=61.5,
    base="sha256:b",
    tuned="sha256:t",
    policy="sha256:p",
    config_digest="sha256:c",
)
AUDIT = Audit("pass", "fail", 4, ("general/x/max_drop",), 0.05)


@pytest.fixture(scope="module")
def sample() -> ModuleType:
    """The report's realistic results."""
    spec = importlib.util.spec_from_file_location("sample", Path(__file__).parent / "report/sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EARLY = replace(PAST, rules=(replace(PAST.rules[0], early=True),))


@pytest.mark.parametrize(
    "past", [PAST, EARLY, replace(PAST, audit=AUDIT), replace(PAST, champion="sha256:h")]
)
def test_a_file_gives_back_what_it_was_given(past: PastVerdict) -> None:
    """Also with an audit and a champion."""
    assert decode_past(encode_past(past)) == past


def test_a_verdict_is_small(sample: ModuleType, tmp_path: Path) -> None:
    """Twelve rules take under four kilobytes; the numbers are the findings' own, to six digits."""
    verdict = sample.blocked()
    past = past_of(verdict, "abc")
    file = write_past(tmp_path, past)
    assert file.stat().st_size < 4096
    (read,) = read_history(tmp_path, pytest.fail)
    assert read == past
    assert [rule.rule for rule in read.rules] == [finding.rule for finding in verdict.findings]
    for rule, finding in zip(read.rules, verdict.findings, strict=True):
        number = finding.tuned if finding.bound == "min_score" else finding.difference
        assert rule.value == pytest.approx(number, rel=1e-5)
    assert (read.outcome, read.commit, read.tuned) == ("fail", "abc", verdict.tuned.digest)


def test_the_same_verdict_is_one_file(tmp_path: Path) -> None:
    """Recording twice adds nothing; another verdict on the same config is another file."""
    assert write_past(tmp_path, PAST) == write_past(tmp_path, PAST)
    write_past(tmp_path, replace(PAST, outcome="fail"))
    assert len([*tmp_path.iterdir()]) == 2


def test_hostile_names_stay_in_the_folder(tmp_path: Path) -> None:
    """A config's name is data: no path, no dot file."""
    file = write_past(tmp_path, replace(PAST, config="../../etc/\x1b[31m\u202e.yaml"))
    assert file.parent == tmp_path
    assert file.name.startswith("20261124T182000Z-etc-31m-yaml-")


def edited(**changes: object) -> bytes:
    """A verdict's file with other fields, sealed again by somebody who knows how."""
    document = json.loads(encode_past(PAST))
    document |= {**changes, "sha256": ""}
    return seal(json.dumps({**document, "sha256": BLANK_SEAL}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        encode_past(PAST)[:-20],
        encode_past(PAST).replace(b"pass", b"fail"),
        edited(outcome="great"),
        edited(created="yesterday"),
        edited(created="0001-01-01T00:00:00+23:59"),
        edited(created="9999-12-31T23:59:59-23:59"),
        edited(rules=[["general/x/max_drop", "accuracy", True, "a lot", 0, 0, None, "pass"]]),
        edited(rules=[["short"]]),
        edited(rules=[["general/x/max_drop", "accuracy", True, 1e308, 0.0, 0.0, None, "pass"]]),
        edited(seconds=-1e308),
        edited(documents="many"),
        seal(b"[" * 100_000 + BLANK_SEAL.encode()),
    ],
)
def test_damaged_and_foreign_files_are_named_and_left_out(content: bytes, tmp_path: Path) -> None:
    """The others are read all the same."""
    write_past(tmp_path, PAST)
    (tmp_path / "odd.json").write_bytes(content)
    warned: list[str] = []
    assert read_history(tmp_path, warned.append) == (PAST,)
    assert len(warned) == 1
    assert "odd.json is left out" in warned[0]
    with pytest.raises(Damaged):
        decode_past(content)


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        lambda moment, sign, hours, minutes: f"{moment.isoformat()}{sign}{hours:02}:{minutes:02}",
        st.sampled_from([datetime.min, datetime.max]) | st.datetimes(),
        st.sampled_from("+-"),
        st.integers(0, 24),
        st.integers(0, 60),
    )
    | st.from_regex(
        r"[0-9]{4}-?(W[0-9]{2}|[0-9]{2})-?[0-9]{1,2}[T ][0-9]{2}[0-9:.,Z+-]{0,12}", fullmatch=True
    )
    | st.text()
)
def test_no_date_is_more_than_damage(created: str) -> None:
    """Whatever stands for a time is one, in UTC too, or the file is damaged: no check ends by it."""
    content = edited(created=created)
    try:
        past = decode_past(content)
    except Damaged:
        return
    moment = datetime.fromisoformat(past.created)
    assert (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(
        UTC
    ).utcoffset() == timedelta()


def test_a_later_schema_links_and_large_files_are_left_out(tmp_path: Path) -> None:
    """A link could lead out of the repository, a large file is none of ours."""
    with pytest.raises(NewerSchema):
        decode_past(edited(schema=99))
    (tmp_path / "later.json").write_bytes(edited(schema=99))
    (tmp_path / "large.json").write_bytes(b" " * (LARGEST + 1))
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    (tmp_path / "README.md").write_text("not looked at")
    warned: list[str] = []
    assert read_history(tmp_path, warned.append) == ()
    assert [word for word in ("later", "large", "link") if any(word in text for text in warned)] == [
        "later",
        "large",
        "link",
    ]
    assert read_history(tmp_path / "nowhere", pytest.fail) == ()


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    """Whatever the files are called, and in whatever time zone a verdict was written."""
    times = ("2026-11-24T18:20:00+00:00", "2026-11-24T18:00:00-05:00", "2026-11-24T19:00:00")
    for time in times:
        write_past(tmp_path, replace(PAST, created=time))
    read = [past.created for past in read_history(tmp_path, pytest.fail)]
    assert read == [times[0], times[2], times[1]]


def test_flip_rates_are_of_the_latest_that_passed() -> None:
    """Audits and models that were blocked do not count, nor what lies further back."""
    old = replace(PAST, flips=(PastTask("general/x", 300, 300),))
    blocked = replace(old, outcome="fail")
    assert flip_rates((old, *[PAST] * 20, blocked, replace(old, audit=AUDIT))) == {"general/x": 0.1}
    assert flip_rates((PAST, replace(PAST, config="b", flips=())), "b") == {}


def test_audits_are_no_verdicts_of_their_own() -> None:
    """They tell of a verdict that is in the history already."""
    assert of_config((PAST, replace(PAST, audit=AUDIT), replace(PAST, config="b")), PAST.config) == (PAST,)


def test_the_disagreement_rate_has_an_interval() -> None:
    """One of twenty: Wilson's interval of 5 %, beside the stated error; rules are counted apart."""
    same = replace(AUDIT, full="pass", differing=())
    agreed = [replace(PAST, tuned=f"sha256:{number}", audit=same) for number in range(19)]
    found = agreement([replace(PAST, audit=AUDIT), *agreed, PAST])
    assert found is not None
    assert (found.audits, found.differing, found.settled, found.rules_differing) == (20, 1, 80, 1)
    assert (found.bounds.low, found.bounds.high) == pytest.approx((0.0089, 0.2361), abs=1e-3)
    assert found.stated == 0.05
    assert agreement([PAST]) is None


def test_a_verdict_that_is_audited_again_counts_once() -> None:
    """By its latest audit; another model, policy or config is another verdict."""
    same = replace(AUDIT, full="pass", differing=())
    found = agreement([replace(PAST, audit=AUDIT), *[replace(PAST, audit=same)] * 29])
    assert found is not None
    assert (found.audits, found.differing) == (1, 0)
    first = replace(PAST, audit=same)
    others = replace(first, tuned="o"), replace(first, policy="o"), replace(first, config_digest="o")
    found = agreement([first, *others, replace(PAST, audit=AUDIT)])
    assert found is not None
    assert (found.audits, found.differing) == (4, 1)


def test_the_table_is_words_and_bars() -> None:
    """The oldest first, with what broke; then each rule's course."""
    worse = replace(PAST.rules[0], value=-0.05, outcome="fail")
    later = replace(PAST, created="2026-11-25T06:00:00+00:00", outcome="fail", rules=(worse,))
    said = history_text((PAST, later), {"general/x": 0.1})
    lines = said.splitlines()
    assert lines[0] == "configs/lora.yaml"
    assert "2026-11-24 18:20  01234567  held          300 of 1,000 documents" in lines[1]
    assert lines[2].endswith("; general/x/max_drop")
    assert "█▁" in lines[4]
    assert "−5.0 (−2.0 to +1.0, limit 2.0 points)" in lines[4]
    assert "general/x" in lines[7]
    assert "10.0 %" in lines[7]
    assert "record" in history_text((), {})


def test_an_estimate_is_remembered_and_shown_as_one(sample: ModuleType) -> None:
    """An early verdict's numbers come with their sign; an older file, which says nothing of it, is read."""
    finding = next(each for each in sample.passing().findings if each.margin is not None)
    left = replace(finding.interval, about="benchmark")
    drawn = {"documents_scored": 64, "documents_planned": 1_000, "documents_total": 1_000}
    verdict = sample.verdict(replace(finding, remaining=left, fell=0, rose=0, unchanged=0, **drawn))
    (rule,) = decode_past(encode_past(past_of(verdict))).rules
    assert rule.early
    assert "≈ −1.2 (−2.0 to +1.0" in history_text((EARLY,), {})
    assert "≈" not in history_text((PAST,), {})
    assert json.loads(history_json((EARLY,), {}, None))["verdicts"][0]["rules"][0]["early"] is True
    older = encode_past(PAST).replace(b'"early":[],', b"")
    assert older != encode_past(PAST)
    at = older.rindex(b"sha256:")
    assert decode_past(seal(older[:at] + BLANK_SEAL.encode() + older[at + len(BLANK_SEAL) :])) == PAST


def test_hostile_text_is_escaped() -> None:
    """Names in a history are written by whoever can push to its branch."""
    bad = "\x1b[2J\u202e::error::x\n##[error]y"
    past = replace(
        PAST,
        config=bad,
        commit=bad,
        rules=(replace(PAST.rules[0], rule=bad, unit=bad, outcome="fail"),),
        flips=(PastTask(bad, 1, 2),),
        audit=None,
    )
    for said in (history_text((past, replace(past, audit=replace(AUDIT, differing=(bad,)))), {bad: 0.1}),):
        assert not {"\x1b", "\u202e"} & set(said)
        assert not any(line.lstrip().startswith("::") or "##[" in line for line in said.splitlines())
    assert history_json((past,), {bad: 0.1}, None).isascii()
    assert json.loads(history_json((past,), {}, None))["verdicts"][0]["config"] == bad
