"""Hostile strings through what a pull request is told: comment, check run, summary, team's template."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.report import (
    TeamTemplate,
    render_check_run,
    render_overall_check_run,
    render_pull_request,
    render_summary,
)
from gate.report.fields import COMMENT_TEXTS, CONFIG_TEXTS, CommentFields, ConfigFields, RuleFields
from gate.report.text import anywhere, one_line, quiet, title_words, words

WIDE = 10**8  # bytes: nothing is shed, so every place is seen
TEXTS = st.text(max_size=60) | st.text(alphabet="`|\\<>@#[]()!*_~&\"'\n -=:/$.w7af", max_size=40)
COMMENT_DATA = [it.name for it in fields(CommentFields) if it.name not in (*COMMENT_TEXTS, "configs")]
CONFIG_DATA = [it.name for it in fields(ConfigFields) if it.name not in (*CONFIG_TEXTS, "rules")]
RULE_DATA = [it.name for it in fields(RuleFields)]


def careless_template() -> TeamTemplate:
    """A team's template that prints every field in every kind of place, and no filter anywhere."""

    def row(record: str, names: list[str]) -> str:
        values = [f"{{{{ {record}.{name} }}}}" for name in names]
        return "\n".join(
            f'[{v}]\n\n<details title="{v}"><summary>{v}</summary>\n{v}\n\n**x {v}**\n</details>\n'
            for v in values
        )

    return TeamTemplate(
        "gate/comment.md.j2",
        '{% extends "pull_request.md.j2" %}{% block verdict %}'
        + row("comment", COMMENT_DATA)
        + "<div>{{ comment.verdict }}</div>\n\n<table><tr><td>{{ comment.policy }}</td></tr></table>\n\n"
        + "{% endblock %}{% block table %}"
        + row("config", CONFIG_DATA)
        + "<details>{{ config.table }}\n\n</details>\n\n"
        + "{% for rule in config.rules[:1] %}"
        + row("rule", RULE_DATA)
        + "{% endfor %}{% endblock %}",
    )


GROUPS = [
    *("mentions", "references", "html", "entities", "fences", "tables", "unicode", "control", "commands"),
    *("markers", "templates", "links", "blocks", "inline", "mermaid", "paths", "numbers", "sizes"),
]
CARELESS = careless_template()


def written(sample: ModuleType, pulls: ModuleType, word: str) -> dict[str, str]:
    """Every Markdown text about a pull request in which `word` stands wherever data stands."""
    run, views, context = pulls.dressed_pull(sample, word)
    comment = render_pull_request(run, views, context, limit=WIDE)
    checks = [render_check_run(views.get(it.change.path), it, run, context, limit=WIDE) for it in run.runs]
    overall = render_overall_check_run(run, views, comment, context)
    assert render_summary(run, views, context, limit=WIDE) == comment
    return {
        "comment": comment,
        "overall": overall.summary,
        **{f"summary {number}": check.summary for number, check in enumerate(checks)},
        **{f"text {number}": check.text for number, check in enumerate(checks)},
    }


@cache
def harmless(sample: ModuleType, pulls: ModuleType) -> dict[str, str]:
    return written(sample, pulls, "plain")


@pytest.fixture(scope="session")
def check(sample: ModuleType, pulls: ModuleType, oracle: ModuleType) -> object:
    """Checks that a word is only shown, in every text."""

    def check_word(word: str) -> None:
        same = bool(one_line(word)) and len(word) <= 80
        for name, text in written(sample, pulls, word).items():
            usual = harmless(sample, pulls)[name]
            oracle.assert_only_shown(text, usual, same=same, both=name == "comment")

    return check_word


def test_the_corpus_is_large_and_each_kind_is_tried(corpus: dict[str, list[str]]) -> None:
    """At least 300 strings, none twice, every group in the tests below."""
    strings = [text for group in corpus.values() for text in group]
    assert len(strings) == len(set(strings)) >= 300
    assert sorted(corpus) == sorted(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_hostile_text_adds_no_element(corpus: dict[str, list[str]], check: object, group: str) -> None:
    """Real parsers find the elements that harmless text has, and GitHub finds nothing to act on."""
    for word in corpus[group]:
        check(word)


@settings(max_examples=15, deadline=None)
@given(word=TEXTS)
def test_any_text_adds_no_element(check: object, word: str) -> None:
    """The same for whatever hypothesis thinks of."""
    check(word)


@pytest.mark.parametrize("group", GROUPS)
def test_a_careless_template_is_safe(
    sample: ModuleType, pulls: ModuleType, oracle: ModuleType, corpus: dict[str, list[str]], group: str
) -> None:
    """Every documented field in a paragraph, list, table, attribute and HTML block, without a filter."""
    expected = careless(sample, pulls, "plain")
    for word in corpus[group]:
        same = bool(one_line(word)) and len(word) <= 80
        oracle.assert_only_shown(careless(sample, pulls, word), expected, same=same, both=False)


def careless(sample: ModuleType, pulls: ModuleType, word: str) -> str:
    run, views, context = pulls.dressed_pull(sample, word)
    text = render_pull_request(run, views, context, template=CARELESS, limit=WIDE)
    assert "cannot be used" not in text
    return text


def test_titles_and_remarks_are_plain(
    sample: ModuleType, pulls: ModuleType, corpus: dict[str, list[str]], oracle: ModuleType
) -> None:
    """Titles and messages are one line of harmless characters; a remark's path alone is as it is."""
    for word in (text for group in corpus.values() for text in group):
        run, views, context = pulls.dressed_pull(sample, word)
        checks = [render_check_run(views.get(it.change.path), it, run, context) for it in run.runs]
        checks.append(render_overall_check_run(run, views, "", context))
        for found in checks:
            said = [found.title, *(text for it in found.remarks for text in (it.title, it.message))]
            for text in said:
                assert re.fullmatch(r"[A-Za-z0-9 ,;:%+±−…_./()-]+", text), text
                assert not oracle.ACTS.search(text)
                assert "::" not in text
            assert len(found.title) <= 200
            assert all(it.line >= 1 for it in found.remarks)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_each_way_to_make_text_harmless(oracle: ModuleType, text: str) -> None:
    """In a paragraph and in a table's cell: only code spans, and nothing that acts outside them."""
    places = "x {0} y\n\n- {0}\n\n| a |\n|---|\n| {0} |\n"
    html = '<details title="{0}"><summary>{0}</summary>\n{0}\n\n**{0}** [{0}]({0})\n</details>\n'
    if made := words(text):
        oracle.assert_only_shown(places.format(made), places.format("b"))
    made = anywhere(text)
    oracle.assert_only_shown((places + html).format(made), (places + html).format(anywhere("b c")))
    assert not oracle.ACTS.search(title_words(text))


def test_plain_words_stay_as_they_are() -> None:
    """A sentence of ours is no row of code spans; what could act is one."""
    assert words("commit thresholds.yaml on main first (see docs/security.md).") == (
        "commit `thresholds.yaml` on main first (see `docs/security.md`)."
    )
    assert words("deadbeef @octocat done") == "`deadbeef @octocat` done"


def test_no_line_of_a_log_is_a_command() -> None:
    """The runner trims a line before it looks for `::`, and finds `##[` anywhere."""
    said = quiet("::error::x\n  ::set-env::y\na ::b:: c ##[error]d")
    assert not re.search(r"(?m)^\s*::|##\[", said)
    assert "a ::b:: c" in said
