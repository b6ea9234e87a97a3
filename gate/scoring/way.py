"""How a block is scored: by what, and how much of it at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

ScorerName = Literal["tree", "hf", "vllm"]
# Of every scorer: the name in stored keys, its version, raised whenever the same inputs would give other
# numbers, and what people call it.
KEYS: Mapping[ScorerName, str] = {"tree": "ftgate-tree", "hf": "lm-eval-hf", "vllm": "lm-eval-vllm"}
VERSIONS: Mapping[ScorerName, str] = {"tree": "3", "hf": "1", "vllm": "1"}
NAMES: Mapping[ScorerName, str] = {
    "tree": "prefix tree", "hf": "lm-eval HF model", "vllm": "lm-eval vLLM model",
}  # fmt: skip
HF_NAME = NAMES["hf"]
PACKS = (8192, 4096, 2048, 1024, 512)  # tokens; a few fixed sizes, so that nothing is compiled anew


@dataclass(frozen=True, slots=True)
class Way:
    """Which scorer answers, and its size: both models of a pair are asked in the same way.

    `pack` is the tree's, in tokens, and `rows` the texts that it makes at a time; 0 elsewhere. `batch` is
    lm-eval's, in requests; under the tree that of the texts that it leaves to lm-eval's model.
    """

    scorer: ScorerName
    batch: int
    pack: int = 0
    rows: int = 0

    def smaller(self) -> Way | None:
        """What takes less memory; None where nothing does."""
        pack = next((size for size in PACKS if size < self.pack), self.pack)
        rows = max(min(1, self.rows), self.rows // 2)
        other = replace(self, batch=max(1, self.batch // 2), pack=pack, rows=rows)
        return None if other == self else other

    @property
    def sizes(self) -> str:
        """The size in words."""
        return f"packs of {self.pack:,} tokens" if self.scorer == "tree" else f"batches of {self.batch}"

    @property
    def name(self) -> str:
        """The scorer in words, with its version."""
        version = f" {VERSIONS[self.scorer]}" if self.scorer == "tree" else ""
        return f"{NAMES[self.scorer]}{version}"


def pack_that_fits(per_token: int, free: int) -> int:
    """The largest pack of `per_token` bytes a token that fits into `free`; the smallest where none does."""
    return next((size for size in PACKS if size * per_token <= free), PACKS[-1])
