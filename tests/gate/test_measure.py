"""gate.measure: what is scored, what the store answers, and what running out of memory does; no model."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from checks import DocumentValues, PreparedTask
from gate.errors import MeasurementError, NotLikeForLike, OutOfMemory
from gate.measure import Measured, measure, measure_together
from gate.progress import SilentProgress
from gate.records import (
    Document,
    Leaf,
    Measurement,
    Measurements,
    ModelRef,
    Policy,
    Request,
    Response,
    Rule,
    TaskInfo,
    TaskSpec,
)
from gate.scoring import FellBack, Way
from gate.scoring import settings as scoring_settings
from gate.scoring.settings import Settings
from gate.shell import Shell
from gate.store import Store
from gate.verdict import mean_measurements, order_digest
from gate.verdict.findings import arrange
from gate.verdict.playing import settle
from gate.verdict.subjects import find_subjects

BATCH = 8
DOCUMENTS = 100  # four blocks: 32, 32, 32 and 4
BLOCKS = 4
BASE = ModelRef("base", "base", "sha256:" + "b" * 64)
TUNED = ModelRef("tuned", "tuned", "sha256:" + "d" * 64)
ADAPTER = replace(TUNED, kind="adapter")
HF = Way("hf", BATCH)
SETTINGS = Settings("float32", "cpu", "cpu x86_64", "none", 1024)


@dataclass(frozen=True)
class FakeLeaf:
    """A task whose metric is the log-likelihood itself, so that a measurement shows which answer it holds."""

    name: str
    digest: str
    documents: tuple[Document, ...]
    aggregation: str = "mean"
    weights: None = None
    replicates: int = 0

    def evaluate(self, position: int, responses: Sequence[Response]) -> DocumentValues:
        return DocumentValues({"score,none": responses[0].logprob or 0.0})


@dataclass(frozen=True)
class FakeTask:
    """An opened task of one leaf."""

    info: TaskInfo
    leaf: FakeLeaf

    def build(self, chat: object) -> PreparedTask:
        return PreparedTask(self.info, (self.leaf,))


def make_task(name: str = "task", digest: str = "leaf", text: str = "document") -> FakeTask:
    """`DOCUMENTS` documents with two requests each."""
    documents = tuple(
        Document(
            at, f"hash {at}", tuple(Request("loglikelihood", f"{text} {at}", end) for end in (" a", " b"))
        )
        for at in range(DOCUMENTS)
    )
    leaves = (Leaf(name, DOCUMENTS, DOCUMENTS),)
    info = TaskInfo(f"general/{name}", "fake", "score", "none", "nats", True, leaves)
    return FakeTask(info, FakeLeaf(name, digest, documents))


@dataclass
class FakeSession:
    """Two models that answer from a text's checksum and the batch size; `asked` is what they were asked.

    A log-likelihood is minus the batch size, minus a fraction that model and text decide.
    """

    base: ModelRef = BASE
    tuned: ModelRef = TUNED
    settings: Settings = SETTINGS
    changed: Mapping[str, str] = field(default_factory=dict)
    fits: Callable[[str, int, list[str]], bool] = lambda side, size, texts: True
    way: Way = HF
    asked: list[tuple[str, int, frozenset[str]]] = field(default_factory=list)
    note: str = ""
    processes: int = 1
    inexact: Mapping[str, str] = field(default_factory=dict)  # side -> why the tree is not exact for it
    calls: list[int] = field(default_factory=list)  # blocks of each call

    def chat_template_for(self, choice: str) -> None:
        return None

    def check_like_for_like(self, requests: Iterator[Request]) -> None:
        assert all(request.context for request in requests)

    def fall_back(self, error: FellBack) -> None:
        self.way, self.note = HF, error.message

    def scorer(self, side: str, way: Way | None = None) -> FakeScorer:
        return FakeScorer(self, side, way or self.way)


@dataclass(frozen=True)
class FakeScorer:
    """One of the two, with the identity that the real one has."""

    session: FakeSession
    side: str
    way: Way

    @property
    def identity(self) -> Mapping[str, str]:
        session = self.session
        model = session.base if self.side == "base" else session.tuned
        under = session.base if model.kind == "adapter" else None
        real = scoring_settings.identity(model, under, session.settings, self.way)
        return {**real, **session.changed}

    @property
    def generation(self) -> Mapping[str, str]:
        return {}

    @property
    def size(self) -> int:
        return self.way.pack or self.way.batch

    def score(self, requests: Sequence[Request]) -> list[Response]:
        session, texts = self.session, [request.context + request.continuation for request in requests]
        if not session.fits(self.side, self.size, texts):
            raise OutOfMemory("it does not fit")
        session.asked.append((self.side, self.size, frozenset(r.context for r in requests)))
        return [Response(-self.size - checksum(self.side + text), False) for text in texts]

    def score_groups(self, groups: Sequence[Sequence[Request]]) -> list[list[Response]]:
        if self.way.scorer == "tree" and self.side in self.session.inexact:
            raise FellBack("tree", self.side, self.session.inexact[self.side])
        self.session.calls.append(len(groups))
        return [self.score(group) for group in groups]


def checksum(text: str) -> float:
    """Of a text, from 0 to 0.9."""
    return zlib.crc32(text.encode()) % 1000 / 1111


def run(session: Any, store: Store, *tasks: FakeTask, said: list[str] | None = None) -> Measured:
    """`measure` with a shell that keeps its warnings in `said`."""
    shell = Shell({}, print, (said if said is not None else []).append, SilentProgress(), clock=lambda: 0.0)
    return measure(tasks or (make_task(),), session, store, shell)


def only(measured: Measured) -> Measurement:
    (found,) = measured.measurements.measurements
    return found


def batches(values: Sequence[float]) -> list[int]:
    """The batch size that each log-likelihood came from."""
    return [int(-value) for value in values]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_documents_are_paired_by_number(store: Store) -> None:
    """Whatever the blocks, each document's two numbers are its own two answers, in the task's order."""
    found = only(run(FakeSession(), store))
    assert found.numbers == tuple(range(DOCUMENTS))
    assert found.base == tuple(-BATCH - checksum(f"basedocument {at} a") for at in range(DOCUMENTS))
    assert found.tuned == tuple(-BATCH - checksum(f"tuneddocument {at} a") for at in range(DOCUMENTS))


def test_the_base_is_scored_first(store: Store) -> None:
    """All of the base's blocks, then all of the tuned model's: one model in memory at a time."""
    session = FakeSession()
    measured = run(session, store)
    assert [side for side, _, _ in session.asked] == ["base"] * BLOCKS + ["tuned"] * BLOCKS
    assert (measured.blocks_scored, measured.blocks_from_store) == (2 * BLOCKS, 0)


def test_a_second_measure_scores_nothing(store: Store) -> None:
    """Every block comes from the store, and the measurements are equal."""
    first = run(FakeSession(), store)
    session = FakeSession()
    second = run(session, store)
    assert session.asked == []
    assert second.measurements == first.measurements
    assert (second.blocks_scored, second.blocks_from_store) == (0, 2 * BLOCKS)


def test_a_stored_base_serves_another_tuned_model(store: Store) -> None:
    """Only the new model's blocks are scored."""
    run(FakeSession(), store)
    session = FakeSession(tuned=replace(TUNED, digest="sha256:" + "e" * 64))
    run(session, store)
    assert {side for side, _, _ in session.asked} == {"tuned"}


