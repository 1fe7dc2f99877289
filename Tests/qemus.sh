#!/bin/sh
# Prepares roots of other Debian releases with the QEMUs of those, for the live tests:
#   Tests/qemus.sh DIRECTORY [RELEASE...]
# Each becomes DIRECTORY/RELEASE, about 250 MiB. What is there is left as it is, what was broken off is made anew. Needs root and debootstrap;
# packages come from where this machine's own apt gets them, or from MIRROR and SECURITY_MIRROR.
set -eu
directory=${1:?'usage: qemus.sh DIRECTORY [RELEASE...]'}
shift
# QEMU 5.2, 10.0 and 11.1; 7.2 is bookworm's.
test $# -gt 0 || set -- bullseye trixie sid
mkdir -p "$directory"
directory=$(realpath "$directory")

sources() { apt-get indextargets --format '$(REPO_URI)' | sort -u | grep -E "/$1/?\$" | head -n 1 | sed 's,/$,,'; }

prepare() {
    release=$1 root=$directory/$1 new=$directory/.$1.new
    if test -x "$root/usr/bin/qemu-system-x86_64"; then
        echo "$release: $(chroot "$root" qemu-system-x86_64 --version | head -n 1), is there"
        return
    fi
    if test "$(id -u)" != 0; then echo "$release: only root can prepare it" >&2; return 1; fi
    command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends debootstrap
    mirror=${MIRROR:-$(sources debian)} security=${SECURITY_MIRROR:-$(sources debian-security)}
    test -n "$mirror" || { echo 'No Debian mirror among the sources of apt; set MIRROR.' >&2; return 1; }
    # A release that is newer than this machine's debootstrap is made as sid is.
    script=
    test -e "/usr/share/debootstrap/scripts/$release" || script=/usr/share/debootstrap/scripts/sid
    rm -rf "$root" "$new"
    debootstrap --variant=minbase "$release" "$new" "$mirror" $script
    # No service is started in there.
    printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
    chmod 755 "$new/usr/sbin/policy-rc.d"
    # The lists of sid are signed for a week only: an older mirror will do as well.
    printf 'APT::Install-Recommends "0";\nAcquire::Check-Valid-Until "0";\n' >"$new/etc/apt/apt.conf.d/90qemus"
    echo "deb $mirror $release main" >"$new/etc/apt/sources.list"
    if test "$release" != sid && test -n "$security"; then
        echo "deb $security $release-security main" >>"$new/etc/apt/sources.list"
    fi
    chroot "$new" apt-get -q update
    DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$new" apt-get -q -y install qemu-system-x86
    chroot "$new" apt-get clean
    rm -rf "$new"/var/lib/apt/lists/* "$new"/usr/share/doc/* "$new"/usr/share/man/*
    # Only a finished one has the name by which the tests look for it.
    mv "$new" "$root"
    echo "$release: $(chroot "$root" qemu-system-x86_64 --version | head -n 1), $(du -sxm "$root" | cut -f 1) MiB"
}

for release in "$@"; do prepare "$release"; done
