"""The store of a whole `ftgate ci` run: cleaned before it, and asked once for the salt of all configs."""

from __future__ import annotations

from dataclasses import replace

from gate.errors import StoreError
from gate.shell import Shell
from gate.store import Store, store_root


def clean_store(shell: Shell) -> None:
    """Remove what old pull requests left in the store: for merged refs, and for a judge whose workflow is the
    default branch's, as no merged ref ever runs on its machine."""
    try:
        for gone in Store(store_root(shell.environ), warn=shell.warn).collect_unused():
            shell.say(f"removed from the store: {gone}")
    except StoreError as error:
        shell.warn(error.message)


def with_salt(shell: Shell) -> Shell:
    """The shell with the salt of all configs: each says whether this run made it."""
    try:
        found = shell.salt or Store(store_root(shell.environ), warn=shell.warn).found_salt
    except StoreError:  # the first config that needs it says so
        return shell
    return replace(shell, salt=found)
