# shellcheck shell=bash disable=SC2034 # What is set here is read by the scripts that source it.
# Shared by the scripts next to this file: messages, the list of engines, where a server's programs are found, and
# processes.
# It is sourced, it never runs on its own.

readonly all_engines=(sqlite mysql mariadb postgres)

# By this variable bash ends where a redirection fails, and the tools take `--` behind an operand for a file. It is none of these scripts'
# business, and with-servers gives it back to its command.
posix_mode=()
if [[ -v POSIXLY_CORRECT ]]; then
    posix_mode=("POSIXLY_CORRECT=$POSIXLY_CORRECT")
    unset POSIXLY_CORRECT
    # Which stays when the variable goes.
    shopt -u inherit_errexit
fi

# ---------------------------------------------------------------------------------------------------------------------
# Messages. Fact, cause and hint stand on lines of their own; standard output is left to data.

say() {
    printf '%s\n' "$*" >&2
}

# fail FACT [HINT]
fail() {
    printf 'error: %s\n' "$1" >&2
    [[ $# -lt 2 ]] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# usage_error FACT: wants a function `usage` in the script that sources this file.
usage_error() {
    printf 'error: %s\n\n' "$1" >&2
    usage >&2
    exit 2
}

# seconds_between START END: both as EPOCHREALTIME gives them, which writes the locale's decimal separator.
seconds_between() {
    local milliseconds=$(((${2//[!0-9]/} - ${1//[!0-9]/}) / 1000))
    printf '%d.%d s' $((milliseconds / 1000)) $((milliseconds % 1000 / 100))
}

# A standard stream that the caller closed would be taken by the next file that is opened.
open_closed_streams() {
    [[ -e /proc/$$/fd/0 ]] || exec 0</dev/null
    [[ -e /proc/$$/fd/1 ]] || exec 1>/dev/null
    [[ -e /proc/$$/fd/2 ]] || exec 2>/dev/null
}

# ---------------------------------------------------------------------------------------------------------------------
# Engines.

server_title() {
    case $1 in
        mysql) printf 'MySQL' ;;
        mariadb) printf 'MariaDB' ;;
        postgres) printf 'PostgreSQL' ;;
        *) printf '%s' "$1" ;;
    esac
}

url_variable() {
    # In a Turkish locale the capital of `i` is another letter than in this name.
    local LC_ALL=C
    printf 'FRESHDB_%s_URL' "${1^^}"
}

has_url() {
    local variable
    variable=$(url_variable "$1")
    [[ -n ${!variable:-} ]]
}

# choose_engine NAME: adds one to `chosen_engines`.
chosen_engines=()
choose_engine() {
    local engine
    for engine in "${chosen_engines[@]}"; do
        [[ $engine != "$1" ]] || return 0
    done
    for engine in "${all_engines[@]}"; do
        if [[ $engine == "$1" ]]; then
            chosen_engines+=("$engine")
            return 0
        fi
    done
    usage_error "unknown engine \`$1\` (known: ${all_engines[*]})"
}

choose_all_engines_unless_chosen() {
    [[ ${#chosen_engines[@]} -gt 0 ]] || chosen_engines=("${all_engines[@]}")
}

# ---------------------------------------------------------------------------------------------------------------------
# Places.

# Root's cache is /var/cache and not /root/.cache: the servers run as an unprivileged user, which cannot enter /root.
cache_directory() {
    # A relative one is to be ignored, says the XDG Base Directory Specification.
    if [[ ${XDG_CACHE_HOME:-} == /* ]]; then
        printf '%s/freshdb' "$XDG_CACHE_HOME"
    elif [[ $EUID -eq 0 ]]; then
        printf '/var/cache/freshdb'
    else
        # A tilde still finds the home directory when HOME is unset.
        local home=~
        printf '%s/.cache/freshdb' "$home"
    fi
}

make_cache_directory() {
    local directory
    directory=$(cache_directory)
    (umask 022 && mkdir -p -- "$directory") || fail "cannot create the cache directory \`$directory\`" \
        "set XDG_CACHE_HOME to a directory that can be written"
}

# Reads what cargo says in JSON, and says where the command `freshdb` is: cargo's configuration may have put it anywhere.
built_command() {
    sed -n 's|.*"executable":"\([^"]*/freshdb\)".*|\1|p'
}

# ---------------------------------------------------------------------------------------------------------------------
# Finding a server and the programs that belong to it. What the machine has comes first, then what install-servers
# unpacked in the cache. A server without its tools counts as missing: it could not be initialised or asked.

declare -A server_program=()     # the server itself
declare -A server_client=()      # the program that connects to it
declare -A server_initialiser=() # the program that creates a data directory
declare -A server_version=()     # as the program says it, down to the packager's revision

# find_server ENGINE: fills the arrays above, or returns 1.
find_server() {
    local engine=$1 candidate
    while IFS= read -r candidate; do
        [[ -x $candidate && ! -d $candidate ]] || continue
        if accept_server "$engine" "$(realpath -- "$candidate")"; then
            return 0
        fi
    done < <(server_candidates "$engine")
    return 1
}

server_candidates() {
    local cache
    cache=$(cache_directory)
    case $1 in
        mysql)
            type -P mysqld || true
            printf '%s\n' /usr/sbin/mysqld /usr/libexec/mysqld /usr/local/mysql/bin/mysqld
            newest_first "$cache"/mysql-*/usr/sbin/mysqld
            ;;
        mariadb)
            type -P mariadbd mysqld || true
            printf '%s\n' /usr/sbin/mariadbd /usr/sbin/mysqld /usr/libexec/mariadbd
            newest_first "$cache"/mariadb-*/usr/sbin/mariadbd
            ;;
        postgres)
            type -P postgres || true
            newest_first /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres
            newest_first "$cache"/postgres-*/usr/lib/postgresql/*/bin/postgres
            ;;
    esac
}

newest_first() {
    printf '%s\n' "$@" | sort --version-sort --reverse
}

# accept_server ENGINE PROGRAM
accept_server() {
    local engine=$1 program=$2 banner client initialiser
    banner=$("$program" --version 2>&1 </dev/null) || fail \
        "\`$program --version\` failed: ${banner:-it printed nothing}" \
        "repair or remove that program, or set $(url_variable "$engine") to a server of your own"
    # MariaDB still installs itself under MySQL's names, and its banner is what tells the two apart.
    case $engine in
        mysql)
            [[ $banner == *" Ver "* && $banner != *MariaDB* ]] || return 1
            client=$(find_tool "$program" mysql) || return 1
            [[ $("$client" --version 2>&1 </dev/null) != *MariaDB* ]] || return 1
            find_tool "$program" mysqldump >/dev/null || return 1
            initialiser=$program
            ;;
        mariadb)
            [[ $banner == *" Ver "*MariaDB* ]] || return 1
            client=$(find_tool "$program" mariadb mysql) || return 1
            find_tool "$program" mariadb-dump >/dev/null || return 1
            initialiser=$(find_tool "$program" mariadb-install-db mysql_install_db) || return 1
            ;;
        postgres)
            [[ $banner == *PostgreSQL* ]] || return 1
            client=$(find_tool "$program" psql) || return 1
            find_tool "$program" pg_dump >/dev/null || return 1
            initialiser=$(find_tool "$program" initdb) || return 1
            ;;
    esac
    server_program[$engine]=$program
    server_client[$engine]=$client
    server_initialiser[$engine]=$initialiser
    server_version[$engine]=$(version_in_banner "$engine" "$banner")
}

# find_tool SERVER NAME...: the first of the names that belongs to the server's installation, else one on PATH.
find_tool() {
    local directory=${1%/*} name place
    shift
    for name in "$@"; do
        for place in "$directory" "${directory%/*}/bin" "${directory%/*}/scripts"; do
            if [[ -x $place/$name ]]; then
                printf '%s\n' "$place/$name"
                return 0
            fi
        done
        type -P "$name" && return 0
    done
    return 1
}

version_in_banner() {
    local engine=$1 banner=$2
    case $engine in
        postgres) banner=${banner#*"(PostgreSQL) "} ;;
        *)
            banner=${banner#*" Ver "}
            banner=${banner%% *}
            ;;
    esac
    printf '%s' "$banner"
}

# A program stands in bin, sbin or libexec of the directory that its server calls the base.
base_directory_of() {
    local directory=${1%/*}
    printf '%s' "${directory%/*}"
}

# ---------------------------------------------------------------------------------------------------------------------
# Processes that end with this one. The kernel sends them a signal when their parent dies, however it dies. It forgets
# to do so when the process changes its user afterwards, so setpriv changes the user first and asks for the signal
# second. A parent that died before that is noticed by the guard, for the process then has another parent.

# shellcheck disable=SC2016 # The guard expands its own variables.
readonly guard='[[ $PPID -eq $1 ]] || exit 1; shift; exec "$@"'

# set_tied_command PROGRAM [ARGUMENT]...: sets `tied_command`, to be started in the background by the calling shell, as
# the user in `as_server_user`. What the caller's environment would change in a server or a client is left behind.
set_tied_command() {
    tied_command=(setpriv --pdeathsig KILL "${as_server_user[@]}" -- bash -c "ulimit -c 0; $guard" guard "$BASHPID"
        "${clean_environment[@]}" "$@")
}

# set_clean_environment HOME
set_clean_environment() {
    clean_environment=(env --ignore-environment "PATH=$PATH" LC_ALL=C.UTF-8 "HOME=$1" "TMPDIR=$1")
    [[ -z ${TZ:-} ]] || clean_environment+=("TZ=$TZ")
    [[ -z ${LD_LIBRARY_PATH:-} ]] || clean_environment+=("LD_LIBRARY_PATH=$LD_LIBRARY_PATH")
}

# ---------------------------------------------------------------------------------------------------------------------
# Waiting. While bash waits for a child it may lose things (seen with 5.2): a Ctrl-C that the child does not die of, and
# the exit code of a child that ends in the moment in which a signal comes, which it then takes for a running one and
# would wait for for ever. Neither happens when it reads. So processes are looked at until they have ended, and only
# those that have are waited for.

# pause SECONDS
pause() {
    [[ -n ${silence:-} ]] || exec {silence}<> <(:)
    read -r -t "$1" -u "$silence" || true
}

is_running() {
    kill -0 "$1" 2>/dev/null
}

# await_end PROCESS [SECONDS]: for as long as it takes, or returns 1.
await_end() {
    local deadline=$((SECONDS + ${2:-0}))
    while is_running "$1"; do
        [[ $# -eq 1 || $SECONDS -lt $deadline ]] || return 1
        pause 0.01
    done
}

# set_exit_code PROCESS: sets `exit_code` to that of an ended child, to nothing when bash has lost it.
set_exit_code() {
    local still_running
    still_running=$(jobs -rp)
    exit_code=
    [[ $'\n'$still_running$'\n' != *$'\n'$1$'\n'* ]] || return 0
    exit_code=0
    wait "$1" || exit_code=$?
} 2>/dev/null # What bash itself would say about a process that died of a signal is in the code.

# ending_of CODE: in words.
ending_of() {
    if [[ -z $1 ]]; then
        printf 'an unknown exit code'
    elif [[ $1 -gt 128 ]]; then
        printf 'SIG%s' "$(kill -l "$1")"
    else
        printf 'exit code %d' "$1"
    fi
}
