"""What a training job hands over is taken as data within limits, or not at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.ci.handover import REPORTED, Handed, Limits, Refused, _Folder, read_handover, write_handover
from gate.errors import GateError, InfrastructureError, ModelError
from gate.models import digest_model
from gate.models.files import FULL
from gate.records import ModelRef, TrainingCost, TunedModel

HEAD = "c" * 40
SMALL = Limits(models=3, files=40, total_bytes=1 << 20, large_bytes=1 << 18, small_bytes=1 << 16)
CONFIG = {"model_type": "llama", "hidden_size": 4}
LORA = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "org/base",
    "r": 2,
    "target_modules": ["q_proj"],
    "megatron_core": "megatron.core",
    "eva_config": None,
    "loftq_config": {},
}


def safetensors(header: object = None, data: bytes = b"\0" * 16) -> bytes:
    entry = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    text = json.dumps(entry if header is None else header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def full_model(folder: Path) -> Path:
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"auto_map": 0, "vocab_file": 1}}})
    write_json(folder / "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    (folder / "model.safetensors").write_bytes(safetensors())
    write_json(folder / "trainer_state.json", {"not": "the model's"})
    (folder / "training_args.bin").write_bytes(pickle.dumps({}))
    return folder


def adapter(folder: Path) -> Path:
    write_json(folder / "adapter_config.json", LORA)
    (folder / "adapter_model.safetensors").write_bytes(safetensors())
    return folder


def tuned(folder: Path) -> TunedModel:
    model = ModelRef("out", str(folder), digest_model(folder))
    return TunedModel(model, TrainingCost(seconds=12.4, steps=1234, peak_resident_bytes=5))


@pytest.fixture
def handover(tmp_path: Path) -> Path:
    """A handover of one full model, as the training job writes it."""
    write_handover(tmp_path / "handover", "configs/sft.yaml", HEAD, tuned(full_model(tmp_path / "out")))
    return tmp_path / "handover"


def take(handover: Path, limits: Limits = SMALL) -> tuple[Handed, ...]:
    return read_handover(handover, handover.parent / "taken", head=HEAD, limits=limits)


def refused(handover: Path, words: str, kind: type[GateError] = ModelError) -> None:
    """The handover is not taken, and nothing of it is left in the judge's folder."""
    with pytest.raises(kind, match=words):
        take(handover)
    assert not (handover.parent / "taken").exists()


# ── An honest one ────────────────────────────────────────────────────────────────────────────────


def test_a_handover_holds_the_models_own_files_and_a_small_note(handover: Path) -> None:
    """No optimizer state, no pickled arguments, no measurement: weights, tokenizer, settings, a note."""
    found = sorted(path.relative_to(handover).as_posix() for path in handover.rglob("*") if path.is_file())
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert found == ["000/handover.json", *(f"000/model/{name}" for name in names)]
    note = json.loads((handover / "000/handover.json").read_text())
    assert note == {"version": 1, "config": "configs/sft.yaml", "head": HEAD, "seconds": 12.4, "steps": 1234}


def test_what_was_handed_over_is_what_is_taken(handover: Path, tmp_path: Path) -> None:
    """A full model and an adapter come back byte for byte, in a folder that only the judge can enter."""
    second = write_handover(handover, "configs/lora.yaml", HEAD, tuned(adapter(tmp_path / "lora")))
    assert second.name == "001"
    full, lora = take(handover)
    assert (full.config, lora.config) == ("configs/sft.yaml", "configs/lora.yaml")
    assert digest_model(full.model) == digest_model(tmp_path / "out")
    assert digest_model(lora.model) == digest_model(tmp_path / "lora")
    assert full.model.is_relative_to(tmp_path / "taken")
    assert (tmp_path / "taken").stat().st_mode & 0o077 == 0


def test_what_training_took_is_marked_as_hearsay(handover: Path) -> None:
    """The number comes from the machine that ran the pull request's code."""
    (handed,) = take(handover)
    assert handed.training == f"1,234 steps in 12 s ({REPORTED})"
    write_json(handover / "000/handover.json", {"version": 1, "config": "c", "head": HEAD})
    shutil.rmtree(handover.parent / "taken")
    assert take(handover)[0].training == ""