# ── The store's key ──────────────────────────────────────────────────────────────────────────────

OTHER = "sha256:" + "0" * 64
VERSIONS = ("torch", "transformers", "tokenizers", "accelerate", "lm_eval", "peft", "bitsandbytes")
CONSTANTS = ("scorer", "scorer_version", "softmax_dtype")
QUANTISED = replace(SETTINGS, quantization="nf4")
# What changes -> the session and task of the second run, and how many of its blocks may be stored ones.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, str], int]] = {
    "model": ({"tuned": replace(ADAPTER, digest=OTHER)}, {}, BLOCKS),  # the base's stay good
    "base": ({"base": replace(BASE, digest=OTHER)}, {}, 0),  # an adapter's answers are about its base too
    "dtype": ({"settings": replace(QUANTISED, dtype="bfloat16")}, {}, 0),
    "device": ({"settings": replace(QUANTISED, device_name="cuda H100")}, {}, 0),
    "quantization": ({"settings": replace(QUANTISED, quantization="int8")}, {}, 0),
    "max_length": ({"settings": replace(QUANTISED, max_length=2048)}, {}, 0),
    "batch_size": ({"changed": {"batch_size": "16"}}, {}, 0),
    **{name: ({"changed": {name: "another"}}, {}, 0) for name in (*VERSIONS, *CONSTANTS)},
    "task digest": ({}, {"digest": "another"}, 0),
    "requests": ({}, {"text": "another document"}, 0),
}


