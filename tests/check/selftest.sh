#!/usr/bin/env bash
# selftest.sh CHECK: shows that a check can fail. For each case a small tree is made; `good` must pass, `bad` must be found.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
check=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cases=0

fresh() {
	rm -rf "$tree"
	mkdir -p "$tree"/{api,common/base,common/scripts,jobs/{spec,store,step,provider},worker,cron,cli,tests/unit}
	cp "$here"/../../.clang-{format,tidy} "$tree/"
	printf '#ifndef A_H\n#define A_H\n\nint a(void);\n\n#endif\n' >"$tree/common/base/a.h"
	for dir in api common jobs jobs/spec jobs/store worker cron cli; do cp "$tree/common/base/a.h" "$tree/$dir/b.h"; done
}

verdict() { # verdict <expected exit code> <name>
	local code=0
	"$here/$check.sh" "$tree" >"$tree/.out" 2>&1 || code=$?
	if [ $code -eq 77 ]; then
		cat "$tree/.out"
		exit 77
	fi
	if [ $code -ne "$1" ]; then
		echo "case '$2': exit $code, expected $1"
		cat "$tree/.out"
		exit 1
	fi
	cases=$((cases + 1))
}

# good|bad <path> <content>: one file in an otherwise clean tree
good() { fresh; printf '%b' "$2" >"$tree/$1"; verdict 0 "good $1: $2"; }
bad() {
	fresh
	printf '%b' "$2" >"$tree/$1"
	verdict 1 "bad $1: $2"
	grep -q "^$1" "$tree/.out" || { echo "case 'bad $1': the file is not named"; cat "$tree/.out"; exit 1; }
}

case $check in
layers)
	good common/base/x.c '#include <errno.h>\n#include "common/base/a.h"\n'
	good common/x.c '#include "common/base/a.h"\n#include "common/b.h"\n'
	good api/x.c '#include "api/b.h"\n#include "jobs/spec/b.h"\n#include "common/b.h"\n'
	good worker/x.c '#include "jobs/b.h"\n#include "jobs/store/b.h"\n'
	good cron/x.c '#include "jobs/store/b.h"\n'
	good tests/unit/x.c '#include "api/b.h"\n#include "worker/b.h"\n'
	bad common/base/x.c '#include "common/b.h"\n'
	bad common/x.c '#include "jobs/spec/b.h"\n'
	bad common/x.h '  #  include   "api/b.h"\n'
	bad jobs/spec/x.c '#include "jobs/b.h"\n'
	bad jobs/store/x.c '#include "jobs/b.h"\n'
	bad jobs/step/x.c '#include "worker/b.h"\n'
	bad api/x.c '#include "jobs/b.h"\n'
	bad api/x.c '#include "worker/b.h"\n'
	bad worker/x.c '#include "api/b.h"\n'
	bad cron/x.c '#include "jobs/b.h"\n'
	bad cli/x.c '#include "jobs/spec/b.h"\n'
	bad common/x.c '#include "b.h"\n'
	bad common/x.c '#include "../common/b.h"\n'
	bad common/x.c '#include "common/../api/b.h"\n'
	bad common/x.c '#include <common/b.h>\n'
	bad tests/unit/x.c '#include "gone/b.h"\n'
	;;
doors)
	good common/redis.c '#include <hiredis/hiredis.h>\n#include <sys/socket.h>\n'
	good jobs/store/sqlite_vector.c '#include <sqlite3.h>\n'
	good tests/unit/x.c '#include <jansson.h>\n#include <cmocka.h>\n'
	for header in civetweb.h hiredis/hiredis.h curl/curl.h msgpack.h yaml.h jansson.h zstd.h openssl/evp.h sqlite3.h libxml/parser.h; do
		bad common/x.c "#include <stdio.h>\n#include <$header>\n"
		bad common/redis.h "# include <$header>\n"
	done
	bad common/http_client.c '#include <hiredis/hiredis.h>\n'
	bad jobs/step/x.c '#include <sqlite3.h>\n'
	bad common/x.c '#include <unknown.h>\n'
	;;
status_writer)
	good common/x.c 'const char *a = "HGETALL", *b = "GET", *c = "settings", *d = "DELETE", *e = "del"; /* "HSET" */\n// "XADD"\n'
	good common/queue.c 'call("XREADGROUP", "GROUP");\n'
	good common/cache.c 'call("SET", key);\n'
	good common/scripts/x.lua 'redis.call("HSET", KEYS[1], "status", "queued")\n'
	good tests/unit/x.c 'call("HSET");\n'
	for command in HSET hset XADD XACK XDEL HINCRBY ZADD ZREM DEL SET PUBLISH EVAL; do
		bad common/x.c "int x;\ncall(r, \"$command\", key);\n"
		bad api/x.c "call(r, \"$command %s status queued\", key);\n"
	done
	bad common/queue.c 'call("HSET", key);\n'
	bad common/cache.c 'call("HSET", key);\n'
	bad worker/x.c 'const char *text = "return redis.call(KEYS[1])";\n'
	bad worker/x.lua 'return 1\n'
	;;
