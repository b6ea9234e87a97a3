"""The store's places: what a pull request's run wrote is read by that pull request's runs alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gate.errors import StoreError
from gate.models import digest_model
from gate.records import BlockResult, ModelRef, Response, TrainingCost, TunedModel
from gate.store import Store
from gate.withheld import Salt

KEY, OTHER = "ab" * 32, "cd" * 32
HEAD = "e" * 40
TRUE, FORGED = 0.9, 0.1

Places = Callable[..., Store]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def place(tmp_path: Path, said: list[str]) -> Places:
    """A store at the same root, opened for a merged ref or for a pull request."""
    return lambda **whose: Store(tmp_path / "store", warn=said.append, **whose)


def block(value: float) -> BlockResult:
    return BlockResult((0,), ("0" * 64,), ((Response(value, True),),), {"acc,none": (value,)})


def value_of(found: BlockResult | None) -> float | None:
    return None if found is None else found.values["acc,none"][0]


def trained(folder: Path, weights: bytes) -> TunedModel:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(weights)
    return TunedModel(ModelRef("out", str(folder), digest_model(folder)), TrainingCost(1.0, 2, 3))


def put_training(store: Store, folder: Path, weights: bytes, key: str = KEY) -> TunedModel:
    tuned = trained(folder, weights)
    kept = replace(tuned, model=store.put_model(tuned.model))
    store.put_training(key, kept)
    return kept


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ── Where things lie ─────────────────────────────────────────────────────────────────────────────


def test_places_of_a_store(place: Places, tmp_path: Path) -> None:
    """A merged ref's results lie where they always lay; a pull request's and a judge's in their folders."""
    root = tmp_path / "store" / "v1"
    assert place().root == root
    assert place(pull=7).root == root / "pulls" / "7"
    assert place(pull=7, judged=True).root == root / "judged" / "7"
    assert place(pull=HEAD, judged=True).root == root / "judged" / HEAD


@pytest.mark.parametrize("pull", [-1, "..", "7/../8", "07", "7\n", "A" * 40, "e" * 39, "1" * 11, True])
def test_nothing_but_a_number_or_a_commit_is_a_place(place: Places, pull: object) -> None:
    """A pull request cannot name its place into another's."""
    with pytest.raises(ValueError, match="neither a pull request's number nor a commit"):
        place(pull=pull)


def test_the_salt_is_the_roots_for_all(place: Places, said: list[str]) -> None:
    """Blocks are put together alike for every ref, also after the salt was damaged."""
    first = place(pull=7).salt
    assert place().salt == place(pull=8).salt == place(pull=7, judged=True).salt == first
    assert list(place(pull=7).root.rglob("salt")) == []
    (place().root / "salt").write_bytes(b"x" * 64)
    assert place(pull=8).salt == place().salt != first
    assert len(said) == 1


def test_a_pull_requests_run_writes_into_its_place_alone(place: Places, tmp_path: Path) -> None:
    """Block, training, model and mark: apart from the salt, nothing at the root or elsewhere changes."""
    put_training(place(), tmp_path / "main", b"main")
    place().put_block(KEY, block(TRUE))
    assert place().salt
    store = place(pull=7)
    before = files(tmp_path / "store")
    store.require_writable()
    store.put_block(KEY, block(FORGED))
    put_training(store, tmp_path / "pull", b"pull")
    after = files(tmp_path / "store")
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path: content for path, content in after.items() if not path.is_relative_to(store.root)} == before


# ── Planted poison ───────────────────────────────────────────────────────────────────────────────


def test_a_forged_base_block_is_not_used_where_the_root_has_one(place: Places) -> None:
    """The base's answers come from what a merged ref measured, whatever lies in the pull's own place."""
    place(pull=7).put_block(KEY, block(FORGED))
    place().put_block(KEY, block(TRUE))
    assert value_of(place(pull=7).get_block(KEY, "base")) == TRUE


