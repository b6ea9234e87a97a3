"""From requests to responses: blocks, models in memory, proofs about weights.

Importing this room is cheap; torch, transformers and peft come when a model is loaded. It tells lm-eval's
registry of the model class `ftgate`.
"""

from gate.scoring.blocks import block_key, draw_order, make_blocks
from gate.scoring.chat import ChatTemplate
from gate.scoring.protocol import FellBack, Scorer, Side
from gate.scoring.registration import register
from gate.scoring.session import SIDES, ModelSession
from gate.scoring.way import HF_NAME, Way
from gate.scoring.weights import check_applied, prove_finite, prove_weights

register()

__all__ = [
    "HF_NAME",
    "SIDES",
    "ChatTemplate",
    "FellBack",
    "ModelSession",
    "Scorer",
    "Side",
    "Way",
    "block_key",
    "check_applied",
    "draw_order",
    "make_blocks",
    "prove_finite",
    "prove_weights",
]