@pytest.mark.parametrize("part", CHANGES)
def test_each_part_of_the_key_counts(part: str, store: Store) -> None:
    """After a change of this part alone, no stored answer is given to what it changed."""
    unchanged: dict[str, Any] = {"tuned": ADAPTER, "settings": QUANTISED}
    run(FakeSession(**unchanged), store)
    session, task, stored = CHANGES[part]
    changed = FakeSession(**{**unchanged, **session})
    measured = run(changed, store, make_task(**task))
    assert measured.blocks_from_store == stored
    assert len(changed.asked) == 2 * BLOCKS - stored


def test_no_part_of_the_identity_is_left_out() -> None:
    """The table above changes every part that a quantised adapter's identity has."""
    identity = FakeSession(tuned=ADAPTER, settings=QUANTISED).scorer("tuned").identity
    assert set(CHANGES) - {"task digest", "requests"} == set(identity)


# ── Blocks ───────────────────────────────────────────────────────────────────────────────────────


def asked_together(session: FakeSession) -> set[frozenset[str]]:
    """The documents of each block that was scored."""
    return {texts for _, _, texts in session.asked}


def test_blocks_depend_on_the_salt_alone(tmp_path: Path) -> None:
    """Another model, batch size, store and company of tasks: the same blocks. Another salt: others."""
    here, salted, other = (Store(tmp_path / name) for name in ("here", "salted", "other"))
    here.salt  # noqa: B018 - made at first use
    (tmp_path / "salted" / "v1").mkdir(parents=True)
    shutil.copy(tmp_path / "here" / "v1" / "salt", tmp_path / "salted" / "v1" / "salt")
    one, two, three = (
        FakeSession(),
        FakeSession(base=replace(BASE, digest=OTHER), way=Way("hf", 1)),
        FakeSession(),
    )
    run(one, here)
    run(two, salted, make_task("before", text="not this"), make_task())
    run(three, other)
    mine = {texts for texts in asked_together(two) if not any(text.startswith("not") for text in texts)}
    assert asked_together(one) == mine
    assert asked_together(one) != asked_together(three)


@pytest.mark.parametrize("damage", ["removed", "changed", "another's"])
def test_a_lost_block_is_scored_again(damage: str, tmp_path: Path) -> None:
    """A block's file is gone, altered, or another block's: it alone is scored, to the same numbers."""
    said: list[str] = []
    store = Store(tmp_path, warn=said.append)
    first = run(FakeSession(), store)
    file, neighbour = sorted((tmp_path / "v1" / "blocks").rglob("*.parquet"))[:2]
    if damage == "removed":
        file.unlink()
    elif damage == "changed":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        shutil.copy(neighbour, file)
    session = FakeSession()
    second = run(session, store)
    assert second.measurements == first.measurements
    assert (len(session.asked), second.blocks_scored) == (1, 1)
    assert bool(said) == (damage != "removed")


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────


def too_long(side: str, limit: int, *, number: int = 50) -> Callable[[str, int, list[str]], bool]:
    """Document `number` fits into one model's memory in batches of `limit` at most."""
    return lambda who, size, texts: (
        who != side or size <= limit or all(not text.startswith(f"document {number} ") for text in texts)
    )


@pytest.mark.parametrize("side", ["base", "tuned"])
@pytest.mark.parametrize("limit", [4, 1])
def test_out_of_memory_halves_the_batch_for_both(side: str, limit: int, store: Store) -> None:
    """Each document is measured with the same batch size by both models, whichever of them ran out."""
    session, said = FakeSession(fits=too_long(side, limit)), []
    found = only(run(session, store, said=said))
    assert batches(found.base) == batches(found.tuned)
    assert batches(found.base)[50] == limit
    assert max(batches(found.base)) == BATCH or side == "base"
    assert said
    assert all("out of memory in task" in text and "both models" in text for text in said)


