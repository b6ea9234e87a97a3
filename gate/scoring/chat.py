"""A model's chat template as a function that makes prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gate.scoring.protocol import Side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """`render(messages, add_generation_prompt=True)` makes one prompt; `name` says whose template it is."""

    name: Side
    render: Callable[..., str]
    tokenizer: str = ""  # tells templates apart in lm-eval's own names


def chat_template(tokenizer: PreTrainedTokenizerBase, side: Side) -> ChatTemplate | None:
    """The tokenizer's template, rendered as lm-eval's HFLM.apply_chat_template does; None without one."""
    if not tokenizer.chat_template:
        return None
    digest = hashlib.sha256(repr(tokenizer.chat_template).encode()).hexdigest()
    return ChatTemplate(side, _Renderer(tokenizer), digest[:16])


@dataclass(frozen=True, slots=True)
class _Renderer:
    tokenizer: Any

    def __call__(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return self._apply(messages, add_generation_prompt)
        except TemplateError:  # many templates refuse the system role; lm-eval leaves it out then
            rest = [message for message in messages if message["role"] != "system"]
            return self._apply(rest, add_generation_prompt)

    def _apply(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )
