"""Running lm-eval's own code as `simple_evaluate` does: its seeds, in silence, and without its slow paths."""

from __future__ import annotations

import functools
import io
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import lm_eval.utils
import numpy as np
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

RandomState = tuple[Any, Any]  # of `random` and of `numpy.random`
_ENVIRONMENT = lm_eval.utils.env
_compiled = functools.lru_cache(1024)(_ENVIRONMENT.from_string)


def fresh_random_state() -> RandomState:
    """The generators as `simple_evaluate` seeds them before it loads tasks."""
    return random.Random(DEFAULT_RANDOM_SEED).getstate(), np.random.RandomState(
        DEFAULT_OTHER_SEED
    ).get_state()


@contextmanager
def templates_compiled_once() -> Iterator[None]:
    """lm-eval compiles a prompt's template again for every document, which takes longer than all the rest."""
    before = _ENVIRONMENT.from_string
    _ENVIRONMENT.from_string = _compiled
    try:
        yield
    finally:
        _ENVIRONMENT.from_string = before


@contextmanager
def lm_eval_ways(state: RandomState) -> Iterator[list[RandomState]]:
    """Seeded, silent, and quick.

    A task's `process_docs` may draw from the global generators, so they are set to `state` and put back
    afterwards; the yielded list holds then where they had come to.
    """
    kept, reached = (random.getstate(), np.random.get_state()), [state]
    logger = logging.getLogger("lm_eval")
    level = logger.level
    random.setstate(state[0])
    np.random.set_state(state[1])
    logger.setLevel(logging.ERROR)
    try:
        with templates_compiled_once(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            yield reached
    finally:
        logger.setLevel(level)
        reached[0] = (random.getstate(), np.random.get_state())
        random.setstate(kept[0])
        np.random.set_state(kept[1])
