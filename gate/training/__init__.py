"""Training: a team's own config run by its own trainer in a child process, and proof of what came of it."""

from gate.training.run import planned_overrides, train

__all__ = ["planned_overrides", "train"]
