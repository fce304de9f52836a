# shellcheck shell=bash disable=SC2034,SC2154 # It shares its variables with the script that sources it.
# The directory of one run of keep-servers, and the user whose it is. It is sourced after lib.sh, it never runs on its
# own.

# ---------------------------------------------------------------------------------------------------------------------
# The user that the servers run as. MySQL and PostgreSQL refuse to be root.

as_server_user=()
server_user_id=$EUID

choose_server_user() {
    [[ $EUID -eq 0 ]] || return 0
    local user
    for user in postgres mysql nobody; do
        if server_user_id=$(id -u "$user" 2>/dev/null) && [[ $server_user_id -ne 0 ]]; then
            as_server_user=("--reuid=$server_user_id" "--regid=$(id -g "$user")" --clear-groups)
            return 0
        fi
    done
    fail "there is no unprivileged user to run the servers as" "run this as a user other than root"
}

server_user_can() {
    setpriv "${as_server_user[@]}" -- test "$@"
}

check_that_server_user_can_run() {
    local program=${server_program[$1]}
    server_user_can -x "$program" || fail "user $server_user_id cannot execute \`$program\`" \
        "set XDG_CACHE_HOME to a directory that every user can enter, and run scripts/install-servers again"
}

# ---------------------------------------------------------------------------------------------------------------------
# The run's directory. Its name tells whose it is (process, that process's start time, its process namespace), so
# whoever finds it later can tell whether that run still lives.

readonly run_directory_name=freshdb-servers
readonly least_memory_bytes=$((1024 * 1024 * 1024))
run_directory=

make_run_directory() {
    local base
    while IFS= read -r base; do
        run_directory=$(mktemp -d -- \
            "$base/$run_directory_name.$$.$(start_time_of $$).$(process_namespace).XXXXXX" 2>/dev/null) || continue
        if [[ $EUID -eq 0 ]]; then
            chown "$server_user_id" -- "$run_directory"
        fi
        server_user_can -w "$run_directory" && return 0
        rmdir -- "$run_directory"
    done < <(memory_directory && disk_directories)
    run_directory=
    fail "there is no directory for the servers' data: neither /dev/shm nor \`${TMPDIR:-/tmp}\` can be used" \
        "set TMPDIR to a directory that user $server_user_id can write to"
}

memory_directory() {
    local free
    free=$(df --output=avail --block-size=1 /dev/shm 2>/dev/null | tail -n 1) || free=0
    [[ ${free:-0} -le $least_memory_bytes || $(stat -f -c %T /dev/shm) != tmpfs ]] || printf '/dev/shm\n'
}

disk_directories() {
    realpath --canonicalize-missing -- "${TMPDIR:-/tmp}" /tmp
}

start_time_of() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The name in the second field may hold blanks and brackets, so counting begins after its end.
    local -a fields
    read -r -a fields <<<"${stat##*) }"
    printf '%s' "${fields[19]}"
}

process_namespace() {
    local namespace
    namespace=$(readlink /proc/self/ns/pid)
    printf '%s' "${namespace//[!0-9]/}"
}

remove_directories_of_dead_runs() {
    local base directory
    while IFS= read -r base; do
        for directory in "$base/$run_directory_name".*; do
            if [[ -d $directory && ! -L $directory ]] && is_ours "$directory" && is_of_dead_run "$directory"; then
                rm -rf -- "$directory" || say "warning: \`$directory\` of a dead run could not be removed"
            fi
        done
    done < <({ printf '/dev/shm\n' && disk_directories; } | awk '!seen[$0]++')
}

is_ours() {
    local owner
    owner=$(stat -c %u -- "$1") || return 1
    [[ $owner -eq $EUID || $owner -eq $server_user_id ]]
}

is_of_dead_run() {
    local process start namespace rest
    IFS=. read -r process start namespace rest <<<"${1##*/"$run_directory_name".}"
    # A process of another container cannot be looked up from here, so its directory is left to it.
    [[ -n $rest && $namespace == "$(process_namespace)" ]] || return 1
    [[ $(start_time_of "$process") != "$start" ]]
}

# Whatever was killed a moment ago may still write to the directory.
remove_run_directory() {
    local deadline=$((SECONDS + 5)) complaint
    until complaint=$(rm -rf -- "$run_directory" 2>&1); do
        if [[ $SECONDS -ge $deadline ]]; then
            say "error: failed to remove \`$run_directory\`: $complaint"
            return 1
        fi
        pause 0.02
    done
}
