"""Which base an adapter says it was tuned from: is it the one that it is judged over?"""

from __future__ import annotations

import os
import re
from pathlib import Path

from gate.errors import ModelError
from gate.models.files import digest_model, model_files, read_json

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")


def check_base_named(adapter: Path, base: Path, base_name: str, revision: str | None = None) -> None:
    """Raises ModelError where `adapter_config.json` names another base, or another commit of this one.

    Equal shapes prove nothing: siblings of a family share them. A folder that is not on this machine
    proves nothing either, and is let through with a doubt (`base_in_doubt`).
    """
    config = read_json(adapter / "adapter_config.json")
    trained = config.get("revision")
    if COMMIT.fullmatch(str(trained)) and COMMIT.fullmatch(str(revision)) and trained != revision:
        raise ModelError(
            f"the adapter {adapter} was tuned from the base at {trained}, and not at {revision}",
            hint="pin that revision of the base, or correct revision in its adapter_config.json",
        )
    named = _named(adapter)
    if not named or named in (base_name, str(base)):
        return
    if os.path.isdir(named):
        other = _is_another_model(Path(named), base)
    else:
        ends = {base.name, Path(base_name).name}
        other = bool(base_name) and HUB_NAME.fullmatch(named) is not None and Path(named).name not in ends
    if other:
        raise ModelError(
            f"the adapter {adapter} was tuned from {named}, and not from the base {base_name or base}",
            hint="name its own base, or correct base_model_name_or_path in its adapter_config.json",
        )


def base_in_doubt(adapter: Path, base: Path, base_name: str) -> str | None:
    """A warning where an adapter's base is known by its shapes alone: it goes by another name, or by none.

    A folder of that name with the very same model leaves no doubt.
    """
    named = _named(adapter)
    if named in (base_name, str(base)) or (named and os.path.isdir(named)):
        return None
    says = f"says that it was tuned from {named}" if named else "does not say what it was tuned from"
    return f"{adapter} {says}; it was put on {base_name or base}, which its shapes fit"


def _named(adapter: Path) -> str:
    named = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    return named if isinstance(named, str) else ""


def _is_another_model(folder: Path, base: Path) -> bool:
    if os.path.samefile(folder, base):
        return False
    return bool(model_files(folder)) and digest_model(folder) != digest_model(base)
