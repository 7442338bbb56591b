#!/usr/bin/env bash
# status_writer.sh ROOT: a job's status, and every key that goes with it, is written by common/scripts/*.lua only, so that a change
# is one atomic step. C code may read, call scripts, and use the few write commands of the list below.
#
# Looks for string literals that are, or begin with, a Redis command that writes. Comments do not count. Lua outside of
# common/scripts (or in a string: redis.call) is refused as well.
source "$(dirname "$0")/lib.sh"

# Names that mean nothing but Redis: any case. Words of every day: only as Redis writes them, in capitals.
clear='xadd|xack|xackdel|xdel|xdelex|xtrim|xclaim|xautoclaim|xsetid|xgroup|xreadgroup|hset|hmset|hsetnx|hincrby|hincrbyfloat|hdel|hexpire|hpexpire|hgetdel|hsetex'
clear+='|zadd|zrem|zincrby|zremrangebyscore|zremrangebyrank|zremrangebylex|zpopmin|zpopmax|zrangestore|zunionstore|zinterstore|bzpopmin|bzpopmax'
clear+='|sadd|srem|spop|smove|lpush|rpush|lpop|rpop|lset|lrem|ltrim|lmove|blpop|brpop|rpoplpush|linsert'
clear+='|setex|psetex|setnx|setrange|mset|msetnx|getset|getdel|getex|incrby|decrby|incrbyfloat|pexpire|expireat|pexpireat|renamenx|flushall|flushdb|pfadd|setbit|bitop'
words='SET|DEL|UNLINK|INCR|DECR|APPEND|EXPIRE|PERSIST|RENAME|COPY|MOVE|RESTORE|MIGRATE|PUBLISH|SORT|EVAL|EVALSHA|FCALL|SCRIPT|MULTI'

# file:COMMAND, and why it is no status
allow='
common/redis.c:EVAL      the one way into a script
common/redis.c:EVALSHA   the one way into a script
common/redis.c:SCRIPT    loads scripts
common/queue.c:XGROUP    makes the group of a stream
common/queue.c:XREADGROUP  takes a new entry; the pending list is not a status
common/cache.c:SET       answers of the cache
common/governor.c:BLPOP  waits for the end of another call
'

mapfile -t sources < <(files "$product_dirs" '*.c' '*.h' '*.def')
looked_at=${#sources[@]}
while IFS=: read -r file line command; do
	grep -qE "^$file:${command^^}( |\$)" <<<"$allow" ||
		offence "$file:$line: ${command^^} is written by common/scripts only (or needs a row in tests/check/status_writer.sh)"
done < <([ "$looked_at" -gt 0 ] && CLEAR=$clear WORDS=$words perl -e '
	for my $file (@ARGV) {
		open(my $in, "<", $file) or die "$file: $!";
		local $/;
		my ($text, $line, $last) = (scalar <$in>, 1, 0);
		# comments and character constants first, so that no quote in them opens a string
		while ($text =~ m{/\*.*?\*/|//[^\n]*|\x27(?:[^\x27\\\n]|\\.)*\x27|"((?:[^"\\]|\\.)*)"}gs) {
			my ($string, $start) = ($1, $-[0]);
			$line += substr($text, $last, $start - $last) =~ tr/\n//;
			$last = $start;
			next unless defined $string;
			print "$file:$line:$1\n" if $string =~ m{^($ENV{WORDS})(?: |$)};
			print "$file:$line:$1\n" if $string =~ m{^($ENV{CLEAR})(?: |$)}i;
			print "$file:$line:EVAL\n" if $string =~ m{redis\.p?call};
		}
	}' "${sources[@]}")
while read -r file; do
	[[ $file == common/scripts/* ]] || offence "$file: Lua lives in common/scripts"
done < <(files "$product_dirs" '*.lua')
finish
