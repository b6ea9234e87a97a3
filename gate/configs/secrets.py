"""What of a training config may be a secret: it stays in the team's file, where the trainer reads it."""

from __future__ import annotations

from gate.records import TrainingConfig

SECRET, LEFT_OUT = ("env", "hub_token"), "<left out>"


def without_secrets(content: bytes, config: TrainingConfig) -> bytes:
    """A config's text with `<left out>` for its token and its variables' values; else the same bytes.

    All lines up to the next key's go, whatever the value's style; a mapping on one line goes whole.
    """
    tops = {key: line for key, line in config.lines.items() if "." not in key and "[" not in key}
    if not (secret := {tops[key]: key for key in SECRET if key in tops}):
        return content
    lines = content.splitlines(keepends=True)
    starts = sorted(set(tops.values()))
    for start in sorted(secret, reverse=True):
        after = next((line for line in starts if line > start), len(lines) + 1)
        key = secret[start]
        names = "".join(f"\n  {name}: {LEFT_OUT}" for name in config.environment) if key == "env" else ""
        lines[start - 1 : after - 1] = [f"{key}:{names or f' {LEFT_OUT}'}\n".encode()]
    return b"".join(lines)
