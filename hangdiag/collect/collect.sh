#!/bin/sh
# Gathers what hangdiag needs to know of a FreeBSD host with a hung bhyve guest.
# Written by hangdiag @VERSION@ (hangdiag collect). Needs nothing but the base system.
#
#   sh collect.sh [DIRECTORY]      leaves DIRECTORY/hangdiag-HOST-TIME.tar (default: /var/tmp)
#
# Run it as root. It reads only: no guest, no process and no setting is touched. Every
# command is bounded in time, since some hang on a hung host; one that cannot even be
# killed is left behind. Settings, from the environment:
#   ROUNDS    how often the threads are read (@ROUNDS@)
#   INTERVAL  seconds between two rounds (@INTERVAL@)
#   LIMIT     seconds that a command may take (@LIMIT@)

set -u
umask 077
LC_ALL=C
PATH=${HANGDIAG_PATH:-/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin}
export LC_ALL PATH

ROUNDS=${ROUNDS:-@ROUNDS@}
INTERVAL=${INTERVAL:-@INTERVAL@}
LIMIT=${LIMIT:-@LIMIT@}

say() {
	echo "collect: $*" >&2
}

for number in "$ROUNDS" "$INTERVAL" "$LIMIT"; do
	case $number in
	'' | *[!0-9]*)
		say "ROUNDS, INTERVAL and LIMIT are whole numbers, not '$number'"
		exit 2
		;;
	esac
done

place=${1:-/var/tmp}
name=hangdiag-$(hostname -s 2>/dev/null || echo host)-$(date -u +%Y%m%dT%H%M%SZ)
base=$place/$name
if ! mkdir "$base" "$base.state"; then
	say "cannot write to $place; name another directory: sh collect.sh DIRECTORY"
	exit 1
fi
log=$base/commands.txt
: >"$log"

[ "$(id -u)" = 0 ] || say "not root: stacks of other users' processes will be missing"

# Fifty looks a second where sleep(1) can do it.
tick=0.02
ticks=50
sleep $tick 2>/dev/null || {
	tick=1
	ticks=1
}
TIMEOUT=$(command -v timeout || :)

# begin FILE COMMAND...: start a command in the background, its output in FILE.
# The subshell notes its end in a file: a stuck command must never be waited for.
begin() {
	out=$1
	shift
	mark=$base.state/$out
	(
		exec </dev/null
		if [ -n "$TIMEOUT" ]; then
			"$TIMEOUT" -k 2 "$LIMIT" "$@" >"$base/$out" 2>"$mark.error" &
		else
			"$@" >"$base/$out" 2>"$mark.error" &
		fi
		child=$!
		echo "$child" >"$mark.pid"
		wait "$child"
		echo $? >"$mark.tmp"
		mv "$mark.tmp" "$mark.status"
	) >/dev/null 2>&1 &
}

# finish FILE COMMAND...: wait for it, but not longer than LIMIT and a little.
finish() {
	out=$1
	shift
	mark=$base.state/$out
	left=$(((LIMIT + 3) * ticks))
	[ -n "$TIMEOUT" ] || left=$((LIMIT * ticks))
	while [ ! -e "$mark.status" ] && [ "$left" -gt 0 ]; do
		sleep $tick
		left=$((left - 1))
	done
	if [ -e "$mark.status" ]; then
		result="exit $(cat "$mark.status")"
		[ "$result" != "exit 124" ] || result="not done after $LIMIT s"
		[ "$result" != "exit 137" ] || result="killed after $LIMIT s"
	else
		kill -KILL "$(cat "$mark.pid" 2>/dev/null)" 2>/dev/null
		result="not done after $LIMIT s, left behind"
	fi
	echo "$out: $* ($result)" >>"$log"
	[ ! -s "$mark.error" ] || sed 's/^/    /' "$mark.error" >>"$log"
	[ -s "$base/$out" ] || rm -f "$base/$out"
}

# run FILE COMMAND...: one command, bounded.
run() {
	begin "$@"
	finish "$@"
}

say "writing to $base"
run 00-uname.txt uname -a
run 01-version.txt freebsd-version -kru
run 02-host.txt sysctl kern.version kern.osreldate kern.hostname hw.model hw.ncpu hw.physmem kern.boottime vm.loadavg

round=1
while [ "$round" -le "$ROUNDS" ]; do
	say "threads, round $round of $ROUNDS"
	run "1$round-a-date.txt" date -u "+%Y-%m-%dT%H:%M:%SZ"
	run "1$round-b-procstat-kk.txt" procstat -kk -a
	run "1$round-c-ps.txt" ps -axHlww
	run "1$round-d-ps-wchan.txt" ps -axHww -o pid,lwp,state,nwchan,mwchan,tdname,comm
	run "1$round-e-procstat-t.txt" procstat -t -a
	[ "$round" -eq "$ROUNDS" ] || sleep "$INTERVAL"
	round=$((round + 1))
done

say "the host"
run 20-ps-arguments.txt ps -axww -o pid,ppid,user,state,start,time,args
run 21-top.txt top -b -H -S -d 1 200
run 22-vmm.txt sysctl hw.vmm
run 23-vm.txt sysctl vm.stats vm.swap_total vm.overcommit
run 24-dmesg.txt dmesg -a
run 25-kldstat.txt kldstat -v
run 26-pciconf.txt pciconf -lv
run 27-kenv.txt sh -c 'kenv | grep -E "^(pptdevs|hw\.vmm|vmm_load)"'
run 28-vmstat-z.txt vmstat -z
run 29-vmstat-i.txt vmstat -i
run 30-vmstat-m.txt vmstat -m
run 31-vmstat-s.txt vmstat -s
run 32-vmstat.txt vmstat 1 3
run 33-swapinfo.txt swapinfo -k
run 34-geom.txt sysctl kern.geom.conftxt
run 35-devices.txt ls -l /dev/vmm

# What may hang comes last, all at once, and nothing waits for it longer than LIMIT.
say "what may hang (at most $LIMIT s)"
begin 40-zpool.txt zpool status -v
begin 41-gstat.txt gstat -b
vms=
for device in "${HANGDIAG_VMM:-/dev/vmm}"/*; do
	[ -e "$device" ] || continue
	vm=${device##*/}
	case $vm in
	*[!A-Za-z0-9_.-]*) continue ;;
	esac
	vms="$vms $vm"
	begin "50-bhyvectl-$vm.txt" bhyvectl --get-stats --vm="$vm"
done
finish 40-zpool.txt zpool status -v
finish 41-gstat.txt gstat -b
for vm in $vms; do
	finish "50-bhyvectl-$vm.txt" bhyvectl --get-stats --vm="$vm"
done

# by name, so that the rounds stand in their order
if ! (cd "$place" && tar -cf "$name.tar" "$name"/*); then
	say "tar failed; the files are in $base"
	exit 1
fi
rm -rf "$base" "$base.state"
say "done; it holds names of this host and its processes. Read it with: hangdiag analyze $base.tar"
echo "$base.tar"
