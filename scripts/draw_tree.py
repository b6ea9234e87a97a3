#!/usr/bin/env python3
"""The picture of docs/how-it-scores.md, as SVG: the same bytes every time.

    python scripts/draw_tree.py [--out docs/img]

tree.svg: five requests of two small questions, a token a word, as one pack: laid out by the package's own
code, with the mask that it gives to the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gate.scoring.masks import allowed
from gate.scoring.readings import Reading
from gate.scoring.tree import Pack, PackShape, make_packs

REQUESTS = [
    ("The cat sat on", "the mat ."),
    ("The cat sat on", "the moon ."),
    ("The cat sat on", "a chair ."),
    ("The cat ran", "home ."),
    ("The cat ran", "away ."),
]
WORDS = [
    "The",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    "moon",
    "a",
    "chair",
    "ran",
    "home",
    "away",
    ".",
]  # in this order in the picture
ROW, STEP, LEFT, TOP, GAP = 30, 46, 20, 74, 64
STYLE = """
  text { font: 15px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #17191e; }
  .title { font-weight: 600; } .soft { fill: #575e69; } .paper { fill: #fff; }
  .branch { fill: none; stroke: #a39f95; stroke-width: 1.5; } .node { fill: #eeece6; }
  .head { fill: none; stroke: #12704a; stroke-width: 2; } .off { fill: #f4f2ed; } .on { fill: #2a5bd0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ebe9e4; } .soft { fill: #a4abb6; } .paper { fill: #131519; } .branch { stroke: #6b7079; }
    .node { fill: #262a31; } .head { stroke: #55c796; } .off { fill: #1d2026; } .on { fill: #86abff; }
  }"""


def pack_of(requests: list[tuple[str, str]]) -> Pack:
    """The requests as one pack."""
    readings = []
    for context, continuation in requests:
        before, after = context.split(), continuation.split()
        tokens = np.array([WORDS.index(word) for word in (*before, *after)], np.int32)
        readings.append(Reading(tokens, len(before)))
    (pack,) = make_packs(readings, PackShape(limit=64))
    return pack


def tree(pack: Pack) -> Iterator[str]:
    """A row a node, in the pack's order, as far to the right as it is deep; a ring where the head runs."""
    scored = set(pack.rows.tolist())
    for node, (token, depth) in enumerate(zip(pack.tokens.tolist(), pack.depth.tolist(), strict=True)):
        x, y = LEFT + STEP * depth, TOP + ROW * node
        if depth:
            parent = max(k for k in range(node) if pack.depth[k] == depth - 1)
            up = TOP + ROW * parent
            yield f'<path class="branch" d="M{x - STEP + 8},{up + 24} V{y + 12} H{x}"/>'
        word = WORDS[token]
        width = 14 + 8 * len(word)
        yield f'<rect class="node" x="{x}" y="{y}" width="{width}" height="24" rx="5"/>'
        if node in scored:
            yield f'<rect class="head" x="{x}" y="{y}" width="{width}" height="24" rx="5"/>'
        yield f'<text x="{x + width / 2:g}" y="{y + 17}" text-anchor="middle">{word}</text>'


def mask(pack: Pack, left: int) -> Iterator[str]:
    """Row q, column k: filled where q may look at k."""
    seen = allowed(torch.from_numpy(pack.subtree_end), torch.from_numpy(pack.depth), None).tolist()
    for q, row in enumerate(seen):
        for k, may in enumerate(row):
            place = f'x="{left + ROW * k + 1}" y="{TOP + ROW * q - 2}" width="{ROW - 2}" height="{ROW - 2}"'
            yield f'<rect class="{"on" if may else "off"}" {place} rx="3"/>'


def draw() -> str:
    """The whole picture."""
    pack = pack_of(REQUESTS)
    left = LEFT + STEP * int(pack.depth.max()) + 70 + GAP
    width, height = left + ROW * len(pack) + 16, TOP + ROW * len(pack) + 14
    asked = sum(len(f"{context} {end}".split()) - 1 for context, end in REQUESTS)
    said = (
        f"Five requests of two questions as one prefix tree. Left: {len(pack)} nodes in depth-first "
        f"order, a row each, for {asked} tokens one by one; a ring marks a node after which one is scored. "
        "Right: the attention mask, in which each node looks at itself and at its ancestors alone."
    )
    heading = f"The tree: {len(pack)} nodes for {asked} tokens"
    body = [
        f'<text class="title" x="{LEFT}" y="24">{heading}</text>',
        f'<text class="soft" x="{LEFT}" y="48">ring: a next token is scored here</text>',
        f'<text class="title" x="{left}" y="24">Its mask</text>',
        f'<text class="soft" x="{left}" y="48">row q looks at column k</text>',
        *tree(pack),
        *mask(pack, left),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-labelledby="title said">',
            '<title id="title">A prefix tree and its mask</title>',
            f'<desc id="said">{said}</desc>',
            f"<style>{STYLE}\n</style>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


PICTURES = {"tree.svg": draw}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    for name, make in PICTURES.items():
        (parser.parse_args().out / name).write_text(make())
