"""Which documents of well-known tasks belong together: the default of `cluster_by` under `decide: proven`.

Only tasks of which several documents share a text, by a field that lm-eval's own task file or its Python
names; a test holds the table against them as installed. RACE and CoQA are not here: lm-eval asks one
question of each article or story. `cluster_by` in the policy takes the table's place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gate.records import Decide, TaskSpec

CLUSTERS = {
    "anli_r1": "premise",
    "anli_r2": "premise",
    "anli_r3": "premise",
    "boolq": "passage",
    "boolq-seq2seq": "passage",
    "drop": "passage",
    "logiqa": "context",
    "mc_taco": "sentence",
    "multirc": "paragraph",
    "qa4mre_2011": "document_str",
    "qa4mre_2012": "document_str",
    "qa4mre_2013": "document_str",
    "qasper_bool": "abstract",
    "record": "passage",
}
FAMILIES = {
    "belebele_": "flores_passage",
    "mlqa_": "context",
    "xquad_": "context",
}  # by their names' beginning


def cluster_field(task: str) -> str | None:
    """The field that says which documents of a well-known task belong together; None for others."""
    family = next((field for start, field in FAMILIES.items() if task.startswith(start)), None)
    return CLUSTERS.get(task, family)


def with_clusters(specs: Iterable[TaskSpec], decide: Decide) -> tuple[TaskSpec, ...]:
    """The specs, with the table's field where `proven` needs one and the policy names none."""
    if decide != "proven":
        return tuple(specs)
    return tuple(
        replace(spec, cluster_by=cluster_field(spec.task))
        if spec.kind == "general" and spec.cluster_by is None and spec.path is None
        else spec
        for spec in specs
    )
