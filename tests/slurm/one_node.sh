#!/usr/bin/env bash
# A Slurm of one machine, for tests: one_node.sh start | stop | status
# Needs root and the programs of Debian's packages slurm-wlm and munge. Exit status 77 says why it cannot run here.
# It writes /etc/slurm/slurm.conf (jobs look nowhere else), listens on the loopback address only, and leaves a
# configuration that it did not write alone.
set -euo pipefail

conf=/etc/slurm/slurm.conf
mark="# written by tests/slurm/one_node.sh"
state=/run/stillhouse-slurm
PATH=$PATH:/usr/sbin:/sbin

cannot() {
    echo "Slurm cannot start here: $1" >&2
    exit 77
}

ours() { [ -e "$conf" ] && grep -qxF "$mark" "$conf"; }

is_up() { ours && [[ "$(sinfo --noheader --format=%T 2>/dev/null)" =~ ^(idle|mixed|allocated|completing)$ ]]; }

await() { # await SECONDS COMMAND...: until it succeeds
    local tries=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.2
    done
}

start_munge() {
    munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return
    install -d -o munge -g munge -m 0755 /run/munge
    install -d -o munge -g munge -m 0700 /var/lib/munge /var/log/munge
    [ -s /etc/munge/munge.key ] || {
        (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
        chown munge:munge /etc/munge/munge.key
    }
    runuser -u munge -- munged || cannot "munged failed, see /var/log/munge"
    touch "$state/munged-is-ours"
    await 10 sh -c 'munge -n | unmunge' || cannot "munge does not answer"
}

write_conf() {
    local host cpus
    host=$(hostname -s)
    cpus=$(nproc)
    cat >"$conf" <<EOF
$mark
ClusterName=stillhouse
SlurmctldHost=$host(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/slurmd
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
# what rules ask for is not to be refused on a small machine
SlurmdParameters=config_overrides
# no control groups: works in containers too
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
# squeue shows finished jobs for this long: what Snakemake asks where there is no accounting
MinJobAge=86400
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus > 4 ? cpus : 4)) RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF
}

start() {
    is_up && return
    [ "$(id -u)" = 0 ] || cannot "only root can start its daemons"
    local program
    for program in munged munge slurmctld slurmd sinfo sbatch srun; do
        command -v "$program" >/dev/null || cannot "no $program (Debian, Ubuntu: apt-get install slurm-wlm munge)"
    done
    [ ! -e "$conf" ] || ours || cannot "this machine has a slurm.conf of its own"
    stop
    mkdir -p "$state/ctld" "$state/slurmd" "${conf%/*}"
    start_munge
    write_conf
    slurmctld -c || cannot "slurmctld failed, see $state/slurmctld.log"
    await 10 scontrol ping || cannot "slurmctld does not answer, see $state/slurmctld.log"
    slurmd || cannot "slurmd failed, see $state/slurmd.log"
    await 20 is_up || cannot "the node does not come up, see $state"
}

end_process() { # end_process PIDFILE: only a process that this script started
    local pid
    [ -e "$1" ] && pid=$(cat "$1") && [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    await 10 sh -c "! kill -0 $pid" || kill -9 "$pid" 2>/dev/null || true
    rm -f "$1"
}

stop() {
    if ours; then
        scancel --state=PENDING,RUNNING --user=root >/dev/null 2>&1 || true
        end_process "$state/slurmd.pid"
        end_process "$state/slurmctld.pid"
        rm -f "$conf"
    fi
    if [ -e "$state/munged-is-ours" ]; then
        end_process /run/munge/munged.pid
    fi
    rm -rf "$state"
}

case ${1:-} in
start) start ;;
stop) stop ;;
status) if is_up; then sinfo; else echo "no Slurm of ours is running"; exit 1; fi ;;
*) sed -n 2,5p "$0" | cut -c3-; exit 2 ;;
esac