def test_chat_templates_in_their_folder_are_taken(tmp_path: Path) -> None:
    """The one folder that a model may have in it."""
    model = full_model(tmp_path / "out")
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates/tool_use.jinja").write_text("{{ messages }}")
    write_handover(tmp_path / "handover", "c.yaml", HEAD, tuned(model))
    (handed,) = take(tmp_path / "handover")
    assert (handed.model / "additional_chat_templates/tool_use.jinja").is_file()


def test_the_training_job_refuses_what_the_judge_would(tmp_path: Path) -> None:
    """Remote code is found where it can still be mended, not an hour later on another machine."""
    model = full_model(tmp_path / "out")
    write_json(model / "config.json", {**CONFIG, "auto_map": {"AutoModel": "evil.Model"}})
    (model / "evil.py").write_text("")
    with pytest.raises(ModelError, match=r"evil\.py|auto_map"):
        write_handover(tmp_path / "handover", "c.yaml", HEAD, tuned(model))
    assert list((tmp_path / "handover").iterdir()) == []


# ── Files that are none ──────────────────────────────────────────────────────────────────────────

Plant = Callable[[Path], object]


def device(path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a device; tests/e2e/test_hostile_trainer.py says so loudly")
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this root may make no device")


def unix_socket(path: Path) -> None:
    """Bound under a short name: a socket's path has at most 107 bytes."""
    short = Path(tempfile.mkdtemp()) / "s"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(short))
    shutil.move(short, path)


NO_FILES: dict[str, Plant] = {
    "link to a secret": lambda path: path.symlink_to("/etc/passwd"),
    "link to a neighbour": lambda path: path.symlink_to("tokenizer.json"),
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "second name": lambda path: os.link(path.parent / "tokenizer.json", path),
    "fifo": lambda path: os.mkfifo(path),
    "socket": unix_socket,
    "folder": lambda path: path.mkdir(),
    "device": device,
}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja"])
@pytest.mark.parametrize("what", NO_FILES)
def test_only_plain_files_are_taken(what: str, name: str, handover: Path) -> None:
    """Neither read nor waited for: a fifo would hang the judge, a link would show it its own secrets."""
    file = handover / "000/model" / name
    file.unlink(missing_ok=True)
    NO_FILES[what](file)
    refused(handover, "not a plain file")


@pytest.mark.parametrize("place", ["", "000", "000/model"])
def test_a_link_in_a_folders_place_is_refused(place: str, handover: Path) -> None:
    """The folders on the way are opened without following links, the handover itself too."""
    folder = handover / place
    moved = handover.parent / "moved"
    folder.rename(moved)
    folder.symlink_to(moved)
    refused(handover, "link|not a folder")


def test_a_link_to_a_folder_of_templates_is_refused(handover: Path) -> None:
    """Also for the one folder inside a model."""
    (handover / "000/model/additional_chat_templates").symlink_to("/etc")
    refused(handover, "not a folder")


def test_the_note_is_a_plain_file_too(handover: Path) -> None:
    """A fifo in its place is refused at once."""
    (handover / "000/handover.json").unlink()
    os.mkfifo(handover / "000/handover.json")
    refused(handover, "not a plain file")


# ── Names ────────────────────────────────────────────────────────────────────────────────────────

NAMES = [
    *("pytorch_model.bin", "model.pt", "weights.pkl", "model.gguf", "evil.py", "__init__.py", "torch.py"),
    *("sitecustomize.py", "conftest.py", "evil.so", "x.pth", ".git", ".env", "model.safetensors.py"),
    *("..safetensors", "-rf.safetensors", "a b.safetensors", "a\n.safetensors", "config.json\n"),
    *("a\x1b[2J.json",),
    *("mоdel.safetensors", "config.json ", "verdict.json", "ci.json", "measurements.json", "thresholds.yaml"),
    *("::error::x.json", "|x|.json", "<!-- ftgate -->.json", "%2e%2e%2f.json", "a\\..\\b.safetensors"),
    *("x" * 130 + ".safetensors", "model.safetensors.zip", "model.tar", "CON", "\udce9.json"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_no_model_has_is_refused(name: str, handover: Path) -> None:
    """Code, pickles, archives, forged results and tricks: by name, before a byte is read."""
    (handover / "000/model" / name).write_bytes(b"x")
    refused(handover, r"no file of a|which is no file")


@pytest.mark.parametrize("place", ["", "000"])
@pytest.mark.parametrize("name", ["verdict.json", "ci.json", "comment.md", "0000", "..000", "001.zip"])
def test_nothing_may_lie_beside_a_model(name: str, place: str, handover: Path) -> None:
    """A forged verdict or comment in the handover makes it none."""
    (handover / place / name).write_text('<!-- ftgate {"v":1} -->')
    refused(handover, "expected|entries")


def test_a_refusal_shows_a_hostile_name_harmlessly(handover: Path) -> None:
    """No line break, escape or other alphabet reaches log or comment, and no endless line."""
    (handover / "000/model" / ("\x1b[31m\n::error::é" + "x" * 200)).write_text("")
    with pytest.raises(Refused) as raised:
        take(handover)
    assert raised.value.message.isprintable()
    assert raised.value.message.isascii()
    assert len(raised.value.message) < 250


def test_names_that_differ_in_case_alone_are_refused(handover: Path) -> None:
    """On a disk that does not tell them apart the one would stand for the other."""
    (handover / "000/model/Model.safetensors").write_bytes(safetensors())
    refused(handover, "two of one name")


def test_weights_that_the_model_does_not_name_are_refused(handover: Path) -> None:
    """What the digest does not cover does not pass under it."""
    (handover / "000/model/extra.safetensors").write_bytes(safetensors())
    refused(handover, "no file of a full model")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40))