def test_when_the_tuned_model_runs_out_the_base_does_the_block_again(store: Store) -> None:
    """That block alone, once, in the batch that fitted; the other blocks keep their answers."""
    session = FakeSession(fits=too_long("tuned", 2))
    measured = run(session, store)
    again = [(size, texts) for side, size, texts in session.asked if side == "base"][BLOCKS:]
    assert [size for size, _ in again] == [2]
    assert "document 50" in again[0][1]
    small = [at for at, size in enumerate(batches(only(measured).base)) if size == 2]
    assert {f"document {at}" for at in small} == again[0][1]
    assert measured.blocks_scored == 2 * BLOCKS


def test_when_the_base_runs_out_on_the_block_done_again(store: Store) -> None:
    """The tuned model needs 4, and then the base 2: the tuned model follows, so that both have 2."""

    def fits(side: str, size: int, texts: list[str]) -> bool:
        ours = any(text.startswith("document 50 ") for text in texts)
        return not ours or size <= (4 if side == "tuned" else 2) or (side == "base" and size == BATCH)

    found = only(run(FakeSession(fits=fits), store))
    assert batches(found.base) == batches(found.tuned)
    assert batches(found.base)[50] == 2


def test_a_single_request_that_does_not_fit_is_an_error(store: Store) -> None:
    """Down to batches of 1, and then the run ends; there is no measurement with documents left out."""
    session, said = FakeSession(fits=too_long("tuned", 0)), []
    with pytest.raises(OutOfMemory, match="does not fit"):
        run(session, store, said=said)
    assert [text.split("batches of ")[1].split(" ")[0] for text in said] == ["4", "2", "1"]


# ── The tree scorer ──────────────────────────────────────────────────────────────────────────────

TREE = Way("tree", BATCH, 4096)


def test_several_blocks_are_asked_about_at_once(store: Store) -> None:
    """More and more of them while calls are quick; each is answered as it is alone, and stored."""
    tasks = (make_task("one"), make_task("two", text="other"))
    session = FakeSession(way=TREE)
    measured = run(session, store, *tasks)
    assert session.calls == [1, 2, 4, 1, 8]
    assert measured.blocks_scored == sum(session.calls)
    assert len(session.asked) == len({(side, texts) for side, _, texts in session.asked}) == 4 * BLOCKS
    again = FakeSession(way=TREE)
    assert run(again, store, *tasks).measurements == measured.measurements
    assert again.asked == []


def test_packs_shrink_for_both_models(store: Store) -> None:
    """The tuned model needs 1,024 tokens: so its blocks have, and the base's answers to them."""
    session, said = FakeSession(way=TREE, fits=too_long("tuned", 1024, number=50)), []
    found = only(run(session, store, said=said))
    assert batches(found.base) == batches(found.tuned)
    assert batches(found.base)[50] == 1024
    assert said[0] == "out of memory in task: packs of 2,048 tokens for both models"
    whole = FakeSession(way=TREE, fits=too_long("base", 0))
    with pytest.raises(OutOfMemory):
        run(whole, Store(store.root.parent / "other"))


@pytest.mark.parametrize("side", ["base", "tuned"])
def test_where_the_tree_is_not_exact_both_are_scored_otherwise(side: str, store: Store) -> None:
    """Whichever model its self-test speaks against: no pair has two scorers, and it is said once."""
    session, said = FakeSession(way=TREE, inexact={side: "ALiBi"}), []
    found = only(run(session, store, said=said))
    assert {*batches(found.base), *batches(found.tuned)} == {BATCH}
    assert said == [f"not by the fastest scorer: the tree scorer is not exact for {side}: ALiBi"]


def test_answers_of_two_scorers_are_never_taken_for_each_other(store: Store) -> None:
    """What the tree scored is not found again as lm-eval's, nor in another size of packs."""
    run(FakeSession(way=TREE), store)
    for way in (HF, TREE.smaller()):
        assert way is not None
        assert run(FakeSession(way=way), store).blocks_from_store == 0
    assert run(FakeSession(way=replace(TREE, batch=3)), store).blocks_scored == 0  # not the batch's affair


# ── What must not be measured ────────────────────────────────────────────────────────────────────


class Unchanged(FakeSession):
    """A session whose tuned model gives the base's answers."""

    def scorer(self, side: str, way: Way | None = None) -> FakeScorer:
        kind = FakeScorer if side == "base" else _AsBase
        return kind(self, side, way or self.way)


class _AsBase(FakeScorer):
    def score(self, requests: Sequence[Request]) -> list[Response]:
        return FakeScorer(self.session, "base", self.way).score(requests)


