# shellcheck shell=bash
# The words that base.sh and roles/*.sh are written in. They hide apt and dnf; they hide no decision.
# Set by `bake`: PLATFORM (centos, debian, or a variant such as centos-mysql), DISTRIBUTION (what is before its dash),
# ROLE, KIT (the folder with these scripts), DRY_RUN (say all, do nothing).

# say WORD THING WHY: a line of the catalogue
say() {
  local line
  printf -v line '  %-8s %-31s' "$1" "$2"
  [[ -z $3 ]] || line+="  # $3"
  printf '%s\n' "${line%"${line##*[! ]}"}"
}

die() {
  printf 'bake: %s\n' "$@" >&2
  exit 1
}

# try COMMAND…: does it, unless this is a dry run
try() {
  [[ -n $DRY_RUN ]] || step "$*" "$@" || die "failed: $*" "$TOLD"
}

# here PLATFORM: whether a line is for this platform
here() { [[ $1 == any || $1 == "$PLATFORM" || $1 == "$DISTRIBUTION" ]]; }

# packages <<TABLE: a row each: its name on CentOS, its name on Debian, why; "-" where a platform has no need of it
packages() {
  local centos debian why name names=()
  while read -r centos debian why; do
    case $centos in '' | '#'*) continue ;; esac
    name=$centos
    here centos || name=$debian
    [[ $name != - ]] || continue
    say install "$name" "$why"
    names+=("$name")
  done
  [[ ${#names[@]} == 0 ]] || try install_packages "${names[@]}"
}

# enable CENTOS [DEBIAN]: a unit that every boot starts; it is not started now
enable() {
  local unit=$1
  here centos || unit=${2:-$1}
  say enable "$unit" ''
  try systemctl enable "$unit"
}

# setting PLATFORM|any WHY COMMAND…: something of the distribution's own, put right once
setting() {
  here "$1" || return 0
  say setting "${*:3}" "$2"
  try "${@:3}"
}

# place PLATFORM|any FILE WHY <<TEXT: a file with this text
place() {
  local text
  text=$(cat)
  here "$1" || return 0
  say file "$2" "$3"
  [[ -z $DRY_RUN ]] || return 0
  install -D -m 644 /dev/stdin "$2" <<<"$text"
}

# --- how each platform does it ------------------------------------------------------------------------------------

install_packages() {
  case $DISTRIBUTION in
    centos) dnf -y --setopt=install_weak_deps=False install "$@" ;;
    debian) apt-get -y -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 --no-install-recommends --fix-broken \
      install "$@" ;;
  esac
}

# what is installed: name, version, architecture, a line each
installed() {
  local rpms='%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{ARCH}\n'
  # shellcheck disable=SC2016 # these are dpkg-query's
  local debs='${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n'
  case $DISTRIBUTION in
    centos) rpm -qa --qf "$rpms" | grep -v ^gpg-pubkey ;;
    debian) dpkg-query -W -f "$debs" | sed -n 's/\tinstalled$//p' ;;
  esac
}

# where the agent's own Python packages say their names and versions
python_packages() {
  case $DISTRIBUTION in
    centos) rpm -ql rolecall ;;
    debian) dpkg-query -L rolecall ;;
  esac | grep '\.dist-info/METADATA$'
}

# --- the agent ----------------------------------------------------------------------------------------------------

# agent: the package in the kit that is for this machine's architecture
agent() {
  local found
  say install rolecall 'the agent, with its units and its own Python packages'
  [[ -z $DRY_RUN ]] || return 0
  found=$(agent_package)
  [[ -n $found ]] || die "no package of the agent for $(architecture) in $KIT/packages; name it with --package"
  try install_packages "$found"
}

agent_package() {
  find "$KIT/packages" -name "*[._]$(architecture).*" -o -name '*_all.deb' -o -name '*.noarch.rpm' | sort | head -n 1
}

# settings: /etc/rolecall, from the kit. One agent.toml serves every image of a fleet: role and platform are put before it.
settings() {
  local name
  say file /etc/rolecall/agent.toml "--settings, and before it: role = \"$ROLE\", platform = \"$PLATFORM\""
  say file /etc/rolecall/allowed_signers '--signers: whose fleet documents are believed'
  say file /etc/rolecall/seed.json '--seed: the document for a first boot when no store answers'
  [[ -z $DRY_RUN ]] || return 0
  install -d -m 755 /etc/rolecall
  { printf 'role = "%s"\nplatform = "%s"\n' "$ROLE" "$PLATFORM" && cat "$KIT/etc/agent.toml"; } |
    install -m 644 /dev/stdin /etc/rolecall/agent.toml
  for name in allowed_signers seed.json; do
    [[ ! -e $KIT/etc/$name ]] || install -m 644 "$KIT/etc/$name" "/etc/rolecall/$name"
  done
}

# catalogue: these scripts, for a baseline image: its agent runs them at the first boot
catalogue() {
  say file /usr/share/rolecall/image-build 'these scripts: with them the agent installs its role'
  [[ -z $DRY_RUN ]] || return 0
  install -d -m 755 /usr/share/rolecall/image-build/roles
  install -m 755 "$KIT/bake" /usr/share/rolecall/image-build/
  install -m 644 "$KIT/"{lib.sh,progress.sh,base.sh,manifest.py} /usr/share/rolecall/image-build/
  install -m 644 "$KIT/roles/"*.sh /usr/share/rolecall/image-build/roles/
}

# architecture: this machine's, as packages of the platform call it
architecture() {
  if here centos; then uname -m; else debian_architecture; fi
}

debian_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}
