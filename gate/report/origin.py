"""Where a result comes from: models, cost, provenance, and what its reader is warned of."""

from __future__ import annotations

from collections.abc import Iterable

from gate.records import Cost, ModelRef
from gate.report.quantities import duration, many, millions, said_rate, size_of
from gate.verdict import Failure, Verdict

REDRAWN = (
    "the order's salt was made in this run: run again without its store, it would be another order "
    "(FTGATE_SALT keeps one)"
)


def warnings_of(result: Verdict | Failure) -> tuple[str, ...]:
    """Those of the run; and where documents were drawn by a salt of its own, that it may be drawn again."""
    source = result.provenance
    if source is None:
        return ()
    drawn = source.salt_made and any(finding.early for finding in result.findings)
    return (*((REDRAWN,) if drawn else ()), *source.warnings)


def models_of(result: Verdict | Failure) -> Iterable[tuple[str, ModelRef]]:
    """The models of a result by their part in it."""
    named = {"base": result.base, "tuned": result.tuned}
    named["champion"] = result.champion if isinstance(result, Verdict) else None
    yield from ((word, ref) for word, ref in named.items() if ref)


def stored_of(cost: Cost) -> str:
    """What the store saved; said of a result for which nothing was measured anew, too."""
    blocks = cost.blocks_scored + cost.blocks_from_store
    parts = []
    if cost.training_from_store:
        parts.append("the training")
    if cost.blocks_from_store:
        parts.append(f"{cost.blocks_from_store:,} of {many(blocks, 'block')}")
    said = f"{' and '.join(parts)} came from the store" if parts else "nothing came from the store"
    return said if cost.blocks_scored or not blocks else f"{said}: stored answers, repeated"


def costs_of(cost: Cost) -> Iterable[tuple[str, str]]:
    """What a run took, a line each."""
    yield "whole run", f"{duration(cost.total_seconds)} on {many(cost.devices, 'device')}"
    trained = f"{duration(cost.training_seconds)}{' (from the store)' if cost.training_from_store else ''}"
    if cost.training_seconds:
        yield "training", trained
    if cost.training_steps is not None:
        speed = f", {cost.tokens_per_second:,.0f} tokens a second" if cost.tokens_per_second else ""
        yield "optimizer steps", f"{cost.training_steps:,}{speed}"
    if cost.measuring_seconds:
        yield "measuring", duration(cost.measuring_seconds)
    yield "blocks", f"{cost.blocks_scored:,} scored, {cost.blocks_from_store:,} from the store"
    if cost.peak_resident_bytes:
        yield "peak memory", size_of(cost.peak_resident_bytes)
    if cost.peak_gpu_bytes is not None:
        yield "peak GPU memory", size_of(cost.peak_gpu_bytes)
    if cost.trainable_parameters is not None:
        of = f" of {millions(cost.total_parameters)}" if cost.total_parameters else ""
        yield "trainable parameters", millions(cost.trainable_parameters) + of


def facts_of(result: Verdict | Failure) -> Iterable[tuple[str, str]]:
    """Where, when and with what a result was made, a line each."""
    config, source = result.config, result.provenance
    if config:
        yield "training config", config.path
        yield "config digest", config.digest
        yield "method", f"{config.method}, run by {config.trainer}"
    if source is None:
        return
    yield "policy", source.policy_path
    yield "policy digest", source.policy_digest
    yield "measured in", f"{source.dtype}, quantization {source.quantization}, batch size {source.batch_size}"
    yield "scorer", source.scorer + (f"; {source.scorer_reason}" if source.scorer_reason else "")
    yield "device", source.device
    yield "platform", source.platform
    yield "created", source.created
    yield "salt digest", source.salt_digest
    yield "order digest", source.order_digest
    unexpected = sorted(source.flip_rates, key=lambda rate: -abs(rate.seen - rate.expected))
    yield "answers that changed", "; ".join(map(said_rate, unexpected))
    yield "ftgate", source.ftgate
    yield "versions", ", ".join(f"{name} {version}" for name, version in source.versions.items())
