#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET...]]: builds the libFuzzer targets (clang, AddressSanitizer, UndefinedBehaviorSanitizer) and runs each of
# them, or those named, for SECONDS (60 unless said); prints a table. Exit code 1 when any target found something.
#   FUZZ_JOBS   targets at a time (the number of processors)
#   FUZZ_MERGE  1: afterwards add to tests/fuzz/corpus what reaches new code in at most 1,000 bytes
# What is found is in build/fuzz/found/<target>/: fix it, and put the file into tests/fuzz/corpus/<target>/, where ctest replays it.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || {
	echo "usage: $0 [SECONDS [TARGET...]]" >&2
	exit 2
}
shift $(($# > 0 ? 1 : 0))
jobs=${FUZZ_JOBS:-$(nproc)}
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
	for file in tests/fuzz/fuzz_*.c; do
		name=${file##*/fuzz_}
		targets+=("${name%.c}")
	done
fi

scripts/install-deps.sh fuzz
cmake --preset fuzz >build/fuzz.configure.log 2>&1 || {
	cat build/fuzz.configure.log
	exit 1
}
cmake --build --preset fuzz -j "$(nproc)" --target "${targets[@]/#/fuzz_}" | tail -1

work=$PWD/build/fuzz/run
seeds=$PWD/tests/fuzz/corpus

# run_target NAME: into $work/NAME.log; what it learns stays in $work/NAME for the next run
run_target() {
	local dictionary=()
	mkdir -p "$work/$1" "build/fuzz/found/$1" "$seeds/$1"
	[ ! -f "tests/fuzz/$1.dict" ] || dictionary=("-dict=tests/fuzz/$1.dict")
	build/fuzz/fuzz/fuzz_"$1" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		"${dictionary[@]}" -artifact_prefix="build/fuzz/found/$1/" "$work/$1" "$seeds/$1" >"$work/$1.log" 2>&1
}

# figure NAME KEY: the last value after "KEY: " in the log
figure() {
	grep -oE "$2: ?[0-9]+" "$work/$1.log" | tail -1 | grep -oE '[0-9]+$' || echo 0
}

mkdir -p "$work"
running=0
for target in "${targets[@]}"; do
	if [ $running -ge "$jobs" ]; then
		wait -n || true # the log tells
		running=$((running - 1))
	fi
	run_target "$target" &
	running=$((running + 1))
done
wait

found=0
printf '%-16s %12s %8s %7s %7s %7s %s\n' target executions exec/s cov ft corpus crashes
for target in "${targets[@]}"; do
	crashes=$(find "build/fuzz/found/$target" -type f -newer build/fuzz.configure.log | wc -l)
	executions=$(figure "$target" 'stat::number_of_executed_units')
	[ "$executions" -gt 0 ] || crashes=$((crashes > 0 ? crashes : 1)) # it did not even end
	found=$((found + crashes))
	printf '%-16s %12d %8d %7d %7d %7d %d\n' "$target" "$executions" $((executions / seconds)) \
		"$(figure "$target" cov)" "$(figure "$target" ft)" "$(figure "$target" corp)" "$crashes"
	if [ "${FUZZ_MERGE:-}" = 1 ] && [ "$crashes" -eq 0 ]; then
		build/fuzz/fuzz/fuzz_"$target" -merge=1 -max_len=1000 "$seeds/$target" "$work/$target" >"$work/$target.merge.log" 2>&1
	fi
done
[ $found -eq 0 ] || {
	echo "found: build/fuzz/found/"
	exit 1
}