def test_a_tuned_model_that_answers_as_the_base_is_refused(store: Store) -> None:
    """Equal to the last bit on every document: the tuned weights were not in use."""
    with pytest.raises(MeasurementError, match="equal the base's exactly"):
        run(Unchanged(), store)


class _SaysTheSame(_AsBase):
    """Generates one text for every prompt; log-likelihoods are the base's, or the tuned model's own."""

    def score(self, requests: Sequence[Request]) -> list[Response]:
        if requests[0].kind == "generate_until":
            return [Response(text="the same") for _ in requests]
        return super().score(requests) if self.session.changed else FakeScorer.score(self, requests)


class Generating(Unchanged):
    """A session whose models generate alike."""

    def scorer(self, side: str, way: Way | None = None) -> FakeScorer:
        return _SaysTheSame(self, side, way or self.way)


def make_generation_task() -> FakeTask:
    """`make_task` with one text to generate for each document."""
    task = make_task()
    documents = tuple(
        replace(document, requests=(Request("generate_until", document.requests[0].context),))
        for document in task.leaf.documents
    )
    return replace(task, leaf=replace(task.leaf, documents=documents))


def test_equal_texts_of_weights_not_in_use_are_refused(store: Store) -> None:
    """All texts are equal, and so is the log-likelihood that is then asked for."""
    with pytest.raises(MeasurementError, match=r"not used|not applied"):
        run(Generating(changed={"dtype": "float64"}), store, make_generation_task())


def test_equal_texts_of_another_model_are_a_measurement(store: Store) -> None:
    """All texts are equal, yet a log-likelihood tells the models apart."""
    measured = run(Generating(), store, make_generation_task())
    assert len(only(measured).numbers) == DOCUMENTS


class _ReadsOtherwise(FakeSession):
    def check_like_for_like(self, requests: Iterator[Request]) -> None:
        raise NotLikeForLike(f"{next(iter(requests)).context!r} is read as other tokens")


def test_nothing_is_scored_when_the_models_read_otherwise(store: Store) -> None:
    """Prompts are compared before the first request is answered."""
    session = _ReadsOtherwise()
    with pytest.raises(NotLikeForLike, match="document 0"):
        run(session, store)
    assert session.asked == []


# ── Drawn until settled ──────────────────────────────────────────────────────────────────────────

MANY = 1500
SCORE = Policy(
    (Rule("general", "task", "max_drop", 0.08),), (TaskSpec("general", "task"),), decide="score", path="p"
)


@dataclass(frozen=True)
class RightOrWrong(FakeLeaf):
    """Nine documents in ten are right, for each model other ones."""

    def evaluate(self, position: int, responses: Sequence[Response]) -> DocumentValues:
        return DocumentValues({"score,none": float(-(responses[0].logprob or 0.0) % 1 > 0.09)})

    def answer(self, position: int, responses: Sequence[Response]) -> str:
        return str(responses[0].logprob)


def many() -> FakeTask:
    """One task that is large enough to be settled early."""
    documents = tuple(
        Document(at, f"hash {at}", (Request("loglikelihood", f"document {at}", " a"),)) for at in range(MANY)
    )
    leaves = (Leaf("task", MANY, MANY),)
    info = TaskInfo("general/task", "fake", "score", "none", "accuracy", True, leaves)
    return FakeTask(info, RightOrWrong("task", "leaf", documents))


def salted(root: Path, salt: bytes = b"s" * 32) -> Store:
    """A store with a known salt: what is drawn, and how much, is the same in every run of the tests."""
    (root / "v1").mkdir(parents=True)
    (root / "v1" / "salt").write_bytes(salt + hashlib.sha256(salt).digest())
    return Store(root)


@pytest.fixture
def drawn(tmp_path: Path) -> Store:
    return salted(tmp_path / "drawn")


def draw(session: Any, store: Store, policy: Policy = SCORE, inputs: str = "inputs") -> Measured:
    shell = Shell({}, print, print, SilentProgress(), clock=lambda: 0.0)
    return measure((many(),), session, store, shell, policy, inputs)


