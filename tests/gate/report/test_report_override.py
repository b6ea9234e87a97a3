"""A team's own template: what it can change, what it can see, and what becomes of a wrong one."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from gate.report import TeamTemplate, render_pull_request
from gate.report.environment import TEMPLATES
from gate.report.fields import CommentFields, ConfigFields, RuleFields

DOCS = Path(__file__).parents[3] / "docs" / "comment.md"
EXTENDS = '{% extends "pull_request.md.j2" %}'
BLOCKS = (
    *("verdict", "overview", "config", "heading", "reason", "table", "since", "details"),
    *("policy", "reproduce", "cost", "trust", "footer"),
)


def told(sample: ModuleType, pulls: ModuleType, source: str, **more: int) -> str:
    run, views = pulls.every_way(sample)
    return render_pull_request(
        run, views, pulls.context(), template=TeamTemplate("ci/team.md.j2", source), **more
    )


def test_a_template_that_overrides_nothing_is_the_built_in_text(
    sample: ModuleType, pulls: ModuleType
) -> None:
    """Word for word but for empty lines."""
    run, views = pulls.every_way(sample)
    built_in = render_pull_request(run, views, pulls.context())
    assert told(sample, pulls, EXTENDS).split() == built_in.split()


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_can_be_overridden(sample: ModuleType, pulls: ModuleType, block: str) -> None:
    """Its own text stands there, and `super()` is the built-in one."""
    text = told(
        sample, pulls, f"{EXTENDS}{{% block {block} %}}OUR {block}\n\n{{{{ super() }}}}{{% endblock %}}"
    )
    assert f"OUR {block}" in text
    assert "cannot be used" not in text
    assert "may merge" in text


def test_blocks_and_fields_are_those_that_are_documented() -> None:
    """docs/comment.md names every block and every field, and no other."""
    source = (TEMPLATES / "pull_request.md.j2").read_text()
    assert tuple(re.findall(r"block (\w+)", source)) == BLOCKS
    documented = set(re.findall(r"(?m)^\| `([a-z_.]+)`", DOCS.read_text()))
    expected = {f"comment.{it.name}" for it in fields(CommentFields)}
    expected |= {f"config.{it.name}" for it in fields(ConfigFields)}
    expected |= {f"rule.{it.name}" for it in fields(RuleFields)}
    assert documented == expected | set(BLOCKS)


def test_fields_can_be_used_without_filters(sample: ModuleType, pulls: ModuleType) -> None:
    """A table of a team's own, from documented fields."""
    source = (
        f"{EXTENDS}{{% block overview %}}{{% for config in comment.configs %}}"
        "{% for rule in config.rules if rule.outcome == 'fail' %}"
        "{{ config.path }} {{ rule.name }} {{ rule.change }} {{ rule.limit }}\n"
        "{% endfor %}{% endfor %}{% endblock %}"
    )
    text = told(sample, pulls, source)
    assert "<code>configs&#47;full&#46;yaml</code> <code>arc&#95;easy</code> −3.1 allowed −2.0\n" in text


@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        (f"{EXTENDS}\n{{% block verdict %}}", "Unexpected end of template", 2),
        (f"{EXTENDS}\n\n{{% block verdict %}}\n{{{{ comment.colour }}}}{{% endblock %}}", "no attribute", 4),
        (f"{EXTENDS}{{% block verdict %}}{{{{ view }}}}{{% endblock %}}", "is undefined", 1),
        (f"{EXTENDS}{{% block verdict %}}{{{{ comment.__class__ }}}}{{% endblock %}}", "unsafe", 1),
        (f"{EXTENDS}{{% block verdict %}}{{{{ 1 // 0 }}}}{{% endblock %}}", "ZeroDivisionError", 1),
        (f"{EXTENDS}{{% block verdict %}}{{{{ 'x' * 10 ** 10 }}}}{{% endblock %}}", "powers", 1),
        (f"{EXTENDS}{{% block verdict %}}{{{{ 'x' * 10000000 }}}}{{% endblock %}}", "for numbers", 1),
        (f"{EXTENDS}{{% block verdict %}}{{{{ '%099999999d' % 1 }}}}{{% endblock %}}", "for numbers", 1),
        (
            f"{EXTENDS}{{% block verdict %}}{{% include 'comment.md.j2' %}}{{% endblock %}}",
            "can be extended",
            1,
        ),
        ("{% extends '/etc/passwd' %}", "can be extended", 1),
        ("", "writes nothing", 0),
        ("<!-- ftgate {} -->", "a mark of", 0),
        ("{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxx' }}{% endfor %}", "writes more than", 0),
        ("x" * 100_001, "is longer than", 0),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deeply", 0),
    ],
)
def test_a_wrong_template_is_named_and_the_built_in_text_stands(
    sample: ModuleType, pulls: ModuleType, source: str, words: str, line: int
) -> None:
    """The warning has file, line and reason; the verdict is told all the same."""
    text = told(sample, pulls, source)
    place = f"ci/team.md.j2:{line}" if line else "ci/team.md.j2"
    assert f"**Warning:** the template `{place}` cannot be used: " in text
    assert words in text.rpartition("cannot be used")[2].replace("`", "")
    assert text.startswith("### ⚠️ could not measure: 1 of 8 configs")


def test_a_template_sheds_as_the_built_in_text_does(sample: ModuleType, pulls: ModuleType) -> None:
    """Too long: sections go first; too long without any: the built-in text."""
    assert "Left out to fit" in told(sample, pulls, EXTENDS, limit=20_000)
    long = f"{EXTENDS}{{% block trust %}}{'y' * 25_000}{{% endblock %}}"
    assert "bytes when all else is left out" in told(sample, pulls, long, limit=20_000)
