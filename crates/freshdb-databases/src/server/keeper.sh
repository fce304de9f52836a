# shellcheck shell=sh
# Runs one program, such as a server, for as long as somebody wants it, and then removes a directory. Who wants it is either
# whoever holds the other end of its standard input, or the process of a run. Both may end in any way, SIGKILL included.
#
#   sh -c "$this" keeper DIRECTORY SIGNAL RUN [PROGRAM ARGUMENT...]
#
# SIGNAL is what ends the program at once. The program's output goes to DIRECTORY/log. RUN is the number of a descriptor for the
# process of the run (a pidfd), or empty; it is above 9, for this script has uses of its own for 3.
#
# Standard input takes the line `start`, which has the program started, the line `wait` once it has ended, and the line `keep`,
# from which on the run's process counts and standard input does not: then there is a file DIRECTORY/kept. Standard output gives `started PROCESS`, `ended CODE` and
# `kept` in answer to these, and `left` when the directory could not be removed. The program has the keeper's standard error
# as its descriptor 3 and does nothing with it: who reads that sees when it has ended.

directory=$1 signal=$2 run=$3
shift 3
program=
umask 077
# shellcheck disable=SC3045 # Every shell that is somebody's sh knows it, and without it nothing is lost.
ulimit -c 0 2>/dev/null || :
# They end the reading and the watching below, and after that there is an end to be seen to. They are not ignored, for what is
# started here would ignore them as well.
told=
trap 'told=yes' HUP INT TERM PIPE

# What the kernel says of a process, from its state on.
stat_of() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The name in the second field may hold blanks and brackets, so counting begins after its end.
    stat=${stat##*) }
}

# The process's start time: a number may be given to another process as soon as this one is gone.
start_time_of() {
    stat_of "$1" || return 0
    # shellcheck disable=SC2086 # It is taken apart.
    set -- $stat
    shift 19
    printf '%s' "$1"
}

# Whether it is there, and not only waiting for somebody to take note of its death. Where processes are hidden from each
# other, nothing is said of it.
is_dead() {
    stat_of "$1" || return 1
    case $stat in
        Z* | X*) return 0 ;;
    esac
    return 1
}

# The descriptor stands for one process, whoever gets its number later: when that is gone, the kernel says -1.
run_lives() {
    process=-1
    while read -r name value; do
        [ "$name" != Pid: ] || process=$value
    done 2>/dev/null <"/proc/$$/fdinfo/$run" || return 1
    [ "$process" -gt 0 ] && ! is_dead "$process"
}

program_lives() {
    [ -z "$program" ] || { [ "$(start_time_of "$program")" = "$start_time" ] && ! is_dead "$program"; }
}

# More than once: until a program has set itself up, it may ignore the signal. And not for ever.
end_program() {
    attempts=0
    while kill -s "$signal" "$program"; do
        attempts=$((attempts + 1))
        [ "$attempts" -lt 100 ] || signal=KILL
        sleep 0.02 || sleep 1
    done
}

while read -r order; do
    case $order in
        start)
            # Should this shell be killed, the kernel ends the program, where there is a setpriv that can ask for it. A shell
            # that died before that is noticed by the program's new parent.
            if setpriv --pdeathsig KILL true 2>/dev/null; then
                # shellcheck disable=SC2016 # For the shell that is started.
                set -- setpriv --pdeathsig "$signal" sh -c '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"' guard "$$" "$@"
            fi
            # A shell has what runs in the background ignore these two; one of them may be the signal.
            if env --default-signal=INT,QUIT true 2>/dev/null; then
                set -- env --default-signal=INT,QUIT "$@"
            fi
            exec 3>&2 2>>"$directory/log"
            "$@" </dev/null >>"$directory/log" 2>&1 &
            program=$!
            exec 3>&-
            start_time=$(start_time_of "$program")
            printf 'started %s\n' "$program"
            ;;
        wait)
            code=0
            wait "$program" || code=$?
            program=
            printf 'ended %s\n' "$code"
            ;;
        keep)
            # From here on it is this shell's word that the directory stays, whatever has become of who gave the order, and reads
            # the answer.
            trap '' PIPE
            run_lives && : >"$directory/kept" || break
            printf 'kept\n'
            # Nothing that a shell can wait for tells of the end of a process that is not its child.
            while [ -z "$told" ] && run_lives && program_lives; do
                sleep 0.2 || sleep 1
            done 2>/dev/null
            break
            ;;
    esac
done

trap '' HUP INT TERM PIPE
cd /
if [ -n "$program" ] && [ "$(start_time_of "$program")" = "$start_time" ]; then
    end_program >/dev/null 2>&1 &
    wait "$program"
fi
# What the program had started itself, in so far as it is still there.
kill -s TERM 0
# Whatever was killed a moment ago may still write to the directory.
attempts=0
until rm -rf -- "$directory" 2>/dev/null; do
    attempts=$((attempts + 1))
    if [ "$attempts" -ge 250 ]; then
        printf 'left\n'
        break
    fi
    sleep 0.02 || sleep 1
done
