"""Devices that a run can be estimated on: peak throughput and the share of it that is reached."""

from __future__ import annotations

from dataclasses import dataclass

# Shares of the peak that are assumed. A trainer's is usual for one device and sequences that fill a batch;
# lm-eval's Hugging Face model reaches less, as its batches are padded and its requests short.
TRAINING, SCORING = 0.35, 0.15


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator. `peak` is dense 16-bit matrix throughput in FLOP/s, by its maker's data sheet."""

    name: str
    peak: float

    def seconds(self, flops: float, utilisation: float) -> float:
        """How long so many floating-point operations take at a share of the peak."""
        return flops / (self.peak * utilisation)


_TERAFLOPS = {
    "t4": 65, "v100": 125, "rtx3090": 71, "rtx4090": 165, "a10g": 70, "l4": 121, "l40s": 362, "a100": 312,
    "h100": 989, "h200": 989, "b200": 2250, "mi300x": 1307,
}  # fmt: skip
DEVICES = {name: Device(name, peak * 1e12) for name, peak in _TERAFLOPS.items()}
