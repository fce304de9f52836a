# shellcheck shell=bash disable=SC2034 # What is set here is read by the scripts that source it.
# Shared by the scripts next to this file: messages, the list of engines, and where a server's programs are found.
# It is sourced, it never runs on its own.

readonly all_engines=(sqlite mysql mariadb postgres)

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
            initialiser=$program
            ;;
        mariadb)
            [[ $banner == *" Ver "*MariaDB* ]] || return 1
            client=$(find_tool "$program" mariadb mysql) || return 1
            initialiser=$(find_tool "$program" mariadb-install-db mysql_install_db) || return 1
            ;;
        postgres)
            [[ $banner == *PostgreSQL* ]] || return 1
            client=$(find_tool "$program" psql) || return 1
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
