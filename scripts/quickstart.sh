#!/usr/bin/env bash
# quickstart.sh: from a fresh checkout to a cited answer in one command.
#
#   scripts/quickstart.sh                     ingest this project's own documentation and ask about it
#   scripts/quickstart.sh PATH [QUESTION]     ingest a file or folder of yours (txt, md, html, pdf, docx, ...), ask
#   scripts/quickstart.sh --stop              stop everything it started (the data stays)
#   scripts/quickstart.sh --help
#
# Installs what is missing (Debian packages), builds, starts a private redis-server (append-only file
# on), rag-api and rag-worker, ingests, asks. Safe to run again: what is installed, built or running is
# used as it is. All state is in one folder: $RAG_STATE, by default .state in this checkout; delete it
# (after --stop) to begin anew. RAG_PORT is the API's port, by default the first free one from 8000 on.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
state=$(realpath -m "${RAG_STATE:-$root/.state}")
bin=$root/build/release/bin

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }

# pid_of NAME PROGRAM: the pid in $state/NAME.pid, if that process is still the program we started.
pid_of() {
	local pid exe
	[ -s "$state/$1.pid" ] || return 1
	pid=$(cat "$state/$1.pid")
	exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
	case $(basename "${exe% (deleted)}") in
	"$2"*) printf '%s' "$pid" ;;
	*) return 1 ;;
	esac
}

# stop_one NAME PROGRAM: SIGTERM, then wait for the end, up to 60 s.
stop_one() {
	local pid i
	pid=$(pid_of "$1" "$2") || { rm -f "$state/$1.pid"; return 0; }
	kill -TERM "$pid" 2>/dev/null || true
	for ((i = 0; i < 600; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	! kill -0 "$pid" 2>/dev/null || die "$1 (pid $pid) does not stop; see $state/$1.log"
	rm -f "$state/$1.pid"
	say "stopped $1"
}

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
	local port=$1
	while port_taken "$port"; do
		port=$((port + 1))
		[ "$port" -lt $(($1 + 200)) ] || die "no free port from $1 on"
	done
	printf '%s' "$port"
}

# http_ok HOST:PORT PATH: true when the answer is 200.
http_ok() (
	exec 3<>"/dev/tcp/${1%:*}/${1#*:}" || exit 1
	printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
	read -r -t 5 line <&3 && [[ $line == *" 200 "* ]]
) 2>/dev/null

# wait_for SECONDS NAME COMMAND...: until the command succeeds; shows the end of NAME's log otherwise.
wait_for() {
	local tries=$(($1 * 10)) name=$2 i
	shift 2
	for ((i = 0; i < tries; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	tail -n 5 "$state/$name.log" >&2 || true
	die "$name did not come up; its log is $state/$name.log"
}

start_redis() {
	local socket=$state/redis.sock
	if ! pid_of redis redis >/dev/null; then
		rm -f "$socket"
		redis-server --port 0 --unixsocket "$socket" --unixsocketperm 700 --dir "$state/redis" \
			--appendonly yes --appendfsync everysec --save '' --maxmemory-policy noeviction \
			>>"$state/redis.log" 2>&1 </dev/null 9>&- &
		echo $! >"$state/redis.pid"
	fi
	wait_for 30 redis redis-cli -s "$socket" ping
	say "Redis     $socket (private, append-only file on)"
}

# start_daemon NAME PROGRAM: also restarts one whose executable was built after its start.
start_daemon() {
	if pid_of "$1" "$2" >/dev/null; then
		[ "$bin/$2" -nt "$state/$1.pid" ] || return 0
		say "$2 was built anew, restarting it"
		stop_one "$1" "$2" >/dev/null
	fi
	"$bin/$2" >>"$state/$1.log" 2>&1 </dev/null 9>&- &
	echo $! >"$state/$1.pid"
}

# The ports are chosen when nothing of ours runs, and kept until then.
choose_settings() {
	if [ -s "$state/env" ] && { pid_of api rag-api || pid_of worker rag-worker; } >/dev/null; then
		return 0
	fi
	{
		printf 'export API_LISTEN=127.0.0.1:%s\n' "$(free_port "${RAG_PORT:-8000}")"
		printf 'api_metrics=127.0.0.1:%s\n' "$(free_port 8089)"
		printf 'worker_metrics=127.0.0.1:%s\n' "$(free_port 8290)"
		printf 'export REDIS_URL=%q DATA_DIR=%q\n' "unix://$state/redis.sock" "$state/data"
	} >"$state/env"
}

case ${1:-} in
--help | -h)
	usage
	exit 0
	;;
--stop)
	[ -d "$state" ] || exit 0
	exec 9>"$state/lock"
	flock -w 60 9 || die "another quickstart is at work on $state"
	stop_one api rag-api
	stop_one worker rag-worker
	stop_one redis redis
	exit 0
	;;
-*)
	usage >&2
	exit 2
	;;
esac
[ $# -le 2 ] || { usage >&2; exit 2; }

if [ $# -ge 1 ]; then
	[ -e "$1" ] || die "there is no file or folder '$1'"
	paths=("$(realpath "$1")")
	question=${2:-}
else
	paths=("$root/README.md" "$root/docs")
	question="What happens to a job when its worker is killed?"
fi

mkdir -p "$state/redis" "$state/data"
chmod 700 "$state"
[ ${#state} -le 90 ] || die "the path of the state folder is too long for a socket: $state"
exec 9>"$state/lock"
flock -w 600 9 || die "another quickstart is at work on $state"
began=$SECONDS

step "install and build"
"$root/scripts/build.sh"

step "start"
start_redis
choose_settings
# shellcheck disable=SC1091
. "$state/env"
# shellcheck disable=SC2154 # choose_settings wrote it to the file
METRICS_LISTEN=$api_metrics start_daemon api rag-api
# shellcheck disable=SC2154
METRICS_LISTEN=$worker_metrics start_daemon worker rag-worker
export RAG_URL=http://$API_LISTEN
wait_for 30 api http_ok "$api_metrics" /health/ready
wait_for 30 worker http_ok "$worker_metrics" /health/ready
say "API       $RAG_URL"
say "health    http://$api_metrics/health (rag-api), http://$worker_metrics/health (rag-worker)"

step "ingest ${paths[*]}"
"$bin/ragctl" ingest "${paths[@]}"

if [ -n "$question" ]; then
	step "ask: $question"
	"$bin/ragctl" query "$question"
fi

step "ready after $((SECONDS - began)) s"
cat <<END
ask more    RAG_URL=$RAG_URL $bin/ragctl query "your question"
add files   RAG_URL=$RAG_URL $bin/ragctl ingest PATH
plain HTTP  curl -s -H 'Prefer: wait=10' -H 'Content-Type: application/json' \\
                 -d '{"query":"your question"}' $RAG_URL/api/v1/collections/default/query
logs, data  $state
stop        $0 --stop
END
