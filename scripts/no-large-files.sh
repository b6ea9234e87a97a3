#!/usr/bin/env bash
# Fails when one of the named files is over 1 MB.
set -euo pipefail
large=$(find "$@" -maxdepth 0 -type f -size +1024k)
[ -z "$large" ] || { echo "over 1 MB:"; echo "$large"; exit 1; }
