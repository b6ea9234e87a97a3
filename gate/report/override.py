"""A team's own template of the comment: from the base ref, sandboxed, bounded, with documented fields only.

It extends `pull_request.md.j2` and overrides blocks of it. It sees `comment` (`fields.CommentFields`) and,
within a config's blocks, `config`; what it prints of them is safe without any filter. It is the base
ref's text, so its author may write any Markdown; a mark of ftgate's own is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, TemplateError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gate.report.environment import TEMPLATES
from gate.report.fields import COMMENT_TEXTS, CONFIG_TEXTS, CommentFields, ConfigFields

BUILT_IN = "pull_request.md.j2"
LONGEST = 1_000_000  # characters that a template may write or make in between
SOURCE_LIMIT = 100_000
_GONE = ("pprint", "format", "center", "indent", "wordwrap", "xmlattr", "map", "tojson", "urlize")


@dataclass(frozen=True, slots=True)
class TeamTemplate:
    """A template's text, and its path in the repository for messages."""

    path: str
    source: str


class TemplateProblem(Exception):
    """A team's template cannot be used: what is wrong, and in which line (0 where no line is known)."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class _Loader(BaseLoader):
    """The team's template and the one it may extend; nothing else can be included."""

    def __init__(self, team: TeamTemplate) -> None:
        self.team = team

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool] | None]:
        if template == self.team.path:
            return self.team.source, self.team.path, None
        if template == BUILT_IN:
            return (TEMPLATES / BUILT_IN).read_text(encoding="utf-8"), BUILT_IN, None
        raise TemplateNotFound(template, f"only {BUILT_IN} can be extended")


class _Sandbox(ImmutableSandboxedEnvironment):
    """No product or power that grows beyond bounds."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or not numbers:
            raise TemplateError(f"`{operator}` is for numbers here" if operator != "**" else "no powers here")
        return super().call_binop(context, operator, left, right)  # type: ignore[arg-type]


def fill_team(team: TeamTemplate, comment: CommentFields) -> str:
    """The comment as the team's template writes it. Raises `TemplateProblem`."""
    if len(team.source) > SOURCE_LIMIT:
        raise TemplateProblem(f"is longer than {SOURCE_LIMIT:,} characters", 0)
    try:
        return _bounded(_compiled(team), comment)
    except TemplateError as error:
        line = getattr(error, "lineno", None) or _line(error, team.path)
        raise TemplateProblem(str(error.message or type(error).__name__), line) from error
    except RecursionError as error:
        raise TemplateProblem("nests or calls itself too deeply", 0) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MemoryError) as error:
        raise TemplateProblem(f"{type(error).__name__}: {error}", _line(error, team.path)) from error


@lru_cache(maxsize=4)
def _compiled(team: TeamTemplate) -> Template:
    environment = _Sandbox(loader=_Loader(team), undefined=StrictUndefined, keep_trailing_newline=True)
    for name in _GONE:
        environment.filters.pop(name, None)
    return environment.get_template(team.path)


def _apart(comment: CommentFields) -> CommentFields:
    """The built-in texts with an empty line before each, so that none becomes part of a template's HTML."""
    configs = tuple(replace(config, **_loose(config, CONFIG_TEXTS)) for config in comment.configs)
    texts: dict[str, Any] = _loose(comment, COMMENT_TEXTS)
    return replace(comment, configs=configs, **texts)


def _loose(record: CommentFields | ConfigFields, names: Sequence[str]) -> dict[str, Any]:
    texts = {name: getattr(record, name) for name in names}
    return {name: f"\n\n{text}" for name, text in texts.items() if text}


def _bounded(template: Template, comment: CommentFields) -> str:
    pieces: list[str] = []
    length = 0
    for piece in template.generate(comment=_apart(comment)):
        length += len(piece)
        if length > LONGEST:
            raise TemplateProblem(f"writes more than {LONGEST:,} characters", 0)
        pieces.append(piece)
    text = "".join(pieces).strip()
    if not text:
        raise TemplateProblem("writes nothing", 0)
    if "<!-- ftgate" in text:
        raise TemplateProblem("writes a mark of ftgate's own", 0)
    return text + "\n"


def _line(error: BaseException, path: str) -> int:
    """The innermost line of the team's template that `error` passed through."""
    found, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