format)
	good common/x.c 'int\na(void)\n{\n\treturn 1;\n}\n'
	bad common/x.c 'int a(void) { return 1; }\n'
	bad tests/unit/x.c 'int\na(void)\n{\n  return 1;\n}\n'
	;;
function_size)
	body() { for _ in $(seq "$1"); do printf '\tx++;\\n'; done; }
	good common/x.c "static void\nf(int x)\n{\n$(body 77)}\n"
	bad common/x.c "static void\nf(int x)\n{\n$(body 79)}\n"
	bad tests/unit/x.c "static void\nf(int x)\n{\n$(body 79)}\n"
	;;
traps)
	trap_tree() { # trap_tree <expected exit code> <cell of tests>
		fresh
		mkdir -p "$tree/docs"
		printf 'cmocka_unit_test(one),\n\tTEST(two),\n' >"$tree/tests/unit/test_x.c"
		printf 'FAULTS = {"a fault": 1}\n' >"$tree/tests/unit/faults.py"
		printf "# T\n\n## Before\n\n| a | b |\n|---|---|\n| x | \`gone\`: \`gone\` |\n\n## Traps of other people's servers\n\n| trap | test |\n|---|---|\n| it bites | %s |\n\n## After\n\n| x | none |\n" "$2" >"$tree/docs/testing.md"
		verdict "$1" "$2"
	}
	trap_tree 0 '`test_x`: `one`'
	trap_tree 0 '`test_x`: `two`, `one`; `faults.py`: `a fault`'
	trap_tree 1 '`test_x`: `on`'
	trap_tree 1 '`test_x`: `one`, `three`'
	trap_tree 1 '`test_y`: `one`'
	trap_tree 1 '`test_x`: `one`; `faults.py`: `another`'
	trap_tree 1 '`test_x`'
	trap_tree 1 'reviewed'
	fresh
	verdict 1 'no table'
	;;
words)
	good common/x.c 'char path[] = "/tmp/a.XXXXXX"; /* todo lists */\n'
	bad common/x.c '/* TODO: later */\n'
	bad common/scripts/x.lua '\055- FIXME\n'
	bad tests/unit/x.c 'int x; // XXX\n'
	;;
headers)
	good common/x.h '#include <stddef.h>\nsize_t x(void);\n'
	bad common/x.h 'size_t x(void);\n'
	bad common/x.h 'struct x {\n\tint a;\n};\n' # no guard
	bad jobs/step/x.h '#include "common/gone.h"\n'
	;;
tidy)
	good common/x.c 'int a(void);\nint\na(void)\n{\n\treturn 1;\n}\n'
	bad common/x.c '#include <stdio.h>\nvoid a(void);\nvoid\na(void)\n{\n\tprintf("x");\n\tsnprintf((char[2]){ 0 }, 2, "x");\n}\n'
	bad common/x.c 'void a(int b, int c, int d, int e, int f, int g, int h, int i);\nvoid\na(int b, int c, int d, int e, int f, int g, int h, int i)\n{\n\t(void)(b + c + d + e + f + g + h + i);\n}\n'
	bad tests/unit/x.c 'int a(int *b);\nint\na(int *b)\n{\n\tint *c = b ? 0 : b;\n\treturn *c;\n}\n'
	bad common/x.c 'int\na(void)\n{\n'
	;;
cppcheck)
	good common/x.c 'int a(void);\nint\na(void)\n{\n\treturn 1;\n}\n'
	bad common/x.c 'int a(void);\nint\na(void)\n{\n\tint b[2] = { 1, 2 };\n\treturn b[2];\n}\n'
	bad tests/unit/x.c '#include <stdlib.h>\nvoid a(void);\nvoid\na(void)\n{\n\tchar *b = malloc(3);\n\tb[0] = 1;\n}\n'
	;;
analyzer)
	good common/x.c 'int a(void);\nint\na(void)\n{\n\treturn 1;\n}\n'
	bad common/x.c '#include <stdlib.h>\nvoid a(char *b);\nvoid\na(char *b)\n{\n\tfree(b);\n\tfree(b);\n}\n'
	bad common/x.c 'int\na(void)\n{\n'
	;;
scripts)
	good tests/x.sh '#!/usr/bin/env bash\necho "$1"\n'
	bad tests/x.sh '#!/usr/bin/env bash\necho $(($b))\n'
	bad tests/x.py 'def f(:\n'
	;;
*)
	echo "no cases for '$check'" >&2
	exit 2
	;;
esac
[ "$check" = words ] || { fresh; rm -rf "${tree:?}"/*; verdict 1 "an empty tree"; }
echo "$cases cases"
