# shellcheck shell=sh
# Runs one program, such as a server, for as long as its own standard input is open, and then removes a directory. The
# process that holds the other end of that pipe may end in any way, SIGKILL included: the kernel closes the pipe.
#
#   sh -c "$this" keeper DIRECTORY SIGNAL [PROGRAM ARGUMENT...]
#
# SIGNAL is what ends the program at once. The program's output goes to DIRECTORY/log.
#
# Standard input takes the line `start`, which has the program started, and the line `wait` once it has ended. Standard output
# gives `started PROCESS` and `ended CODE` in answer to these, and `left` when the directory could not be removed. The program
# has the keeper's standard error as its descriptor 3 and does nothing with it: who reads that sees when it has ended.

directory=$1 signal=$2
shift 2
program=
umask 077
# shellcheck disable=SC3045 # Every shell that is somebody's sh knows it, and without it nothing is lost.
ulimit -c 0 2>/dev/null || :
# They end the reading below, and after that there is an end to be seen to. They are not ignored, for what is started here
# would ignore them as well.
trap : HUP INT TERM PIPE

# The process's start time: a number may be given to another process as soon as this one is gone.
start_time_of() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    # The name in the second field may hold blanks and brackets, so counting begins after its end.
    # shellcheck disable=SC2086 # It is taken apart.
    set -- ${stat##*) }
    shift 19
    printf '%s' "$1"
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
