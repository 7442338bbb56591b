#!/usr/bin/env bash
# doors.sh ROOT: each third-party header is included by one file, its door (sqlite has a few, in one folder). A header that is
# neither in this table nor part of libc, POSIX or the compiler is an offence too: a new library gets a row here. Tests may
# include anything.
source "$(dirname "$0")/lib.sh"

# door <header>: a pattern of the files that may include it; "any" for system headers; nothing when unknown
door() {
	case $1 in
	civetweb.h) echo "common/http_server.c" ;;
	hiredis/*) echo "common/redis.c" ;;
	curl/*) echo "common/http_client.c" ;;
	msgpack.h | msgpack/*) echo "common/pack.c" ;;
	yaml.h) echo "common/config_yaml.c" ;;
	jansson.h) echo "common/json.c" ;;
	zstd.h) echo "common/zip.c" ;;
	openssl/*) echo "common/sha256.c" ;;
	zlib.h) echo "jobs/convert/zip_part.c" ;;
	sqlite3.h | sqlite3ext.h) echo "jobs/store/sqlite*.c" ;;
	libxml/*) [[ $file == jobs/convert/xml.c ]] && echo any || echo "jobs/step/parse_html.c" ;; # HTML and XML, a door each
	sys/* | netinet/* | arpa/* | net/* | linux/* | sanitizer/*) echo any ;;
	assert.h | complex.h | ctype.h | errno.h | fenv.h | float.h | inttypes.h | iso646.h | limits.h | locale.h | math.h) echo any ;;
	setjmp.h | signal.h | stdalign.h | stdarg.h | stdatomic.h | stdbool.h | stddef.h | stdint.h | stdio.h | stdlib.h) echo any ;;
	stdnoreturn.h | string.h | strings.h | threads.h | time.h | uchar.h | wchar.h | wctype.h) echo any ;;
	dirent.h | dlfcn.h | fcntl.h | fnmatch.h | ftw.h | getopt.h | glob.h | grp.h | iconv.h | ifaddrs.h | langinfo.h) echo any ;;
	libgen.h | malloc.h | netdb.h | poll.h | pthread.h | pwd.h | regex.h | sched.h | search.h | semaphore.h | spawn.h) echo any ;;
	sysexits.h | syslog.h | termios.h | unistd.h | utime.h | features.h | byteswap.h | endian.h) echo any ;;
	immintrin.h | cpuid.h | arm_neon.h | x86intrin.h) echo any ;;
	esac
}

looked_at=0
while read -r file; do
	looked_at=$((looked_at + 1))
	while IFS=: read -r line header; do
		[ -n "$header" ] || continue
		allowed=$(door "$header")
		if [ -z "$allowed" ]; then
			offence "$file:$line: <$header> has no door: add a row to tests/check/doors.sh"
		elif [ "$allowed" != any ]; then
			# shellcheck disable=SC2053 # a pattern is meant
			[[ $file == $allowed ]] || offence "$file:$line: <$header> belongs to its door, $allowed"
		fi
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<([^>]+)>.*/\1/;T;=;p' "$file" | paste -d: - -)
done < <(files "$product_dirs" '*.c' '*.h')
finish
