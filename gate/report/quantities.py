"""Numbers as people read them: points, percent, seconds, bytes, device-hours."""

from __future__ import annotations

from dataclasses import dataclass

from gate.records.rates import FlipRate

MINUS = "\u2212"
FRACTIONS = frozenset({"fraction", "accuracy", "proportion"})
BITS = "bits per byte"


@dataclass(frozen=True, slots=True)
class Scale:
    """How a metric's unit is shown: a value times `factor`, with `decimals`, then `suffix`; a
    change is counted in `noun`."""

    factor: float
    decimals: int
    suffix: str
    noun: str

    def size(self, value: float, decimals: int | None = None) -> str:
        """A number without sign: `3.1`."""
        return f"{abs(value) * self.factor:,.{self._places(decimals)}f}"

    def level(self, value: float, decimals: int | None = None) -> str:
        """A score: `25.4 %`, `1.022`."""
        sign = MINUS if value < 0 else ""
        return f"{sign}{self.size(value, decimals)}{self.suffix}"

    def change(self, value: float, decimals: int | None = None) -> str:
        """A difference with its sign: `+12.4`, `0.0`; the minus is U+2212."""
        size = self.size(value, decimals)
        if not any(digit in size for digit in "123456789"):
            return size
        return f"{MINUS if value < 0 else '+'}{size}"

    def apart(self, value: float, margin: float | None) -> int:
        """Decimals with which `value` and `margin` read as different where they are."""
        for decimals in range(self.decimals, self.decimals + 4):
            if margin is None or abs(value - margin) < 1e-12:
                break
            if self.size(value, decimals) != self.size(margin, decimals) or value * margin < 0:
                break
        return decimals

    def _places(self, decimals: int | None) -> int:
        return self.decimals if decimals is None else decimals


_FRACTION = Scale(100.0, 1, " %", "points")
_BITS = Scale(1.0, 3, "", BITS)


def scale_of(unit: str) -> Scale:
    """The scale of a metric's unit; one that is not known is shown as it is."""
    if unit in FRACTIONS:
        return _FRACTION
    return _BITS if unit == BITS else Scale(1.0, 2, "", unit)


def percent(change: float) -> str:
    """A relative change: `+13.0 %`."""
    return f"{_FRACTION.change(change)} %"


def count(number: int) -> str:
    """`1,415`."""
    return f"{number:,}"


def many(number: int, one: str, more: str = "") -> str:
    """`1 rule`, `2 rules`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `1 min 12 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def device_hours(seconds: float, devices: int) -> str:
    """`0.020 device-hours`: elapsed time times devices."""
    hours = seconds * devices / 3600
    decimals = 1 if hours >= 10 else 2 if hours >= 0.1 else 3
    return f"{hours:,.{decimals}f} device-hours"


def size_of(number: int) -> str:
    """`812 B`, `6.5 MiB`, `5.4 GiB`."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def millions(number: int) -> str:
    """A count of parameters: `812`, `295 k`, `3.2 M`, `8.0 B`."""
    value = float(number)
    for unit in ("", " k", " M", " B"):
        if value < 999.5:
            return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:,.0f} T"


def said_rate(rate: FlipRate) -> str:
    """What share of a task's answers changed, beside what had been expected."""
    expected = {"history": "expected from history", "calibrate": "calibrated"}.get(rate.source, "assumed")
    return f"{rate.task}: {expected} {100 * rate.expected:.3g} %, seen {100 * rate.seen:.3g} %"
