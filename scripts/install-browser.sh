#!/usr/bin/env bash
# Chromium for the tests that open a report. Installs Debian's where it may; says loudly where it may not.
# In CI (CI=true) a missing browser is a failure, elsewhere those tests are skipped.
set -euo pipefail

found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if found >/dev/null; then exit 0; fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  if sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
fi
if command -v apt-get >/dev/null && "${as_root[@]}" true; then
  echo "installing chromium for the browser tests"
  export DEBIAN_FRONTEND=noninteractive
  { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium; } \
    >/dev/null 2>&1 || true
fi
if found >/dev/null; then exit 0; fi

cat >&2 <<'TEXT'
**********************************************************************
 No Chromium, and it could not be installed: the tests that look at a
 report in a browser WILL NOT RUN. To run them: apt install chromium
**********************************************************************
TEXT
[ "${CI:-}" != true ]
