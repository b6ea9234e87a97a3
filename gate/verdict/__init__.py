"""Measurements + Policy -> Verdict. Pure: no model, no file, no clock."""

from gate.verdict.findings import judge, judge_what_there_is
from gate.verdict.playing import order_digest
from gate.verdict.recipe import Training, judge_recipe, mean_measurements, mean_values
from gate.verdict.result import Failure, Result, Verdict, exit_code

__all__ = [
    "Failure",
    "Result",
    "Training",
    "Verdict",
    "exit_code",
    "judge",
    "judge_recipe",
    "judge_what_there_is",
    "mean_measurements",
    "mean_values",
    "order_digest",
]