def test_documents_are_drawn_until_a_rule_is_settled(drawn: Store) -> None:
    """Fewer than all, the same for both models, each with its round; and what `full` says of them."""
    measured = draw(FakeSession(), drawn)
    found = only(measured)
    assert 32 <= len(found.numbers) < MANY
    assert found.rounds is not None
    assert sorted(set(found.rounds)) == list(range(max(found.rounds) + 1))
    assert measured.order_digest.startswith("sha256:")
    whole = only(draw(FakeSession(), drawn, replace(SCORE, decide="full")))
    assert whole.rounds is None
    assert [whole.base[number] for number in found.numbers] == list(found.base)
    assert [whole.tuned[number] for number in found.numbers] == list(found.tuned)


def test_the_same_inputs_repeat_order_and_answer(tmp_path: Path) -> None:
    """Nothing is scored twice; other inputs draw in another order, from the same blocks."""
    drawn = salted(tmp_path / "drawn")
    first, session = draw(FakeSession(), drawn), FakeSession()
    again = draw(session, drawn)
    assert (session.asked, again.measurements) == ([], first.measurements)
    assert again.order_digest == first.order_digest
    other = draw(FakeSession(), drawn, inputs="others")
    assert other.order_digest != first.order_digest
    assert other.blocks_from_store > 0  # the base was asked ahead, and answers for any order
    another_salt = draw(FakeSession(), salted(tmp_path / "elsewhere", b"t" * 32))
    assert another_salt.order_digest != first.order_digest


@pytest.mark.parametrize("after", [1, 5, 12])
def test_an_interrupted_run_goes_on_in_its_order(after: int, drawn: Store, tmp_path: Path) -> None:
    """Stopped after some blocks and started again: the same measurements as without, each block once."""
    expected = draw(FakeSession(), salted(tmp_path / "other"))
    stopped = FakeSession()

    def fits(side: str, size: int, texts: list[str]) -> bool:
        if len(stopped.asked) == after:
            raise KeyboardInterrupt
        return True

    stopped.fits = fits
    with pytest.raises(KeyboardInterrupt):
        draw(stopped, drawn)
    session = FakeSession()
    measured = draw(session, drawn)
    assert measured.measurements == expected.measurements
    assert measured.order_digest == expected.order_digest
    asked = [(side, texts) for side, _, texts in (*stopped.asked, *session.asked)]
    assert len(asked) == len(set(asked))


def test_models_are_swapped_some_few_times(drawn: Store) -> None:
    """One is in memory at a time: the base is asked ahead, so that not every round loads both."""
    session = FakeSession()
    found = only(draw(session, drawn))
    sides = [side for side, _, _ in session.asked]
    swaps = sum(one != other for one, other in itertools.pairwise(sides))
    assert found.rounds is not None
    assert swaps <= 2 * math.ceil(math.log2(max(found.rounds) + 2)) + 1
    tuned = sum(side == "tuned" for side in sides)
    assert len(sides) - tuned <= 2 * tuned  # at most as many again


def test_out_of_memory_keeps_pairs_alike_while_drawing(drawn: Store) -> None:
    """Each block's last answers come from one batch size, also where the base was asked ahead."""
    session = FakeSession(
        fits=lambda side, size, texts: side == "base" or size <= 2 or len(session.asked) < 9
    )
    draw(session, drawn)
    last = {(side, texts): size for side, size, texts in session.asked}
    tuned = [texts for side, texts in last if side == "tuned"]
    assert all(last["base", texts] == last["tuned", texts] for texts in tuned)
    assert {last["tuned", texts] for texts in tuned} == {BATCH, 2}


def test_a_value_that_is_not_there_is_an_error(drawn: Store) -> None:
    """A number that is missing settles nothing."""
    task = many()
    info = replace(task.info, metric="another")
    shell = Shell({}, print, print, SilentProgress(), clock=lambda: 0.0)
    odd = replace(task, info=info)
    with pytest.raises(MeasurementError, match="has no finite another,none"):
        measure((odd,), FakeSession(), drawn, shell, SCORE, "")


# ── Several trainings of a recipe ────────────────────────────────────────────────────────────────


@dataclass
class Training(FakeSession):
    """One training of a recipe; `present` has those whose models are in memory."""

    seed: int = 42
    present: list[int] = field(default_factory=list)

    def __enter__(self) -> Training:
        assert self.present == []
        self.present.append(self.seed)
        return self

    def __exit__(self, *_: object) -> None:
        self.present.remove(self.seed)

    def scorer(self, side: str, way: Way | None = None) -> FakeScorer:
        assert self.present == [self.seed]
        named = side if side == "base" else f"tuned {self.seed}"
        return FakeScorer(self, named, way or self.way)


