# Sourced by scripts/demo and scripts/check: find Python, make .venv, install what pyproject.toml names, once.
# Needs: $root (the project's folder) and $extras (for example "train" or "train,test").

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    [ -n "$candidate" ] || continue
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  echo "expected Python 3.11 or later; got $(python3 --version 2>&1 || echo none); install it, or set PYTHON to its path" >&2
  return 2
}

set_up() {
  local python stamp wanted
  if [ ! -x "$root/.venv/bin/python" ]; then
    python=$(find_python) || return 2
    echo "Making a virtual environment in .venv …"
    "$python" -m venv "$root/.venv" || {
      echo "expected the venv module; got an error above; install it (Debian: python3-venv)" >&2
      return 2
    }
  fi
  stamp="$root/.venv/.installed-$extras"
  wanted=$( (cat "$root/pyproject.toml"; "$root/.venv/bin/python" --version; echo "$extras") | cksum)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing miracl-audit[$extras] into .venv (once; some minutes) …"
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extras]" || {
      echo "expected the packages of pyproject.toml to install; got the error above; mend it and run this again" >&2
      return 2
    }
    printf '%s' "$wanted" >"$stamp"
  fi
}
