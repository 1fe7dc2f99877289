#!/bin/sh
# Records the traces in driven/ anew, with real QEMUs that run nothing but their firmware:
#   Fixtures/record.sh [path of godwit [case...]]
# Only these cases, if any are named. With QEMU_ROOT=DIRECTORY the QEMU of that root (see Tests/qemus.sh), into driven/VERSION/.
# To be done when a change of what Godwit does is wanted; `godwit replay --drive` says which trace it concerns.
set -eu
godwit=$(realpath "${1:-.build/debug/godwit}")
test $# = 0 || shift
wanted=" $* "
root=${QEMU_ROOT:-}
here=$(realpath "$(dirname "$0")")
lab=$(mktemp -d /tmp/record-XXXXXX)
export GODWIT_CACHE_DIR="$lab/cache" GODWIT_STATE_DIR="$lab/state"
trap 'kill $(cat "$lab"/*.pid 2>/dev/null) 2>/dev/null || true; rm -rf "$lab"' EXIT
machine="-machine pc,accel=tcg -nodefaults -display none -m 32 -no-reboot -name fixture"

launch= into=$here/driven
if test -n "$root"; then
    # As the same process, with the same paths, in mounts that end with it.
    cat >"$lab/launch" <<'END'
root=$1; shift
mount --rbind /tmp "$root/tmp" && mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" && exec chroot "$root" "$@"
END
    launch="unshare --mount --propagation private sh $lab/launch $root"
    into=$here/driven/$($launch qemu-system-x86_64 --version | sed -n 's/.*version \([0-9.]*\).*/\1/p')
    mkdir -p "$into"
fi

# start NAME ARGUMENTS: a QEMU whose human monitor reads from a pipe.
start() {
    qemu=$1; shift
    rm -f "$lab/$qemu".*
    mkfifo "$lab/$qemu.monitor"
    $launch qemu-system-x86_64 $machine -qmp "unix:$lab/$qemu.qmp,server=on,wait=off" -pidfile "$lab/$qemu.pid" \
        -monitor stdio "$@" <>"$lab/$qemu.monitor" >"$lab/$qemu.log" 2>&1 &
    for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        test -S "$lab/$qemu.qmp" && test -s "$lab/$qemu.pid" && return
        sleep 0.1
    done
    echo 'QEMU did not start:' >&2; cat "$lab/$qemu.log" >&2; exit 1
}

# alone NAME COMMAND OPTIONS: what needs one QEMU.
alone() {
    name=$1; shift
    "$godwit" "$@" --quiet --trace "$lab/$name.qmptrace" >"$lab/out" 2>&1 || { cat "$lab/out" >&2; exit 1; }
    sed -e "s,$lab,/run/lab,g" -e "s,$(cat /etc/machine-id),00000000000000000000000000000000,g" "$lab/$name.qmptrace" >"$here/driven/$name.qmptrace"
    echo "$name"
}

