# shellcheck shell=bash disable=SC2034
# progress: what a build is doing, and since when. Set by `build` and `bake`: VERBOSE, BEGAN (seconds of the epoch).

# step TITLE COMMAND…: does it. On a terminal one line says how it goes; elsewhere a line says that it has begun. What the
# command prints is shown with --verbose; else its last lines, if it fails.
step() {
  local title=$1 log ticker='' status=0
  shift
  log=$(mktemp)
  if [[ -n $VERBOSE ]]; then
    printf '%s %s\n' "$(elapsed)" "$title" >&2
    "$@" </dev/null > >(tee "$log" >&2) 2>&1 || status=$?
  elif [[ -t 2 ]]; then
    tick "$title" "$log" &
    ticker=$!
    "$@" </dev/null >"$log" 2>&1 || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    printf '\r\033[K' >&2
  else
    printf '%s %s\n' "$(elapsed)" "$title" >&2
    "$@" </dev/null >"$log" 2>&1 || status=$?
  fi
  if ((status)); then
    TOLD=$([[ -n $VERBOSE ]] || tail -n 40 "$log")
  fi
  rm -f "$log"
  return "$status"
}

# elapsed: since the build began, as `[ 1:05]`
elapsed() { printf '[%2d:%02d]' $(((EPOCHSECONDS - BEGAN) / 60)) $(((EPOCHSECONDS - BEGAN) % 60)); }

# tick TITLE LOG: a line that is written anew each second, until whoever started this is gone
tick() {
  local last columns
  columns=$(tput cols 2>/dev/null || echo 80)
  while kill -0 $$ 2>/dev/null; do
    last=$(tail -n 1 "$2" | tr -d '\r\033' | cut -c 1-200)
    last="$(elapsed) $1${last:+: $last}"
    printf '\r\033[K%s' "${last:0:columns-1}" >&2
    sleep 1
  done
}