@pytest.mark.parametrize("side", ["base", "tuned"])
def test_a_forged_block_is_not_used_elsewhere(place: Places, side: str) -> None:
    """Neither by another pull request, nor by a merged ref, nor by any judge: for them it is not there."""
    place(pull=7).put_block(KEY, block(FORGED))
    assert value_of(place(pull=7).get_block(KEY, side)) == FORGED
    for whose in ({}, {"pull": 8}, {"pull": 7, "judged": True}, {"pull": 8, "judged": True}, {"pull": HEAD}):
        assert place(**whose).get_block(KEY, side) is None


@pytest.mark.parametrize("side", ["base", "tuned"])
def test_what_a_judge_measured_is_found_by_that_pulls_judge_alone(place: Places, side: str) -> None:
    """A later push's judge goes on from it; a run that trains beside it does not even read it."""
    place(pull=7, judged=True).put_block(KEY, block(TRUE))
    assert value_of(place(pull=7, judged=True).get_block(KEY, side)) == TRUE
    for whose in ({}, {"pull": 7}, {"pull": 8}, {"pull": 8, "judged": True}):
        assert place(**whose).get_block(KEY, side) is None


def test_a_tuned_block_comes_from_the_pulls_own_place_first(place: Places) -> None:
    """Then from the root: a merged ref may have measured the same weights."""
    place().put_block(KEY, block(TRUE))
    assert value_of(place(pull=7).get_block(KEY, "tuned")) == TRUE
    place(pull=7).put_block(KEY, block(0.5))
    assert value_of(place(pull=7).get_block(KEY, "tuned")) == 0.5
    assert value_of(place().get_block(KEY, "tuned")) == TRUE


def test_a_forged_training_is_not_used_elsewhere(place: Places, tmp_path: Path) -> None:
    """A record that calls another model the result of a training stays with the pull that wrote it."""
    forged = put_training(place(pull=7), tmp_path / "forged", b"the base, a little noise")
    assert place(pull=7).get_training(KEY).model.digest == forged.model.digest
    for whose in ({}, {"pull": 8}, {"pull": 7, "judged": True}):
        assert place(**whose).get_training(KEY) is None
        assert not place(**whose).has_model(forged.model.digest)


def test_a_merge_queue_run_reuses_the_pulls_trained_model(place: Places, tmp_path: Path) -> None:
    """The queue's run of N opens N's place: training and tuned blocks are there, read back whole."""
    mine = put_training(place(pull=7), tmp_path / "out", b"weights")
    place(pull=7).put_block(KEY, block(TRUE))
    queue = place(pull=7)
    found = queue.get_training(KEY)
    assert found is not None
    assert (found.model, found.training) == (mine.model, replace(mine.training, from_store=True))
    assert Path(found.model.path).is_relative_to(queue.root)
    assert value_of(queue.get_block(KEY, "tuned")) == TRUE


def test_a_pull_reuses_a_merged_refs_training(place: Places, tmp_path: Path) -> None:
    """An unchanged recipe was trained on main already: its model is taken from the root, not copied."""
    mine = put_training(place(), tmp_path / "out", b"weights")
    found = place(pull=7).get_training(KEY)
    assert found is not None
    assert found.model == mine.model
    assert not (place(pull=7).root / "models").exists()


# ── Damage ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pull_does_not_move_what_is_damaged_at_the_root(
    place: Places, tmp_path: Path, said: list[str]
) -> None:
    """It says so and measures again; setting it aside is for those who may write there."""
    place().put_block(KEY, block(TRUE))
    put_training(place(), tmp_path / "out", b"weights")
    place().block_path(KEY).write_bytes(b"PAR1 nonsense")
    next((place().root / "models").rglob("*.safetensors")).write_bytes(b"altered")
    before = files(tmp_path / "store")
    assert place(pull=7).get_block(KEY, "base") is None
    assert place(pull=7).get_training(KEY) is None
    assert files(tmp_path / "store") == before
    assert len(said) == 2
    assert place().get_block(KEY, "base") is None
    assert not place().block_path(KEY).exists()


def test_a_damaged_block_of_the_roots_gives_way_to_the_pulls_own(place: Places) -> None:
    """A pull request measures on, as if a merged ref had not measured."""
    place().put_block(KEY, block(TRUE))
    place(pull=7).put_block(KEY, block(0.5))
    place().block_path(KEY).write_bytes(b"nonsense")
    assert value_of(place(pull=7).get_block(KEY, "base")) == 0.5


