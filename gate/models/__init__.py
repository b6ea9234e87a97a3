"""What a model folder is: which files count, are they whole and safe, do two of them belong together.

Standard library only: `ftgate verify` and `ftgate judge` start without torch.
"""

from gate.models.files import digest_model, has_tokenizer, model_files, model_kind, read_json
from gate.models.fitting import check_adapter_fits, check_same_family, check_vocabulary
from gate.models.headers import Tensor, digest_weights, read_header, tensor_shapes, weight_files
from gate.models.inspection import inspect_model
from gate.models.naming import base_in_doubt

__all__ = [
    "Tensor",
    "base_in_doubt",
    "check_adapter_fits",
    "check_same_family",
    "check_vocabulary",
    "digest_model",
    "digest_weights",
    "has_tokenizer",
    "inspect_model",
    "model_files",
    "model_kind",
    "read_header",
    "read_json",
    "tensor_shapes",
    "weight_files",
]
