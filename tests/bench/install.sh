#!/usr/bin/env bash
# Sets up what the peers of the benchmarks need, on a new Debian 12 machine too: what the interop peers need, and Proton C
# with its examples. The second run finds all in place and does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests/interop/install.sh

packages=()
[ -e /usr/include/proton/proactor.h ] || packages+=(libqpid-proton11-dev)
[ -e /usr/share/proton/examples/c/broker.c ] || packages+=(libqpid-proton11-dev-examples)
[ ${#packages[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
echo "install: installing ${packages[*]}"
if ! {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends "${packages[@]}" >/dev/null
}; then
    echo "install: could not install them; run as root: apt-get install ${packages[*]}" >&2
    exit 1
fi