def test_another_keys_block_planted_under_a_key_is_not_used(place: Places, said: list[str]) -> None:
    """A good block of the pull's own, copied to another key's name, is found out and set aside."""
    store = place(pull=7)
    store.put_block(OTHER, block(TRUE))
    store.block_path(KEY).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(store.block_path(OTHER), store.block_path(KEY))
    assert store.get_block(KEY, "tuned") is None
    assert said


def test_links_planted_in_a_place_are_not_followed_by_a_clean_up(place: Places, tmp_path: Path) -> None:
    """A pull's code leaves links under temporary names; main's clean-up deletes the links, not their aims."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    planted = place(pull=7).root
    planted.mkdir(parents=True)
    (planted / ".a.tmp").symlink_to(kept)
    (planted / ".b.tmp").symlink_to(kept / "file")
    place().collect(now=lambda: 4e9)
    assert sorted(os.listdir(planted)) == []
    assert (kept / "file").read_text() == "kept"


def test_an_order_is_remembered_where_it_may_be_believed(place: Places, said: list[str]) -> None:
    """A merged ref's word goes first; a pull request's own is for its runs alone; a damaged one is none."""
    assert place(pull=7).first_order("base", "weights", "seven") == "seven"
    assert place(pull=7).first_order("base", "weights", "later") == "seven"
    assert place(pull=8).first_order("base", "weights", "eight") == "eight"
    assert place().first_order("base", "weights", "merged") == "merged"
    assert place(pull=7).first_order("base", "weights", "later") == "merged"
    assert place().first_order("base", "others", "other") == "other"
    assert place().first_order("elsewhere", "weights", "other") == "other"
    for path in place().root.glob("orders/*.json"):
        path.write_text("{}")
    assert place(pull=8).first_order("base", "weights", "later") == "eight"
    assert place().first_order("base", "weights", "new") == "new"
    assert any("damaged" in text for text in said)


def test_a_given_salt_takes_the_place_of_the_stores(place: Places) -> None:
    """In every place of it; nothing is written, and nothing was made in this run."""
    given = Salt(b"g" * 32)
    assert place(pull=7, salt=given).salt == place(salt=given).salt == b"g" * 32
    assert not (place().root / "salt").exists()
    assert not place(salt=given).found_salt.made
    assert place().salt != b"g" * 32


def test_a_store_says_whether_this_run_made_its_salt(place: Places) -> None:
    """The first to ask made it; later ones found it."""
    assert place(pull=7).found_salt.made
    assert not place(pull=7).found_salt.made


def test_no_salt_can_be_made_is_said_before_a_training(tmp_path: Path) -> None:
    """A pull request whose root can be neither read nor made hears so before hours of training."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "v1").mkdir()
    (tmp_path / "store" / "v1" / "salt").mkdir()
    with pytest.raises(StoreError, match="salt"):
        Store(tmp_path / "store", pull=7).require_writable()


@pytest.mark.parametrize("whose", [{}, {"pull": 7}, {"pull": 7, "judged": True}, {"pull": HEAD}])
def test_the_place_of_a_runs_model_is_found_again(
    whose: dict[str, object], place: Places, tmp_path: Path
) -> None:
    """`ftgate keep --release` lets the model go where it lies."""
    store = place(**whose)
    model = store.put_model(trained(tmp_path / "out", b"weights").model)
    found = Store.holding(tmp_path / "store", Path(model.path))
    assert found.root == store.root
    found.release(model.digest)
    assert found.collect() == (model.digest,)
    assert not Path(model.path).exists()


@pytest.mark.parametrize(
    "model", ["", "/", "v1", "v1/pulls", "v1/pulls/../x", "v1/pulls/a b/models/x", "/etc/x"]
)
def test_a_model_that_lies_nowhere_is_looked_for_at_the_root(model: str, tmp_path: Path) -> None:
    """What a run's folder says of its model may be anything."""
    assert Store.holding(tmp_path, tmp_path / model).root == tmp_path / "v1"
