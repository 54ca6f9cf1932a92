#!/usr/bin/env bash
# Sets up what the interop peers need, on a new Debian 12 machine too: packages that are missing, and in .interop/ a
# Python venv with the pinned versions of requirements.txt and the Node packages of package-lock.json. The second run
# finds all in place and does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
# saslpasswd2 is there, and a plain user's PATH may not be.
PATH="$PATH:/usr/sbin"

venv=.interop/venv
requirements=tests/interop/requirements.txt
itself=tests/interop/install.sh
node=.interop/node
packages_of_node=(tests/interop/package.json tests/interop/package-lock.json)

# What must work, and the Debian package that makes it work. Tested by doing and not by asking dpkg, since compilers
# and Pythons come from elsewhere too. Without libsasl2 at build time Proton builds, silently, with a stub of SASL
# that serves no PLAIN; without libsasl2-modules it finds no PLAIN to speak.
needs() {
    cat <<'TABLE'
gcc                 command -v cc
libc6-dev           printf '#include <stdio.h>\n' | cc -E - -o /dev/null
pkg-config          command -v pkg-config
libssl-dev          pkg-config --exists openssl
libsasl2-dev        pkg-config --exists libsasl2
libsasl2-modules    ls /usr/lib/*/sasl2/libplain.so
libsasl2-modules-db ls /usr/lib/*/sasl2/libsasldb.so
sasl2-bin           command -v saslpasswd2
openssl             command -v openssl
python3-venv        python3 -c 'import ensurepip, venv'
nodejs              node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'
npm                 command -v npm
chromium            command -v chromium
fonts-dejavu-core   ls /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
python3-dev         ls "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"
TABLE
}

missing() {
    while read -r package check; do
        bash -c "$check" >/dev/null 2>&1 </dev/null || echo "$package"
    done < <(needs)
}

apt_get() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"
}

packages=$(missing)
if [ -n "$packages" ]; then
    echo "install: installing" $packages
    # shellcheck disable=SC2086 -- one word a package
    if ! { apt_get update && apt_get install --yes --no-install-recommends $packages >/dev/null; }; then
        echo "install: could not install them; run as root: apt-get install" $packages >&2
        exit 1
    fi
    packages=$(missing)
    if [ -n "$packages" ]; then
        echo "install: installed, and still not usable:" $packages >&2
        exit 1
    fi
fi

stamp="$venv/installed-$(cat "$requirements" "$itself" <(python3 -VV) | sha256sum | cut -c1-16)"
if [ ! -e "$stamp" ]; then
    echo "install: making $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    # The pins hold for the environment that Proton is built in, too: older and newer pips read one name each. No cache,
    # as it may hold a Proton that was built when libsasl2-dev was not there yet.
    PIP_CONSTRAINT="$PWD/$requirements" PIP_BUILD_CONSTRAINT="$PWD/$requirements" \
        "$venv/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check --requirement "$requirements"
    "$venv/bin/python" - <<'CHECK'
from proton import SASL, SSL

assert SASL.extended() and SSL.present(), "Proton was built without Cyrus SASL or without TLS"
CHECK
    touch "$stamp"
fi

stamp="$node/installed-$(cat "${packages_of_node[@]}" "$itself" <(node --version) | sha256sum | cut -c1-16)"
if [ ! -e "$stamp" ]; then
    echo "interop: making $node"
    rm -rf "$node"
    mkdir -p "$node"
    cp "${packages_of_node[@]}" "$node"
    # No package's own install script runs: none of these has one that they need.
    npm ci --prefix "$node" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    touch "$stamp"
fi
