"""Whether texts made by rows are the model's own, found out before they are believed.

Every token that the rows choose must be the likeliest, or as likely as it, by the model's own forward pass
over the whole text up to there, and its logit the same. Texts of several lengths on fewer rows than
texts, so that rows change hands and move. Asked of a small float32 twin of the architecture, whose logits a
wrong mask or position changes, on the CPU and on the model's GPU; and of the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from gate.scoring.attention import takes_attention
from gate.scoring.forward import Unsound, bare_model
from gate.scoring.generating import Generator, Text, end_tokens, require_greedy
from gate.scoring.selftest import ROOM, bare_device, forest, logit_step, make_twin
from gate.scoring.stopping import Ask

ROWS = 3
TOKENS = (1, 26, 18)  # new ones, of the crafted texts in turn; rows then move while one goes on
TIE = 1e-3  # of logits in float32
STEPS = 4  # of a logit in smaller dtypes


def choose_rows(
    model: Any, decode: Callable[[list[int]], str], most: int | None = None
) -> tuple[Generator | None, str]:
    """The fastest generator whose texts are the model's own, `most` rows at a time, and what kept others from
    it; None for none."""
    reasons: list[str] = []
    for packed in (True, False) if takes_attention(model) else (False,):
        try:
            bare = bare_model(model)
            require_greedy(bare)
            for each in _checked(bare):
                check(Generator(each, decode, frozenset(), packed, ROWS))
            return Generator(model, decode, end_tokens(bare), packed, most), "; ".join(reasons)
        except Unsound as unsound:
            reasons.append(str(unsound))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # each architecture raises its own where it is called as it cannot be
            line = (str(error).splitlines() or [""])[0][:120]
            reasons.append(f"it cannot be decoded by rows ({type(error).__name__}: {line})")
    return None, "; ".join(dict.fromkeys(reasons))


def _checked(model: Any) -> Iterator[Any]:
    twin = make_twin(model)
    yield twin
    if bare_device(model).type != "cpu":
        yield twin.to(bare_device(model))
    yield model


def crafted(model: Any) -> list[Text]:
    """Texts of several lengths, most of which begin alike."""
    config = model.config.get_text_config(decoder=True)
    longest = int(getattr(config, "max_position_embeddings", None) or 4096) - max(TOKENS)
    prompts = [tuple(reading.tokens.tolist()) for reading in forest(min(config.vocab_size, 32_000), longest)]
    return [Text(prompt, Ask(TOKENS[n % 3], ())) for n, prompt in enumerate(dict.fromkeys(prompts))]


def check(generator: Generator) -> None:
    """Raises Unsound where a token of the crafted texts is not the model's own choice, or its logit off."""
    model = generator.model
    texts = crafted(model)
    generator.generate(texts)
    alone = [logits for text in texts for logits in own_logits(model, [text])]
    together = own_logits(model, texts) if model.dtype != torch.float32 else alone
    noise = max(float((a - b).abs().max()) for a, b in zip(alone, together, strict=True))
    allowed = max(TIE, STEPS * logit_step(model, texts[0].prompt), ROOM * noise)
    for text, logits in zip(texts, alone, strict=True):
        own = logits.gather(1, torch.tensor(text.made, device=logits.device)[:, None])[:, 0]
        behind = logits.max(-1).values - own
        apart = (own - torch.tensor(text.logits, device=own.device)).abs()
        worst = float(torch.maximum(behind, apart).max())
        if not worst <= allowed:
            raise Unsound(f"logits by rows are off by {worst:.2g}, where {allowed:.2g} is allowed")


@torch.no_grad()
def own_logits(model: Any, texts: Sequence[Text]) -> list[torch.Tensor]:
    """[new tokens, vocabulary] of each text in float32, by one forward pass over all, padded on the right."""
    rows = [torch.tensor([*text.prompt, *text.made[:-1]]) for text in texts]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(bare_device(model))
    logits = model(input_ids=ids, use_cache=False).logits
    return [
        logits[n, len(text.prompt) - 1 : len(text.prompt) - 1 + len(text.made)].float()
        for n, text in enumerate(texts)
    ]
