#!/usr/bin/env bash
# Is this a Python that ftgate can be set up with? Says what to install where it is not.
# -I: in a pull request's checkout, nothing of the working directory is imported.
set -euo pipefail
python=${1:-}

if [ -z "$python" ]; then
  echo "No Python was found. ftgate needs Python 3.11 or newer; on Debian: apt install python3 python3-venv" >&2
  exit 1
fi
if ! "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "$python is $("$python" --version 2>&1). ftgate needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 ..." >&2
  exit 1
fi
if ! "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
  echo "$python has no venv module. On Debian: apt install python3-venv" >&2
  exit 1
fi
