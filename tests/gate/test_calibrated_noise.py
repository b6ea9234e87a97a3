"""What two scorings of one base come to: flips, difference, standard error, leaf by leaf."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.calibrate import Calibration, keep_finished
from gate.calibrate.scoring import noise_of
from gate.errors import MeasurementError
from gate.foresight.noise import Noise
from gate.records import Leaf, Measurement, TaskInfo

INFO = TaskInfo(
    "general/a", "benchmarks", "acc", "none", "accuracy", True, (Leaf("x", 4, 4, 0.25), Leaf("y", 4, 4, 0.75))
)


def leaf(name: str, base: list[float], tuned: list[float], **changes: object) -> Measurement:
    made = Measurement(
        INFO.task, name, "benchmarks", "acc", "none", "accuracy", True, "mean",
        tuple(range(len(base))), ("h",) * len(base), tuple(base), tuple(tuned), len(base),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_leaves_are_weighted_and_their_errors_add_as_squares() -> None:
    """0.25 of one, 0.75 of the other; flips are counted either way."""
    x, y = ([1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]), ([1.0] * 4, [1.0, 1.0, 1.0, 0.0])
    found = noise_of("weights", INFO, [leaf("x", *x), leaf("y", *y)])
    moved = [np.array(new) - np.array(old) for old, new in (x, y)]
    error = math.sqrt(sum(w * w * d.var(ddof=1) / 4 for w, d in zip((0.25, 0.75), moved, strict=True)))
    assert found == Noise("weights", "general/a", 8, 4, pytest.approx(0.25 * 0.25 - 0.75 * 0.25), error)


def test_text_is_a_ratio_of_sums_and_has_no_flips() -> None:
    """Bits over bytes: the difference of two ratios with the same bytes."""
    info = replace(INFO, unit="bits per byte", leaves=(Leaf("x", 2, 2),))
    text = leaf(
        "x", [10.0, 30.0], [12.0, 36.0], unit="bits per byte", aggregation="ratio", weights=(8.0, 16.0)
    )
    found = noise_of("weights", info, [text])
    assert found.changed is None
    assert found.difference == pytest.approx(48 / 24 - 40 / 24)
    assert found.error > 0


def test_a_corpus_metric_takes_its_replicates() -> None:
    """The spread of the paired bootstrap is the standard error."""
    info = replace(INFO, leaves=(Leaf("x", 2, 2),))
    drawn = ((1.0, 1.5), (1.0, 2.5), (2.0, 4.0))
    metric = leaf("x", [], [], aggregation="corpus", corpus=(1.0, 3.0), replicates=drawn, numbers=(0, 1))
    found = noise_of("weights", info, [metric])
    assert (found.changed, found.difference) == (None, 2.0)
    assert found.error == pytest.approx(float(np.std([0.5, 1.5, 2.0], ddof=1)))


def test_one_document_has_no_standard_error() -> None:
    """It is an error, with what to do."""
    info = replace(INFO, leaves=(Leaf("x", 1, 1),))
    with pytest.raises(MeasurementError, match="the spread of one value is unknown"):
        noise_of("weights", info, [leaf("x", [1.0], [0.0])])


def test_a_calibration_that_lacked_memory_is_not_finished(tmp_path: Path) -> None:
    """It is not kept, so the next call tries what was left out; one that tried everything is kept."""
    file = tmp_path / "calibration.json"
    done = Calibration((("other order", "blocks reversed"),), (), ("other dtype: out of memory",))
    keep_finished(file, done)
    assert not file.exists()
    keep_finished(file, replace(done, left_out=()))
    assert file.is_file()
