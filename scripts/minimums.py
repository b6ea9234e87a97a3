#!/usr/bin/env python3
"""Print the oldest versions that a pyproject.toml allows, as pip constraints."""

import re
import sys
import tomllib
from pathlib import Path


def minimums(requirements: list[str]) -> list[str]:
    """`name>=1.2,<2` as `name==1.2`; what has no lower bound is left to pip."""
    found = (re.match(r"([\w.-]+)\s*[>=]=\s*([\w.]+)", requirement) for requirement in requirements)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    print("\n".join(minimums(project["dependencies"])))