def recipe(**changes: Any) -> list[Training]:
    present: list[int] = []
    models = [(42, "sha256:" + "d" * 64), (43, "sha256:" + "e" * 64)]
    return [
        Training(tuned=replace(TUNED, digest=digest), seed=seed, present=present, **changes)
        for seed, digest in models
    ]


def draw_together(sessions: Sequence[Any], store: Store, policy: Policy = SCORE) -> list[Measured]:
    shell = Shell({}, print, print, SilentProgress(), clock=lambda: 0.0)
    return measure_together((many(),), sessions, store, shell, policy, "inputs")


def test_trainings_answer_the_same_documents_in_the_same_rounds(tmp_path: Path) -> None:
    """One in memory at a time, the base scored once for all, in the order that one training would have. The
    first goes on alone until it is settled as one of two; `judge` comes to the same from what was stored."""
    sessions = recipe()
    store = salted(tmp_path / "drawn")
    asked = replace(SCORE, seeds=2, rules=(replace(SCORE.rules[0], margin=0.07),))
    one, two = (found.measurements for found in draw_together(sessions, store, asked))
    first, second = one.measurements[0], two.measurements[0]
    last = max(second.rounds or ())
    drawn = [number for number, at in zip(first.numbers, first.rounds or (), strict=True) if at <= last]
    assert drawn == list(second.numbers)
    assert len(drawn) < len(first.numbers) < MANY
    bases = [texts for session in sessions for side, _, texts in session.asked if side == "base"]
    assert len(bases) == len(set(bases))
    assert sessions[0].present == []  # and no model is left behind
    alone = only(draw(FakeSession(), salted(tmp_path / "alone")))
    start = [number for number, at in zip(alone.numbers, alone.rounds or (), strict=True) if at == 0]
    assert start == [
        number for number, at in zip(second.numbers, second.rounds or (), strict=True) if at == 0
    ]
    mean = mean_measurements([one, two], "sft.yaml")
    assert order_digest(mean) == order_digest(two)
    assert settled_after(mean, asked, 1) == last
    assert settled_after(one, asked, 1) < settled_after(one, asked, 2) == max(first.rounds or ())


def first_round(found: Measurement) -> list[int]:
    return [number for number, at in zip(found.numbers, found.rounds or (), strict=True) if at == 0]


def settled_after(found: Measurements, policy: Policy, trainings: int) -> int:
    """The round that settled the only rule, played again."""
    subjects = find_subjects(policy, arrange(found))
    (settlement,) = settle(subjects, policy, trainings).values()
    assert settlement.certain
    return settlement.claim.round


def test_a_round_begins_with_the_model_that_is_in_memory(drawn: Store) -> None:
    """Two models change places once a round, and not twice; the first comes back to go on alone."""
    sessions, places = recipe(), list[int]()

    def noted(seed: int) -> Callable[[str, int, list[str]], bool]:
        def fits(side: str, size: int, texts: list[str]) -> bool:
            if side != "base":
                places.append(seed)
            return True

        return fits

    for session in sessions:
        session.fits = noted(session.seed)
    found = only(draw_together(sessions, drawn, replace(SCORE, seeds=2))[1])
    changes, rounds = (
        sum(one != other for one, other in itertools.pairwise(places)),
        max(found.rounds or ()) + 1,
    )
    assert changes == rounds + rounds % 2
    assert rounds > 2


def test_where_one_training_falls_back_all_do(drawn: Store) -> None:
    """Their values go into one mean, so one scorer gives them."""
    sessions = recipe(way=Way("tree", BATCH, pack=64))
    sessions[1].inexact = {"tuned 43": "its mask is another"}
    measured = draw_together(sessions, drawn, replace(SCORE, decide="full", seeds=2))
    assert [session.way for session in sessions] == [HF, HF]
    assert only(measured[0]).base == only(measured[1]).base


class _TrainingReadsOtherwise(_ReadsOtherwise, Training):
    pass


def test_every_training_must_read_the_texts_alike(drawn: Store) -> None:
    """Prompts of all of them are compared before the first request is answered."""
    first, second = recipe()
    odd = _TrainingReadsOtherwise(tuned=second.tuned, seed=43, present=first.present)
    with pytest.raises(NotLikeForLike):
        draw_together([first, odd], drawn, replace(SCORE, seeds=2))
    assert first.asked == []