def test_any_other_name_is_refused(name: str) -> None:
    """Names at random: nothing is taken but what a model is made of, and every refusal is a plain one."""
    with tempfile.TemporaryDirectory() as room:
        place = Path(room) / "handover/000"
        write_json(place / "handover.json", {"version": 1, "config": "c", "head": HEAD})
        full_model(place / "model")
        for extra in ("trainer_state.json", "training_args.bin"):
            (place / "model" / extra).unlink()
        known = {path.name for path in (place / "model").iterdir()}
        try:
            (place / "model" / name).write_bytes(b"{}")
        except (OSError, ValueError):
            return  # ".", "..", or too long for a file system
        if name in known or any(fnmatch(name, pattern) for pattern in FULL):
            return
        with pytest.raises(ModelError) as raised:
            take(place.parent)
        assert raised.value.message.isprintable()


# ── Sizes ────────────────────────────────────────────────────────────────────────────────────────


def test_ten_thousand_files_are_refused_unread(handover: Path) -> None:
    """The listing itself ends at the limit."""
    for number in range(10_000):
        (handover / "000/model" / f"w{number}.safetensors").touch()
    refused(handover, "more than 40 entries")


def test_ten_thousand_models_are_refused(handover: Path) -> None:
    """Also one level up."""
    for number in range(1, 1000):
        (handover / f"{number:03d}").mkdir()
    refused(handover, "more than 3 entries")


@pytest.mark.parametrize(
    ("name", "size"), [("model.safetensors", 1 << 42), ("tokenizer.json", 1 << 19), ("config.json", 1 << 17)]
)
def test_a_huge_sparse_file_is_refused_by_its_size(name: str, size: int, handover: Path) -> None:
    """Four terabytes that take no room: nothing of them is copied or read."""
    os.truncate(handover / "000/model" / name, size)
    refused(handover, "bytes, at most")


def test_many_files_together_have_a_limit(handover: Path, tmp_path: Path) -> None:
    """Each shard is small enough; their sum over all models is not."""
    write_handover(handover, "other.yaml", HEAD, tuned(adapter(tmp_path / "lora")))
    os.truncate(handover / "000/model/model.safetensors", 700_000)
    os.truncate(handover / "001/model/adapter_model.safetensors", 700_000)
    refused(handover, "more than|damaged")


def test_no_room_on_the_judges_disk_is_said(handover: Path) -> None:
    """A size that the limits allow and the disk does not."""
    os.truncate(handover / "000/model/model.safetensors", 1 << 43)
    with pytest.raises(InfrastructureError, match="no room"):
        take(handover, Limits(total_bytes=1 << 44))
    assert not (handover.parent / "taken").exists()


# ── Contents ─────────────────────────────────────────────────────────────────────────────────────