# case NAME EXIT-CODE WORD-TO-WAIT-FOR COMMAND OPTIONS: a migration, with a command run once its trace holds the word.
case_() {
    name=$1 code=$2 word=$3 act=$4; shift 4
    if test "$name" != warm-up && test "$wanted" != '  '; then
        case $wanted in *" $name "*) ;; *) return 0 ;; esac
    fi
    start source $source_options
    start destination -S -incoming defer $destination_options
    "$godwit" migrate --source "$lab/source.qmp" --destination "$lab/destination.qmp" --quiet \
        --trace "$lab/$name.qmptrace" --policy "$policy" "$@" >"$lab/out" 2>&1 &
    pid=$!
    if test -n "$word"; then
        while ! grep -q -e "$word" "$lab/$name.qmptrace" 2>/dev/null; do sleep 0.02; done
        eval "$act"
    fi
    wait $pid && status=0 || status=$?
    kill $(cat "$lab"/*.pid 2>/dev/null) 2>/dev/null || true
    wait 2>/dev/null || true
    rm -f "$lab"/*.pid
    if test "$status" != "$code"; then echo "$name: exit code $status, not $code" >&2; cat "$lab/out" >&2; exit 1; fi
    if test "$name" != warm-up; then
        # Nobody needs to know where and on which host.
        sed -e "s,$lab,/run/lab,g" -e "s,$(cat /etc/machine-id),00000000000000000000000000000000,g" "$lab/$name.qmptrace" >"$into/$name.qmptrace"
        echo "$name"
    fi
}

# certificates DIRECTORY: an authority, a server called host.example and a client.
certificates() {
    mkdir "$1"
    key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    openssl req -x509 $key -keyout "$1/ca-key.pem" -out "$1/ca-cert.pem" -days 2 -subj /CN=fixture \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
    for end in server client; do
        printf 'subjectAltName=DNS:host.example\nextendedKeyUsage=%sAuth\nkeyUsage=critical,digitalSignature,keyEncipherment\nbasicConstraints=critical,CA:FALSE\n' \
            $end >"$1/ext"
        openssl req $key -keyout "$1/$end-key.pem" -out "$1/csr" -subj "/O=Lab/CN=$end" 2>/dev/null
        openssl x509 -req -in "$1/csr" -CA "$1/ca-cert.pem" -CAkey "$1/ca-key.pem" -CAcreateserial -out "$1/$end-cert.pem" \
            -days 2 -extfile "$1/ext" 2>/dev/null
    done
}

copying='"status":"copying"'
source_options= destination_options= policy=none
case_ warm-up 0 '' ''
case_ completed 0 '' ''
case_ completed-paused 0 '' '' --paused --keep-source
case_ cancelled 11 "$copying" 'kill -INT $pid' --bandwidth 64KiB
case_ cancelled-timeout 11 '' '' --bandwidth 64KiB --timeout 700ms
case_ completed-paused-by-timeout 0 '' '' --bandwidth 256KiB --downtime-limit 1ms --timeout 700ms --timeout-action pause-guest
cat >"$lab/policy.json" <<END
{"godwit-policy": 1, "name": "fixture", "rules": [
  {"name": "first", "on": "start", "do": [{"set-downtime": "20ms"}]},
  {"name": "enough", "on": "tick", "when": "elapsed > 600ms", "do": ["hard-switchover", {"note": "it takes too long"}]}
]}
END
policy=$lab/policy.json
case_ completed-policy 0 '' '' --bandwidth 256KiB
policy=none
case_ completed-fd 0 '' '' --uri fd:stream
mkfifo "$lab/pipe"
case_ completed-exec 0 '' '' --uri "exec:cat $lab/pipe" --connect-uri "exec:cat > $lab/pipe"
case_ completed-multifd 0 '' '' --uri tcp:127.0.0.1:0 --multifd --multifd-channels 3 --multifd-compression zstd
certificates "$lab/pki"
case_ completed-tls 0 '' '' --multifd --tls-dir "$lab/pki" --tls-hostname host.example --tls-authz 'O=Lab,CN=*' --keep-source
truncate -s 2M "$lab/own.source" "$lab/own.destination"
source_options="-drive file=$lab/own.source,format=raw,if=virtio" destination_options="-drive file=$lab/own.destination,format=raw,if=virtio"
case_ completed-storage 0 '' '' --copy-storage-all --keep-source
case_ cancelled-storage 11 'BLOCK_JOB_READY' 'kill -INT $pid' --copy-storage-all --bandwidth 64KiB
source_options= destination_options=
case_ completed-postcopy 0 '' '' --postcopy-after 700ms --bandwidth 64KiB --max-postcopy-bandwidth 20MiB
case_ completed-hook 0 '' '' --hook true
recorded() { while ! grep -q -e "$1" "$lab/$name.qmptrace" 2>/dev/null; do sleep 0.02; done; }
godwit_() { "$godwit" "$@"; }
# What follows is done by others while it runs.
case_ completed-held-set 0 '"pre-switchover"}}}' 'godwit_ set --downtime-limit 1s; godwit_ continue' --hold
case_ completed-postcopy-recovered 0 '"status":"postcopy"' "sleep 1; godwit_ pause-postcopy; recorded '\"status\":\"postcopy-paused\"'
    until godwit_ recover; do sleep 0.1; done" --postcopy-after 300ms --bandwidth 64KiB --max-postcopy-bandwidth 128KiB
source_pid='$(cat "$lab/source.pid")' destination_pid='$(cat "$lab/destination.pid")'
# A cancel and the destination's death, in both orders, before the source's QEMU has said anything of either.
case_ failed-before-cancel 10 "$copying" "kill -STOP $source_pid; kill -KILL $destination_pid; recorded '\"process\"'; kill -INT \$pid
    recorded '\"do\":\"cancel\"'; kill -CONT $source_pid" --bandwidth 64KiB
case_ cancelled-before-failure 11 "$copying" "kill -STOP $source_pid; kill -INT \$pid; recorded '\"do\":\"cancel\"'
    kill -KILL $destination_pid; recorded '\"process\"'; kill -CONT $source_pid" --bandwidth 64KiB
case_ failed-destination-killed 10 "$copying" 'kill -KILL $(cat "$lab/destination.pid")' --bandwidth 64KiB
case_ lost-source-killed 15 "$copying" 'kill -KILL $(cat "$lab/source.pid")' --bandwidth 64KiB
start source
start destination -S -incoming defer
alone completed-saved save --source "$lab/source.qmp" "$lab/guest"
alone completed-restored restore --destination "$lab/destination.qmp" "$lab/guest"
kill $(cat "$lab"/*.pid 2>/dev/null) 2>/dev/null || true
rm -f "$lab"/*.pid
# A boot sector that waits for a second by the BIOS clock and then powers the machine off by ACPI.
printf '\061\300\216\330\213\036\154\004\373\364\241\154\004\051\330\203\370\022\162\365\272\004\006\270\000\040\357\353\376' >"$lab/boot.img"
truncate -s 510 "$lab/boot.img"
printf '\125\252' >>"$lab/boot.img"
source_options="-drive file=$lab/boot.img,if=floppy,format=raw,readonly=on -boot a"
destination_options=$source_options
case_ ended-guest-shutdown 16 '' '' --bandwidth 64KiB
source_options=
destination_options='-device virtio-rng-pci'
case_ failed-other-device 10 '' ''
