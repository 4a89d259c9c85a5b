# shellcheck shell=bash
# inputs: what a build is given is judged before it begins, all of it at once: a build takes minutes, this takes seconds.
# Set by `build` and `bake`: ROLE, PLATFORM, PACKAGES, SETTINGS, SIGNERS, SEED ('' for none), ALLOW, CHECKOUT ('' for none).

MISTAKES=()

mistake() { MISTAKES+=("  $1"); }

refuse_mistakes() { ((${#MISTAKES[@]} == 0)) || die 'nothing was done, since' "${MISTAKES[@]}"; }

# check_inputs ARCHITECTURE SCRATCH: that of the machine, '' for several; an empty folder to look at things in
check_inputs() {
  local file
  [[ -n $SETTINGS ]] || mistake '--settings FILE: what agent.toml says but for role and platform'
  ((${#PACKAGES[@]})) || mistake '--package FILE: the agent; packaging/build makes it'
  for file in ${PACKAGES[@]+"${PACKAGES[@]}"} ${SETTINGS:+"$SETTINGS"} ${SIGNERS:+"$SIGNERS"} ${SEED:+"$SEED"}; do
    [[ -f $file ]] || mistake "there is no file $file"
    [[ ! -f $file || -r $file ]] || mistake "$file cannot be read by this user"
  done
  if [[ -r $SETTINGS ]] && sed '/^\[/,$d' "$SETTINGS" | grep -qE '^(role|platform)[ =]'; then
    mistake "$SETTINGS: take role and platform out: they are written for each image"
  fi
  check_packages "$1"
  [[ ! -r $SETTINGS ]] || check_by_agent "$2"
}

# --- the agent's packages -----------------------------------------------------------------------------------------

check_packages() {
  local file kind=deb arch architectures=()
  [[ ${PLATFORM%%-*} != centos ]] || kind=rpm
  for file in ${PACKAGES[@]+"${PACKAGES[@]}"}; do
    [[ -r $file && -f $file ]] || continue
    if [[ $file != *."$kind" ]]; then
      mistake "$file: images of $PLATFORM take a $kind"
    elif arch=$(package_architecture "$file") && [[ -n $arch ]]; then
      architectures+=("$arch")
      [[ $file != *.el[0-9]*.rpm || $file == *".el$(enterprise_linux)."* ]] ||
        mistake "$file is not for CentOS Stream $(enterprise_linux), of which the image is made"
    else
      mistake "$file is no $kind of the agent: packaging/build makes one"
    fi
  done
  [[ -z $1 || ${#architectures[@]} == 0 || " ${architectures[*]} " =~ \ ($1|all|noarch)\  ]] ||
    mistake "no package is for this machine: it is $1, they are for ${architectures[*]}"
}

# package_architecture FILE: as its distribution calls it; nothing where the file is no package of the agent
package_architecture() {
  local name=${1##*/}
  case $name in
    *.deb)
      [[ $(head -c 7 "$1" | tr -d '\0') == '!<arch>' ]] || return 0
      if ! command -v dpkg-deb >/dev/null; then
        name=${name%.deb} && echo "${name##*_}"
      elif [[ $(dpkg-deb --field "$1" Package 2>/dev/null) == rolecall ]]; then
        dpkg-deb --field "$1" Architecture
      fi
      ;;
    rolecall-*.rpm)
      [[ $(head -c 4 "$1" | od -An -tx1 | tr -d ' \n') == edabeedb ]] || return 0
      name=${name%.rpm} && echo "${name##*.}"
      ;;
  esac
}

# enterprise_linux: this machine's, where that is one; else that of the images which Packer begins with
enterprise_linux() {
  local number
  number=$(rpm -E '%{?rhel}' 2>/dev/null || true)
  echo "${number:-10}"
}

# --- settings, signers, seed and role: the agent itself judges them -----------------------------------------------

# check_by_agent SCRATCH: in a folder that has them where an image has them
check_by_agent() {
  local root=$1 agent=() told line
  install -d "$root/etc/rolecall"
  { printf 'role = "%s"\nplatform = "%s"\n' "$ROLE" "$PLATFORM" && cat "$SETTINGS"; } >"$root/etc/rolecall/agent.toml"
  [[ ! -r $SIGNERS ]] || cp "$SIGNERS" "$root/etc/rolecall/allowed_signers"
  [[ ! -r $SEED ]] || cp "$SEED" "$root/etc/rolecall/seed.json"
  if ! find_agent "$root"; then
    [[ -z $CHECKOUT ]] || printf 'build: no agent runs here, so settings and seed are judged only at the end\n' >&2
    return 0
  fi
  told=$("${agent[@]}" image check --inputs --root "$root" ${ALLOW[@]+"${ALLOW[@]}"} 2>&1) && return
  # As the operator calls them, and the lines as they are counted before two were put in front.
  told=$(awk -v name="$root/etc/rolecall/agent.toml:" '{
    if (at = index($0, name)) {
      rest = substr($0, at + length(name))
      if (rest + 0 > 2) $0 = substr($0, 1, at - 1) name (rest + 0 - 2) substr(rest, index(rest, ":"))
    }
    print
  }' <<<"$told")
  told=${told//"$root/etc/rolecall/agent.toml"/$SETTINGS}
  told=${told//"$root/etc/rolecall/allowed_signers"/${SIGNERS:-/etc/rolecall/allowed_signers}}
  told=${told//"$root/etc/rolecall/seed.json"/${SEED:-/etc/rolecall/seed.json}}
  while IFS= read -r line; do mistake "$line"; done <<<"$told"
}

# find_agent SCRATCH: sets `agent` to the one of a package, of this checkout or of this machine, whichever runs
find_agent() {
  local file words
  local -r run='import sys; sys.path.insert(0, sys.argv.pop(1)); from rolecall.__main__ import main; sys.exit(main())'
  for file in ${PACKAGES[@]+"${PACKAGES[@]}"}; do
    command -v python3 >/dev/null || break
    case $file in
      *.deb) dpkg-deb -x "$file" "$1" ;;
      *.rpm) rpm2cpio "$file" | (cd "$1" && cpio -idmu --quiet) ;;
    esac 2>/dev/null || continue
    agent=(python3 -IBSc "$run" "$1/usr/lib/rolecall/site")
    ! "${agent[@]}" --version >/dev/null 2>&1 || return 0
  done
  for words in ${CHECKOUT:+"$CHECKOUT/.venv/bin/rolecall"} rolecall; do
    agent=("$words")
    ! "${agent[@]}" --version >/dev/null 2>&1 || return 0
  done
  return 1
}

# --- where it is written ------------------------------------------------------------------------------------------

# check_place PATH MEGABYTES: whether there is a folder for it that can be written, with about so much room
check_place() {
  local folder=$1 free
  while [[ ! -e $folder ]]; do folder=$(dirname "$folder"); done
  if [[ ! -d $folder || ! -w $folder ]]; then
    mistake "$1 cannot be written: $folder is no folder that this user may write to"
    return
  fi
  free=$(df -Pm "$folder" | awk 'NR == 2 { print $4 }')
  ((free >= $2)) || mistake "$folder has $free MB free, and about $2 MB are written there"
}