CODE = {"AutoModelForCausalLM": "evil--modeling.Model"}
SETTINGS: list[tuple[str, object]] = [
    ("config.json", {**CONFIG, "auto_map": CODE}),
    ("config.json", {**CONFIG, "text_config": {"auto_map": CODE}}),
    ("config.json", {**CONFIG, "custom_pipelines": {"x": {"impl": "evil.Pipeline"}}}),
    ("config.json", {**CONFIG, "attn_implementation": "evil/kernel"}),
    ("config.json", {**CONFIG, "_attn_implementation": {"text_config": "evil/kernel:flash"}}),
    ("config.json", {**CONFIG, "experts_implementation": "https://evil.example"}),
    ("config.json", {**CONFIG, "quantization_config": {"quant_method": "gptq"}}),
    ("generation_config.json", {"custom_generate": "evil/repo", "trust_remote_code": True}),
    ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}),
    ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}),
    ("tokenizer_config.json", {"tokenizer_file": "../../../home/judge/.netrc"}),
    ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.4.0.json"]}),
    ("tokenizer_config.json", {"init_inputs": ["/etc/passwd"]}),
    ("special_tokens_map.json", {"vocab_file": "/etc/passwd"}),
]


@pytest.mark.parametrize(("name", "content"), SETTINGS)
def test_settings_that_name_code_or_files_are_refused(name: str, content: object, handover: Path) -> None:
    """Remote code, hub kernels, other quantisers, files elsewhere: whatever a library would do about it."""
    write_json(handover / "000/model" / name, content)
    refused(handover, name.replace(".", r"\."))


ADAPTERS: list[dict[str, object]] = [
    {"peft_type": "PROMPT_TUNING", "tokenizer_kwargs": {"trust_remote_code": True}},
    {"peft_type": "XLORA", "adapters": {"0": "evil/adapter"}},
    {"peft_type": None},
    {"base_model_name_or_path": "https://evil.example/model"},
    {"auto_mapping": {"base_model_class": "x", "parent_library": "antigravity"}},
    {"auto_mapping": "antigravity"},
    {"megatron_core": "antigravity"},
    {"megatron_config": {"x": 1}},
    {"corda_config": {"cache_file": "/tmp/pickle.pt"}},
    {"arrow_config": {"x": 1}},
    {"trust_remote_code": True},
    {"auto_map": CODE},
    {"some_later_key": "evil/repo"},
]


@pytest.mark.parametrize("change", ADAPTERS, ids=str)
def test_adapters_that_name_more_than_lora_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    """Other methods load tokenizers, adapters and pickles by name; a LoRA names none."""
    write_handover(tmp_path / "handover", "c.yaml", HEAD, tuned(adapter(tmp_path / "out")))
    write_json(tmp_path / "handover/000/model/adapter_config.json", {**LORA, **change})
    refused(tmp_path / "handover", "adapter_config")


def test_an_adapter_and_a_model_in_one_folder_are_refused(handover: Path, tmp_path: Path) -> None:
    """transformers would load the one on top of the other."""
    for file in adapter(tmp_path / "lora").iterdir():
        shutil.copy(file, handover / "000/model")
    refused(handover, "an adapter and a full model")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def test_a_pickle_under_a_safe_name_is_not_unpickled(handover: Path, tmp_path: Path) -> None:
    """`model.safetensors` that holds a pickle is damaged safetensors, nothing else."""
    (handover / "000/model/model.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    refused(handover, "damaged")
    assert not (tmp_path / "ran").exists()


def header(**changes: object) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}}


HEADERS: dict[str, bytes] = {
    "empty": b"",
    "short": b"\x08\0\0",
    "header of four gigabytes": struct.pack("<Q", 1 << 32) + b"{}",
    "header larger than any number": struct.pack("<Q", 2**64 - 1) + b"{}",
    "no JSON": struct.pack("<Q", 2) + b"{{",
    "a list": safetensors([]),
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "overlap": safetensors({**header(), "v": header()["w"]}),
    "outside": safetensors(header(data_offsets=[1 << 40, (1 << 40) + 16])),
    "negative": safetensors(header(shape=[-2, -2])),
    "infinite": safetensors(header(shape=[float("inf")])),
    "not whole": safetensors(header(shape=[2.0, 2.0])),
    "true": safetensors(header(shape=[True])),
    "text": safetensors(header(shape=["2", "2"])),
    "digits": safetensors(header(shape=["9" * 5000])),
    "huge": safetensors(header(shape=[10**4000])),
    "a million dimensions": safetensors(header(shape=[2**40] * 1_000_000)),
    "no offsets": safetensors(header(data_offsets=[])),
    "trailing bytes": safetensors(data=b"\0" * 17),
}


@pytest.mark.parametrize("which", HEADERS)
def test_a_safetensors_header_that_lies_is_refused(which: str, handover: Path) -> None:
    """Before anything is loaded, in no time and no memory."""
    (handover / "000/model/model.safetensors").write_bytes(HEADERS[which])
    with pytest.raises(ModelError, match="damaged"):
        take(handover, Limits())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255))
