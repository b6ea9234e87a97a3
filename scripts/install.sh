#!/usr/bin/env bash
# ftgate, of this very commit, in a virtual environment of its own: `small` is what reads git and publishes,
# `whole` adds what trains and measures. What an earlier step of the job has installed is left as it is.
# -I: nothing of the working directory, which is the pull request's, is imported.
set -euo pipefail
what=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pip=("$FTGATE_VENV/bin/python" -I -m pip --disable-pip-version-check install --quiet --constraint "$root/constraints.txt")

if [ ! -x "$FTGATE_VENV/bin/ftgate" ]; then
  "$root/scripts/check-python.sh" "$FTGATE_PYTHON"
  "$FTGATE_PYTHON" -I -m venv "$FTGATE_VENV"
  "${pip[@]}" --requirement "$root/scripts/small.txt"
  "${pip[@]}" --no-deps "$root"
fi
if [ "$what" = whole ] && [ ! -e "$FTGATE_VENV/whole" ]; then
  read -r -d '' -a extras <<< "$FTGATE_EXTRAS" || true # over several lines, too
  "${pip[@]}" "$root" "${extras[@]}"
  touch "$FTGATE_VENV/whole"
fi
