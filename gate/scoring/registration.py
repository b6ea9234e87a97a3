"""The name `ftgate` among lm-eval's model classes; the class itself is imported when it is asked for."""

from __future__ import annotations

NAME = "ftgate"


def register() -> None:
    """Put the name into lm-eval's registry, after lm-eval's own, which it fills only while it is empty."""
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    if NAME not in model_registry:
        model_registry.register(NAME, target="gate.scoring.harness_class:TreeLM")