def test_weights_at_random_are_refused_plainly(content: bytes, at: int, byte: int) -> None:
    """Random bytes and a good file with one byte changed: an error of ours, or a good header."""
    changed = bytearray(safetensors())
    changed[at % len(changed)] = byte
    with tempfile.TemporaryDirectory() as room:
        for number, data in enumerate((content, bytes(changed))):
            place = Path(room) / f"{number}/handover/000"
            write_json(place / "handover.json", {"version": 1, "config": "c", "head": HEAD})
            write_json(place / "model/config.json", CONFIG)
            (place / "model/model.safetensors").write_bytes(data)
            try:
                take(place.parent)
            except ModelError:
                continue


TEXTS = [b"", b"null", b"[]", b'{"version":', b"\xff\xfe", b"[" * 60_000, b'{"a":' * 20_000, b"\0" * 100]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:8].hex())
def test_json_that_is_none_is_refused(text: bytes, name: str, handover: Path) -> None:
    """Truncated, deep, other bytes: an error that names the file."""
    (handover / "000/model" / name).write_bytes(text)
    refused(handover, name.replace(".", r"\."))


NOTES: list[object] = [
    {},
    [],
    "x",
    {"version": 2, "config": "c", "head": HEAD},
    {"version": 1, "config": "", "head": HEAD},
    {"version": 1, "config": "x" * 5000, "head": HEAD},
    {"version": 1, "config": "a\n::error::b", "head": HEAD},
    {"version": 1, "config": "\x1b[2J", "head": HEAD},
    {"version": 1, "config": ["c"], "head": HEAD},
    {"version": 1, "config": "c", "head": HEAD, "seconds": -1},
    {"version": 1, "config": "c", "head": HEAD, "seconds": "fast"},
    {"version": 1, "config": "c", "head": HEAD, "steps": 1e300},
    {"version": 1, "config": "c", "head": HEAD, "steps": 2**60},
    {"version": 1, "config": "c", "head": "d" * 40},
]


@pytest.mark.parametrize("note", NOTES, ids=lambda note: str(note)[:60])
def test_a_note_that_no_training_job_writes_is_refused(note: object, handover: Path) -> None:
    """Also one for another commit: a stale artifact, or one of another pull request."""
    write_json(handover / "000/handover.json", note)
    refused(handover, "handover")


def test_two_models_for_one_config_are_refused(handover: Path, tmp_path: Path) -> None:
    """The judge would have to choose, and the trainer would have chosen which."""
    write_handover(handover, "configs/sft.yaml", HEAD, tuned(adapter(tmp_path / "lora")))
    refused(handover, "two models for one config")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_not_opened(kind: str, tmp_path: Path) -> None:
    """An archive can unpack links and `../` names; the CI service unpacks its own."""
    archive = tmp_path / "handover"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("../evil", "x")
    else:
        with tarfile.open(archive, "w") as packed:
            packed.addfile(tarfile.TarInfo("../evil"))
    refused(archive, "archives are not opened")
    assert not (tmp_path.parent / "evil").exists()


def test_no_handover_at_all_is_an_infrastructure_error(tmp_path: Path) -> None:
    """The training job may have died: exit code 3, and nothing is judged."""
    with pytest.raises(InfrastructureError, match="no handover"):
        take(tmp_path / "handover")


def test_a_file_that_grows_while_it_is_copied_is_refused(handover: Path) -> None:
    """A process of the trainer's, left over on a shared machine, appends for ever: the copy ends."""
    place = _Folder.open(handover / "000/model")
    size = place.size("tokenizer.json", 1000)
    with (handover / "000/model/tokenizer.json").open("a") as more:
        more.write(" " * 100)
    with pytest.raises(Refused, match="larger"):
        place.copy("tokenizer.json", size, handover.parent / "copied")
    place.close()


def test_a_file_that_becomes_a_link_after_it_was_looked_at_is_not_followed(handover: Path) -> None:
    """Opening does not follow links either."""
    place = _Folder.open(handover / "000/model")
    size = place.size("tokenizer.json", 1000)
    (handover / "000/model/tokenizer.json").unlink()
    (handover / "000/model/tokenizer.json").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        place.copy("tokenizer.json", size, handover.parent / "copied")
    place.close()
