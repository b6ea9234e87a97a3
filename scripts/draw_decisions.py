#!/usr/bin/env python3
"""The pictures of docs/how-it-decides.md, as SVG: the same bytes every time.

    python scripts/draw_decisions.py [--out docs/img]

decision-path.svg: three rules under `decide: score` on a benchmark of 10,042 documents, from simulated
answers and a fixed seed, played by the package's own test. operating-curve.svg: the chance that a rule blocks
against the true drop on the population, by the package's own figures, those of `ftgate plan`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.stats.claims import Limit, band, decide
from gate.stats.power import Design, blocked
from gate.stats.sequential import Block, Stratum, observe, start

WIDTH, HEIGHT = 560, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 40, 62
DOCUMENTS, FLIPS, MARGIN, BLOCK, ERROR = 10_042, 0.1, 0.02, 32, 0.05
SIZES = (200, 1_319, 5_000, 14_042)
STYLE = """
  text { font: 16px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #17191e; }
  .title { font-weight: 600; } .soft { fill: #575e69; } .paper { fill: #fff; } .grid { stroke: #dedbd3; }
  .edge { stroke: #b3261a; stroke-width: 2; } .wrong { fill: #b3261a; fill-opacity: .07; }
  .l0 { stroke: #2a5bd0; fill: #2a5bd0; } .l1 { stroke: #12704a; fill: #12704a; }
  .l2 { stroke: #875900; fill: #875900; } .l3 { stroke: #7a3fb0; fill: #7a3fb0; }
  .line { fill: none; stroke-width: 2.5; } .band { fill-opacity: .14; stroke: none; } .word { stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ebe9e4; } .soft { fill: #a4abb6; } .paper { fill: #131519; } .grid { stroke: #31353d; }
    .edge { stroke: #ff8577; } .wrong { fill: #ff8577; fill-opacity: .1; }
    .l0 { stroke: #86abff; fill: #86abff; } .l1 { stroke: #55c796; fill: #55c796; }
    .l2 { stroke: #e5b04c; fill: #e5b04c; } .l3 { stroke: #c79bf2; fill: #c79bf2; } .line { fill: none; }
    .band, .word { stroke: none; }
  }"""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where numbers stand in a picture: two linear axes."""

    across: tuple[float, float]
    up: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.up
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (min(max(value, low), high) - low) / (high - low)

    def points(self, places: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in places)


def picture(title: str, said: str, body: Iterator[str]) -> str:
    """A whole SVG file; `said` is what it shows, in words."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" role="img" aria-labelledby="title said">',
            f'<title id="title">{title}</title>',
            f'<desc id="said">{said}</desc>',
            f"<style>{STYLE}\n</style>",
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
            f'<text class="title" x="{LEFT}" y="24">{title}</text>',
            *body,
            "</svg>",
            "",
        ]
    )


def axes(
    frame: Frame, across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], names: tuple[str, str]
) -> Iterator[str]:
    """Grid, ticks and what the axes show."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value, label in up:
        y = frame.y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="soft" x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{label}</text>'
    for value, label in across:
        anchor = "end" if value == across[-1][0] else "middle"
        x = f"{frame.x(value):.1f}"
        yield f'<text class="soft" x="{x}" y="{bottom + 20}" text-anchor="{anchor}">{label}</text>'
    middle = (LEFT + right) / 2
    yield f'<text class="soft" x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{names[0]}</text>'
    yield f'<text class="soft" x="{right - 6}" y="{TOP + 16}" text-anchor="end">{names[1]}</text>'


# ── One decision's path ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Course:
    """Documents, estimate and band after each look, in points of change."""

    looks: tuple[tuple[int, float, float, float], ...]
    says: str


def path(drop: float, seed: int) -> Course:
    """A benchmark whose full drop is `drop`, drawn until it is certain, as `ftgate check` draws it."""
    changed, net = round(DOCUMENTS * FLIPS), round(DOCUMENTS * drop)
    lost = (changed + net) // 2
    values = np.zeros(DOCUMENTS)
    values[:lost], values[lost:changed] = 1, -1
    values = np.random.default_rng(seed).permutation(values)
    evidence, limit, drawn, looks = start([Stratum(DOCUMENTS)]), Limit.at(MARGIN), 0, []
    while True:
        take = BLOCK * max(1, math.ceil(drawn / BLOCK / 20))
        evidence = observe(evidence, [Block(values[drawn : drawn + take])])
        drawn = evidence.seen[0]
        found = band(evidence, ERROR, ERROR)
        looks.append((drawn, -100 * found.estimate, -100 * found.high, -100 * found.low))
        says = decide(evidence, limit, keep_error=ERROR, break_error=ERROR)
        if says is not None:
            return Course(tuple(looks), says)


def draw_path() -> str:
    """Three rules of one margin: nothing lost, twice the margin lost, just the margin lost."""
    frame = Frame((0, DOCUMENTS), (-8, 4))
    drops = (("no drop", 0.0), ("a drop of 4 points", 0.04), ("a drop of 2.1", 0.021))
    cases = [(name, path(drop, seed)) for seed, (name, drop) in enumerate(drops, 1)]
    heights = [(v, f"{v:+d}".replace("-", "−") if v else "0") for v in (-8, -6, -4, -2, 0, 2, 4)]
    ticks = [(n, f"{n:,}") for n in (0, 2500, 5000, 7500, DOCUMENTS)]

    def body() -> Iterator[str]:
        bottom = HEIGHT - BOTTOM
        edge, width = frame.y(-100 * MARGIN), WIDTH - LEFT - RIGHT
        yield f'<rect class="wrong" x="{LEFT}" y="{edge:.1f}" width="{width}" height="{bottom - edge:.1f}"/>'
        yield from axes(frame, ticks, heights, ("documents drawn", "change in points"))
        for number, (_, one) in enumerate(cases):
            ends = [(n, high) for n, _, _, high in one.looks] + [(n, low) for n, _, low, _ in one.looks][::-1]
            yield f'<polygon class="band l{number}" points="{frame.points(ends)}"/>'
        yield f'<line class="edge" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{edge:.1f}" y2="{edge:.1f}"/>'
        for number, (name, one) in enumerate(cases):
            line = frame.points([(n, estimate) for n, estimate, _, _ in one.looks])
            yield f'<polyline class="line l{number}" points="{line}"/>'
            n, estimate, _, _ = one.looks[-1]
            yield f'<circle class="l{number}" cx="{frame.x(n):.1f}" cy="{frame.y(estimate):.1f}" r="5"/>'
            last = n == DOCUMENTS
            x, anchor = (frame.x(n) - 4, "end") if last else (frame.x(n) + 10, "start")
            place = f'x="{x:.1f}" y="{frame.y(estimate) + (26 if last else 5):.1f}"'
            yield f'<text class="l{number} word" {place} text-anchor="{anchor}">{name}: after {n:,}</text>'
        place = f'x="{WIDTH - RIGHT - 6}" y="{bottom - 8}"'
        yield f'<text class="soft" {place} text-anchor="end">not allowed</text>'

    told = "; ".join(
        f"{name}: that it {one.says} the margin is certain after {one.looks[-1][0]:,} documents"
        for name, one in cases
    )
    return picture("Until it is certain: margin 2 points", f"{told}, of {DOCUMENTS:,}.", body())


# ── The operating curve ──────────────────────────────────────────────────────────────────────────


def draw_curve() -> str:
    """The chance of a block against the true drop, margin 2 points, 10 % flips."""
    frame = Frame((0, 5), (0, 100))
    drops = np.linspace(0, 0.05, 101)
    designs = [Design(n, FLIPS, MARGIN, "full") for n in SIZES]
    curves = [[(100 * d, 100 * blocked(design, float(d))) for d in drops] for design in designs]

    def body() -> Iterator[str]:
        yield from axes(
            frame,
            [(v, f"{v}") for v in range(6)],
            [(v, f"{v} %") for v in (0, 20, 40, 60, 80, 100)],
            ("true drop on the population, in points", ""),
        )
        at = frame.x(100 * MARGIN)
        yield f'<line class="edge" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="soft" x="{at - 6:.1f}" y="{TOP + 16}" text-anchor="end">margin</text>'
        for number, curve in enumerate(curves):
            yield f'<polyline class="line l{number}" points="{frame.points(curve)}"/>'
        for number, n in enumerate(SIZES):
            x, y = frame.x(3.2), frame.y(40 - 9 * number)
            ends = f'x1="{x:.1f}" x2="{x + 22:.1f}" y1="{y - 5:.1f}" y2="{y - 5:.1f}"'
            yield f'<line class="line l{number}" {ends}/>'
            yield f'<text x="{x + 30:.1f}" y="{y:.1f}">{n:,} documents</text>'

    told = "; ".join(
        f"{n:,} documents: {curve[0][1]:.1f} % at no drop, {curve[40][1]:.0f} % at the margin, "
        f"{curve[80][1]:.0f} % at twice it"
        for n, curve in zip(SIZES, curves, strict=True)
    )
    return picture("Chance of a block: margin 2 points, 10 % flips", f"{told}.", body())


PICTURES = {"decision-path.svg": draw_path, "operating-curve.svg": draw_curve}


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/how-it-decides.md.")
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    folder = parser.parse_args().out
    for name, draw in PICTURES.items():
        (folder / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
