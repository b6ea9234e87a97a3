"""The store: what was put comes back equal, what is damaged never does, and races harm nobody."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.errors import DataError, StoreError
from gate.models import digest_model
from gate.records import (
    BlockResult,
    Dataset,
    ModelRef,
    Override,
    Response,
    TrainingConfig,
    TrainingCost,
    TunedModel,
)
from gate.sealed import (
    BLANK_SEAL,
    Damaged,
    check_seal,
    disk_errors,
    from_json,
    open_record,
    seal,
    seal_record,
    to_json,
)
from gate.store import Store, dataset_digest, digest_to_name, name_to_digest, store_root, training_key

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    return Store(tmp_path / "store", warn=warnings.append)


def result(value: float = 0.5, documents: int = 3) -> BlockResult:
    return BlockResult(
        numbers=tuple(range(documents)),
        hashes=tuple(f"{number:064x}" for number in range(documents)),
        responses=tuple((Response(-1.5, True), Response(text="42")) for _ in range(documents)),
        values={"acc,none": (value,) * documents, "acc_norm,none": (1.0,) * documents},
        items={"bleu,none": ('["a", "b"]',) * documents},
        seconds=0.25,
    )


def write_model(folder: Path, weights: bytes = b"weights") -> ModelRef:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "trainer_state.json").write_text("{}")  # no part of a model
    return ModelRef("out/full", str(folder), digest_model(folder))


def everything_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# ── Where it lies ────────────────────────────────────────────────────────────────────────────────


def test_root_follows_ftgate_cache_then_xdg_then_home() -> None:
    """The store's place is the first of FTGATE_CACHE, XDG_CACHE_HOME, HOME; empty means unset."""
    environ = {"FTGATE_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}
    assert store_root(environ) == Path("/a")
    assert store_root({**environ, "FTGATE_CACHE": ""}) == Path("/b/ftgate")
    assert store_root({"XDG_CACHE_HOME": "relative", "HOME": "/c"}) == Path("/c/.cache/ftgate")
    assert store_root({"FTGATE_CACHE": "here"}).is_absolute()


@given(st.from_regex(r"(sha256:|blake3:)?[0-9a-f]{64}", fullmatch=True))
def test_digest_and_name_are_inverse(digest: str) -> None:
    """A digest survives being a file name, and the name is one plain path part."""
    name = digest_to_name(digest)
    assert name_to_digest(name) == digest
    assert Path(name).parts == (name,)
    assert ":" not in name


@pytest.mark.parametrize("digest", ["", "abc", "../" * 22, "AB" * 32, "ab" * 32 + "\n", "sha256:" + "g" * 64])
def test_what_is_no_digest_is_no_path(digest: str) -> None:
    """Nothing but a digest can name a file of the store."""
    with pytest.raises(ValueError, match="not a digest"):
        digest_to_name(digest)


def test_key_and_path_of_a_block(store: Store) -> None:
    """A block lies under the first two digits of its key, with or without an algorithm's name."""
    assert store.block_path(KEY).relative_to(store.root) == Path("blocks/ab") / f"{KEY}.parquet"
    assert store.block_path(f"sha256:{KEY}").parent.name == "ab"


# ── Seals and records ────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=200), st.data())
def test_a_seal_finds_any_changed_byte(content: bytes, data: st.DataObject) -> None:
    """Any one byte changed, or any cut, is found, also where the content looks like a seal."""
    sealed = seal(BLANK_SEAL.encode() + content + BLANK_SEAL.encode() + b"}")
    check_seal(sealed)
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytes([sealed[at] ^ data.draw(st.integers(1, 255))])
    for damaged in (sealed[:at] + changed + sealed[at + 1 :], sealed[:at]):
        with pytest.raises(Damaged):
            check_seal(damaged)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_not_written_as_json(number: float) -> None:
    """NaN never becomes null, and so never None or a default, on its way through JSON."""
    with pytest.raises(StoreError, match="final_loss is not a finite number"):
        to_json(TrainingCost(1.0, 2, 3, final_loss=number))
    with pytest.raises(Damaged):
        from_json(b'{"seconds": null, "steps": 1, "peak_resident_bytes": 1}', TrainingCost)
    with pytest.raises(Damaged):
        from_json(b'{"seconds": NaN, "steps": 1, "peak_resident_bytes": 1}', TrainingCost)


def test_a_record_with_a_field_of_a_later_version_is_read() -> None:
    """Readers ignore what they do not know, within one schema."""
    content = seal_record({"seconds": 1.0, "steps": 2, "peak_resident_bytes": 3, "new": [1]}, 1)
    assert open_record(content, TrainingCost, 1) == TrainingCost(1.0, 2, 3)


# ── Blocks ───────────────────────────────────────────────────────────────────────────────────────

_floats = st.floats(allow_nan=False, allow_infinity=False)
_texts = st.text(max_size=20) | st.just(BLANK_SEAL) | st.just("sha256:")
_responses = st.lists(
    st.builds(
        Response,
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
        st.none() | _texts,
    ),
    max_size=3,
).map(tuple)


@st.composite
def block_results(draw: st.DrawFn) -> BlockResult:
    n = draw(st.integers(0, 4))

    def column(strategy: st.SearchStrategy) -> st.SearchStrategy:
        return st.lists(strategy, min_size=n, max_size=n).map(tuple)

    return BlockResult(
        numbers=draw(column(st.integers(0, 2**62))),
        hashes=draw(column(_texts)),
        responses=draw(column(_responses)),
        values=draw(st.dictionaries(_texts, column(_floats), max_size=2)),
        items=draw(st.dictionaries(_texts, column(_texts), max_size=2)),
        seconds=draw(_floats),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block=block_results())
def test_a_block_comes_back_equal(store: Store, warnings: list[str], block: BlockResult) -> None:
    """Every block result round-trips, to the bit, with order, None and empty text kept apart."""
    store.put_block(KEY, block)
    assert store.get_block(KEY, "base") == block
    assert warnings == []


def test_an_absent_block_is_none(store: Store) -> None:
    """What was never put is absent, without a word."""
    assert store.get_block(KEY, "base") is None


def test_a_block_that_is_not_finite_is_not_kept(store: Store) -> None:
    """A NaN is measured again next time and never reused."""
    store.put_block(KEY, result(float("nan")))
    assert store.get_block(KEY, "base") is None


@pytest.mark.parametrize("position", [0, 0.3, 0.6, 0.9, 0.99])
def test_a_block_with_a_flipped_byte_is_never_returned(
    store: Store, warnings: list[str], position: float
) -> None:
    """One changed bit anywhere: absent, told loudly, moved aside, and a new put mends it."""
    store.put_block(KEY, result())
    path = store.block_path(KEY)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    assert store.get_block(KEY, "base") is None
    assert str(path) in warnings[0]
    assert not path.exists()
    assert [each.read_bytes() for each in (store.root / "damaged").iterdir()] == [content]
    store.put_block(KEY, result())
    assert store.get_block(KEY, "base") == result()


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_block_cut_short_is_never_returned(store: Store, warnings: list[str], length: int) -> None:
    """A truncated file is absent and told."""
    store.put_block(KEY, result())
    path = store.block_path(KEY)
    path.write_bytes(path.read_bytes()[:length])
    assert store.get_block(KEY, "base") is None
    assert len(warnings) == 1


def test_a_block_does_not_answer_for_another_key(store: Store, warnings: list[str]) -> None:
    """A whole file under the name of another key, another model's answers, is not returned."""
    store.put_block(KEY, result())
    store.block_path(OTHER).parent.mkdir(parents=True)
    shutil.copy(store.block_path(KEY), store.block_path(OTHER))
    assert store.get_block(OTHER, "base") is None
    assert "another block" in warnings[0]


# ── The salt ─────────────────────────────────────────────────────────────────────────────────────


def test_the_salt_is_random_private_and_stays(tmp_path: Path, store: Store) -> None:
    """32 bytes, the same for every later store of the folder, readable by its owner alone."""
    assert len(store.salt) == 32
    assert Store(tmp_path / "store").salt == store.salt
    assert Store(tmp_path / "elsewhere").salt != store.salt
    assert stat.S_IMODE((store.root / "salt").stat().st_mode) == 0o600


def test_a_damaged_salt_is_replaced_and_told(tmp_path: Path, store: Store) -> None:
    """A salt that was cut or changed is not used."""
    path, told = store.root / "salt", []
    for damage in (lambda content: content[:31], lambda content: bytes([content[0] ^ 1]) + content[1:]):
        _ = Store(tmp_path / "store").salt
        path.write_bytes(damage(path.read_bytes()))
        fresh = Store(tmp_path / "store", warn=told.append).salt
        assert Store(tmp_path / "store").salt == fresh
    assert len(told) == 2


# ── Models and trainings ─────────────────────────────────────────────────────────────────────────


def test_a_model_is_copied_exactly_and_the_source_stays(tmp_path: Path, store: Store) -> None:
    """The files that make the model, no others, with the same digest; the user's folder is untouched."""
    model = write_model(tmp_path / "out")
    stored = store.put_model(model)
    assert digest_model(Path(stored.path)) == model.digest
    assert sorted(os.listdir(stored.path)) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert stored == replace(model, path=str(store.model_path(model.digest)))
    assert digest_model(tmp_path / "out") == model.digest
    (tmp_path / "out" / "model.safetensors").write_bytes(b"changed later")
    assert store.has_model(model.digest)


def test_a_model_can_be_moved(tmp_path: Path, store: Store) -> None:
    """`move` leaves one copy of the weights on the disk, and what is no part of the model stays."""
    model = write_model(tmp_path / "out")
    inode = (tmp_path / "out" / "model.safetensors").stat().st_ino
    stored = store.put_model(model, move=True)
    assert os.listdir(tmp_path / "out") == ["trainer_state.json"]
    assert (Path(stored.path) / "model.safetensors").stat().st_ino == inode
    assert store.has_model(model.digest)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_a_model_moves_to_another_file_system(tmp_path: Path) -> None:
    """Where a file cannot be linked it is copied, and taken away only after that."""
    root = Path("/dev/shm") / f"ftgate-test-{os.getpid()}"
    try:
        model = write_model(tmp_path / "out")
        store = Store(root)
        store.put_model(model, move=True)
        assert store.has_model(model.digest)
        assert os.listdir(tmp_path / "out") == ["trainer_state.json"]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_a_model_that_changed_is_not_stored(tmp_path: Path, store: Store) -> None:
    """What is stored under a digest has that digest, else nothing is stored and nothing is lost."""
    model = write_model(tmp_path / "out")
    (tmp_path / "out" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(StoreError, match="changed while it was stored"):
        store.put_model(model, move=True)
    assert not store.has_model(model.digest)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"other"
    assert list((store.root / "models").iterdir()) == []


def test_a_training_comes_back_from_the_store(tmp_path: Path, store: Store) -> None:
    """The same record with the store's path, marked as not trained this time; another key is absent."""
    model = write_model(tmp_path / "out")
    tuned = TunedModel(model, TrainingCost(12.5, 60, 1 << 30, final_loss=0.5))
    store.put_model(model)
    store.put_training(KEY, tuned)
    found = store.get_training(KEY)
    assert found is not None
    assert found.model == replace(model, path=str(store.model_path(model.digest)))
    assert found.training == replace(tuned.training, from_store=True)
    assert store.get_training(OTHER) is None


def damage_weights(store: Store, digest: str) -> None:
    path = store.model_path(digest) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def remove_manifest(store: Store, digest: str) -> None:
    store.model_path(digest).with_suffix(".json").unlink()


def remove_folder(store: Store, digest: str) -> None:
    shutil.rmtree(store.model_path(digest))


def remove_tokenizer(store: Store, digest: str) -> None:
    (store.model_path(digest) / "tokenizer.json").unlink()


def add_template(store: Store, digest: str) -> None:
    (store.model_path(digest) / "chat_template.jinja").write_text("{{ messages }}")


def damage_manifest(store: Store, digest: str) -> None:
    store.model_path(digest).with_suffix(".json").write_text("{}")


def damage_record(store: Store, _digest: str) -> None:
    path = store.training_path(KEY)
    path.write_bytes(path.read_bytes().replace(b'"steps": 60', b'"steps": 61'))


DAMAGES = [
    damage_weights,
    remove_manifest,
    remove_folder,
    remove_tokenizer,
    add_template,
    damage_manifest,
    damage_record,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_training_is_never_returned(tmp_path: Path, store: Store, damage) -> None:
    """Weights, tokenizer, template, manifest or record not as they were: absent, and a new put mends it."""
    model = write_model(tmp_path / "out")
    tuned = TunedModel(model, TrainingCost(12.5, 60, 1 << 30))
    store.put_model(model)
    store.put_training(KEY, tuned)
    damage(store, model.digest)
    assert store.get_training(KEY) is None
    assert store.get_training(KEY) is None
    store.put_model(model)
    store.put_training(KEY, tuned)
    assert store.get_training(KEY) is not None


def test_a_training_record_does_not_answer_for_another_key(tmp_path: Path, store: Store) -> None:
    """A record copied to another name is not returned."""
    model = write_model(tmp_path / "out")
    store.put_model(model)
    store.put_training(KEY, TunedModel(model))
    shutil.copy(store.training_path(KEY), store.training_path(OTHER))
    assert store.get_training(OTHER) is None


# ── Keeping ──────────────────────────────────────────────────────────────────────────────────────


def test_collect_removes_what_was_let_go_and_nothing_else(tmp_path: Path, store: Store) -> None:
    """A stored model is kept until it is let go; blocks and trainings stay."""
    one, two = write_model(tmp_path / "one", b"1"), write_model(tmp_path / "two", b"2")
    store.put_model(one)
    store.put_model(two)
    store.put_block(KEY, result())
    assert store.kept() == {one.digest, two.digest}
    assert store.collect() == ()
    store.release(one.digest)
    assert store.collect() == (one.digest,)
    assert not store.has_model(one.digest)
    assert store.has_model(two.digest)
    assert store.get_block(KEY, "base") == result()
    with pytest.raises(StoreError, match="holds no model"):
        store.keep(one.digest)
    assert store.kept() == {two.digest}


def test_a_model_kept_again_is_not_collected(tmp_path: Path, store: Store) -> None:
    """`keep` takes back a `release`."""
    model = write_model(tmp_path / "one")
    store.put_model(model)
    store.release(model.digest)
    store.keep(model.digest)
    assert store.collect() == ()
    assert store.has_model(model.digest)


def test_collect_removes_what_dead_writers_left_but_not_what_is_being_written(store: Store) -> None:
    """Temporary files and folders older than a day go; a young one may still have its writer."""
    store.put_block(KEY, result())
    leftover = store.block_path(KEY).with_name(".dead.tmp")
    leftover.write_bytes(b"half")
    folder = store.root / "models" / ".dead.tmp"
    folder.mkdir(parents=True)
    store.collect()
    assert leftover.exists()
    assert folder.exists()
    store.collect(now=lambda: time.time() + 2 * 24 * 3600)
    assert not leftover.exists()
    assert not folder.exists()
    assert store.get_block(KEY, "base") == result()


# ── The disk refuses ─────────────────────────────────────────────────────────────────────────────


def test_a_full_disk_is_told_with_a_hint_and_leaves_nothing(tmp_path: Path) -> None:
    """A real write beyond a real limit: StoreError, no half file, what was there before is whole."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        from gate.errors import StoreError
        from gate.sealed import write_whole
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = Path(sys.argv[1]) / "file"
        write_whole(path, b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_whole(path, b"x" * 5000)
        except StoreError as error:
            print(error.message, "|", error.hint)
    """
    said = run_script(script, str(tmp_path))
    assert f"cannot write {tmp_path / 'file'}: File too large" in said
    assert "ulimit" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_no_space_left_has_a_hint() -> None:
    """The kernel's own ENOSPC becomes a StoreError that says what to do."""

    def fill() -> None:
        with disk_errors("write it"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(StoreError, match="No space left") as caught:
        fill()
    assert "free some space" in caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_a_full_file_system_is_told(tmp_path: Path) -> None:
    """A block that no longer fits on a small file system, where one may be mounted."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount here")
    try:
        store = Store(mount)

        def fill() -> None:
            for number in range(100):
                store.put_block(f"{number:064x}", result(documents=100))

        with pytest.raises(StoreError, match="No space left"):
            fill()
        assert all(store.get_block(path.stem, "base") for path in store.root.rglob("*.parquet"))
        assert not list(store.root.rglob(".*.tmp"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_read_only_folder_is_told_and_can_still_be_read(tmp_path: Path) -> None:
    """Without the right to write: put is a StoreError with a hint, get still answers."""
    Store(tmp_path).put_block(KEY, result())
    for folder in (tmp_path, *[path for path in tmp_path.rglob("*") if path.is_dir()]):
        folder.chmod(0o555)
    script = """
        import os, sys
        from pathlib import Path
        from gate.errors import StoreError
        from gate.store import Store
        import gate.tables
        from gate.records import BlockResult
        if os.geteuid() == 0:
            os.setuid(65534)  # root may write everywhere
        store = Store(Path(sys.argv[1]))
        print(store.get_block(sys.argv[2], "base") is not None)
        empty = BlockResult((), (), (), {})
        for refused in (lambda: store.put_block(sys.argv[2], empty), lambda: store.salt):
            try:
                refused()
            except StoreError as error:
                print(error.message, "|", error.hint)
    """
    closed = {
        path: path.stat().st_mode for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-"))
    }
    for parent in closed:  # pytest's own folders are closed to others
        parent.chmod(0o755)
    try:
        said = run_script(script, str(tmp_path), KEY).splitlines()
    finally:
        for folder in (tmp_path, *[path for path in tmp_path.rglob("*") if path.is_dir()]):
            folder.chmod(0o755)
        for parent, mode in closed.items():
            parent.chmod(mode)
    assert said[0] == "True"
    assert all("Permission denied | you may not write" in line for line in said[1:])
    assert len(said) == 3


def test_a_file_where_the_store_should_be_is_told(tmp_path: Path) -> None:
    """FTGATE_CACHE naming a file is a StoreError for reading and for writing."""
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError) as caught:
        store.put_block(KEY, result())
    assert "a file stands where a folder should be" in caught.value.hint
    with pytest.raises(StoreError):
        store.get_block(KEY, "base")


def run_script(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ── Races ────────────────────────────────────────────────────────────────────────────────────────


def race(root: Path, model: ModelRef, seed: int, start, out) -> None:
    """One of several processes that put and get the same and different keys at once."""
    told: list[str] = []
    store = Store(root, warn=told.append)
    start.wait()
    wrong = 0
    salt = store.salt
    for number in range(30):
        own, shared = f"{seed * 100 + number:064x}", f"{number % 5:064x}"[::-1]
        store.put_block(own, result(float(seed)))
        store.put_block(shared, result(float(number % 5)))
        for key, value in ((own, float(seed)), (shared, float(number % 5))):
            wrong += store.get_block(key, "base") != result(value)
        store.put_model(model)
        wrong += not store.has_model(model.digest)
    out.put((salt, wrong, told))


def test_processes_that_race_never_see_half_a_file(tmp_path: Path) -> None:
    """Four processes, same and different keys: one salt, every answer right, no warning, nothing left."""
    model = write_model(tmp_path / "model")
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    start, out = context.Barrier(4), context.Queue()
    root = tmp_path / "store"
    workers = [context.Process(target=race, args=(root, model, seed, start, out)) for seed in range(1, 5)]
    for worker in workers:
        worker.start()
    ended = [out.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({salt for salt, _, _ in ended}) == 1
    assert [(wrong, told) for _, wrong, told in ended] == [(0, [])] * 4
    assert not list(root.rglob(".*.tmp"))
    assert Store(root).has_model(model.digest)


def collect_for_ever(root: Path, start, stop) -> None:
    store = Store(root)
    start.wait()
    while not stop.is_set():
        store.collect()


def test_collecting_never_removes_a_model_that_is_kept(tmp_path: Path) -> None:
    """One process collects without pause, another lets go and keeps again: what `keep` or `put_model`
    said is kept is there, whole."""
    model = write_model(tmp_path / "model")
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    start, stop = context.Barrier(2), context.Event()
    collector = context.Process(target=collect_for_ever, args=(tmp_path / "store", start, stop))
    collector.start()
    told: list[str] = []
    store = Store(tmp_path / "store", warn=told.append)
    start.wait()
    kept = 0
    try:
        for _ in range(100):
            store.put_model(model)
            assert store.has_model(model.digest)
            store.release(model.digest)
            with suppress(StoreError):  # it may be gone by now
                store.keep(model.digest)
                kept += 1
                for _ in range(3):
                    assert store.has_model(model.digest)
    finally:
        stop.set()
        collector.join()
    assert collector.exitcode == 0
    assert told == []
    assert kept > 0


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────

CONFIG = TrainingConfig(
    trainer="trl",
    method="lora",
    base_model="base",
    base_revision=None,
    datasets=(Dataset("data"),),
    settings={"learning_rate": 1e-4, "seed": 1, "output_dir": "out", "lora_target_modules": ["q", "v"]},
    lines={"learning_rate": 3},
    path="lora.yaml",
    digest="sha256:1",
    learning_rate=1e-4,
    environment=("DATA",),
)
BASE = ModelRef("base", "/models/base", "sha256:" + "1" * 64)
DATA, VERSIONS, ENVIRONMENT = {"data": "sha256:d"}, {"torch": "2.13.0"}, {"DATA": "/d", "PATH": "/bin"}


def key_of(
    config=CONFIG, base=BASE, data=DATA, versions=VERSIONS, device="cpu", environment=ENVIRONMENT
) -> str:
    return training_key(config, base, data, versions, device, environment)


def changed_setting(**settings: object) -> TrainingConfig:
    return replace(CONFIG, settings={**CONFIG.settings, **settings})


CHANGES = {
    "trainer": {"config": replace(CONFIG, trainer="axolotl")},
    "method": {"config": replace(CONFIG, method="qlora")},
    "base model": {"config": replace(CONFIG, base_model="other")},
    "base revision": {"config": replace(CONFIG, base_revision="abc")},
    "datasets": {"config": replace(CONFIG, datasets=(Dataset("data", split="train"),))},
    "dataset order": {"config": replace(CONFIG, datasets=(Dataset("data"), Dataset("more")))},
    "learning rate": {"config": replace(CONFIG, learning_rate=1e-5)},
    "batch size": {"config": replace(CONFIG, batch_size=4)},
    "accumulation": {"config": replace(CONFIG, gradient_accumulation=4)},
    "epochs": {"config": replace(CONFIG, epochs=2.0)},
    "steps": {"config": replace(CONFIG, max_steps=10)},
    "quantization": {"config": replace(CONFIG, quantization_bits=4)},
    "processes": {"config": replace(CONFIG, processes=2)},
    "remote code": {"config": replace(CONFIG, trust_remote_code=True)},
    "a setting": {"config": changed_setting(seed=2)},
    "a setting's type": {"config": changed_setting(seed=True)},
    "a nested setting": {"config": changed_setting(lora_target_modules=["q", "k"])},
    "an unknown setting": {"config": changed_setting(new_key=None)},
    "checkpoint choice": {"config": changed_setting(save_steps=10)},
    "an override": {"config": replace(CONFIG, overrides=(Override("bf16", True, False, "cpu"),))},
    "base digest": {"base": replace(BASE, digest="sha256:" + "2" * 64)},
    "data digest": {"data": {"data": "sha256:e"}},
    "a version": {"versions": {"torch": "2.13.1"}},
    "one more library": {"versions": {**VERSIONS, "liger-kernel": "1"}},
    "device": {"device": "cuda (NVIDIA H100)"},
    "a variable that the config reads": {"environment": {"DATA": "/e"}},
    "a variable that is gone": {"environment": {}},
    "a variable's value in the config": {"config": replace(CONFIG, environment_digest="2")},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_the_weights_changes_the_key(change: dict) -> None:
    """Each part of a training's key alone makes another key: none can be reused wrongly."""
    assert key_of(**change) != key_of()


def test_every_field_of_a_config_is_in_the_key_or_known_not_to_matter() -> None:
    """A field added to TrainingConfig later has to be thought about here."""
    tested = {"trainer", "method", "base_model", "base_revision", "datasets", "settings", "learning_rate"}
    tested |= {"batch_size", "gradient_accumulation", "epochs", "max_steps", "quantization_bits", "processes"}
    tested |= {"trust_remote_code", "environment", "environment_digest", "overrides"}
    assert {each.name for each in fields(TrainingConfig)} == tested | {"path", "digest", "lines"}


SAME = {
    "the file's name": {"config": replace(CONFIG, path="other.yaml")},
    "comments in the file": {"config": replace(CONFIG, digest="sha256:2", lines={"learning_rate": 9})},
    "the output folder": {"config": changed_setting(output_dir="elsewhere")},
    "logging": {"config": changed_setting(logging_steps=50, report_to="none", run_name="x")},
    "the base's place": {"base": replace(BASE, path="/elsewhere", name="alias")},
    "order of keys": {"config": replace(CONFIG, settings=dict(reversed(CONFIG.settings.items())))},
    "another variable": {"environment": {"DATA": "/d", "PATH": "/usr/bin"}},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_does_not_change_the_weights_does_not_change_the_key(change: dict) -> None:
    """A second check of the same inputs trains nothing, wherever it writes and logs."""
    assert key_of(**change) == key_of()


def test_the_key_is_the_same_in_another_process() -> None:
    """No hash seed, no address and no order of a set gets into a key."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += "from test_store import key_of; print(key_of())"
    assert run_script(code).strip() == key_of()


def test_a_dataset_digest_covers_names_and_contents(tmp_path: Path) -> None:
    """Content, name, an added file and a linked folder change it; a hidden folder does not."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text('{"a": 1}\n')
    first = dataset_digest(data)
    (data / ".cache").mkdir()
    (data / ".cache" / "x.lock").write_text("")
    assert dataset_digest(data) == first
    seen = {first, dataset_digest(data / "train.jsonl")}
    (data / "train.jsonl").write_text('{"a": 2}\n')
    seen.add(dataset_digest(data))
    (data / "train.jsonl").rename(data / "test.jsonl")
    seen.add(dataset_digest(data))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.jsonl").write_text("1")
    (data / "one").symlink_to(tmp_path / "more")
    seen.add(dataset_digest(data))
    (data / "two").symlink_to(tmp_path / "more")
    seen.add(dataset_digest(data))
    (tmp_path / "more" / "x.jsonl").write_text("2")
    seen.add(dataset_digest(data))
    assert len(seen) == 7
    (tmp_path / "more" / "loop").symlink_to(data)
    assert dataset_digest(data)


def test_a_dataset_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Missing, empty and unreadable data are data errors."""
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing", tmp_path / "empty", tmp_path):
        with pytest.raises(DataError):
            dataset_digest(path)
