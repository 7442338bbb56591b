#!/usr/bin/env bash
# layers.sh ROOT: #include lines follow the house (docs/architecture.md): an arrow may include, nothing else may. Quoted paths
# start at the root; our own headers are never included with <>.
source "$(dirname "$0")/lib.sh"

# allowed <file>: the folders its includes may come from
allowed() {
	case $1 in
	common/base/*) echo "common/base" ;;
	common/*) echo "common" ;;
	jobs/spec/*) echo "jobs/spec common" ;;
	jobs/store/*) echo "jobs/store jobs/spec common" ;;
	jobs/*) echo "jobs common" ;;
	api/*) echo "api jobs/spec common" ;;
	worker/*) echo "worker jobs common" ;;
	cron/*) echo "cron jobs/spec jobs/store common" ;;
	cli/*) echo "cli common" ;;
	*) echo "." ;; # tests and benchmarks
	esac
}

looked_at=0
while read -r file; do
	looked_at=$((looked_at + 1))
	folders=$(allowed "$file")
	while IFS=: read -r line path; do
		[ -n "$path" ] || continue
		if [[ $path == ../* || $path == */../* || $path == ./* || ! -f $path ]]; then
			offence "$file:$line: \"$path\" is not a path from the root"
			continue
		fi
		ok=no
		for folder in $folders; do
			[[ $folder == . || $path == "$folder"/* ]] && ok=yes
		done
		[ $ok = yes ] || offence "$file:$line: may include from ($folders) only, not \"$path\""
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]+)".*/\1/;T;=;p' "$file" | paste -d: - -)
	while IFS=: read -r line path; do
		[ -n "$path" ] && [ -f "$path" ] && offence "$file:$line: <$path> is ours: write it with quotes"
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<([^>]+)>.*/\1/;T;=;p' "$file" | paste -d: - -)
done < <(files "$all_dirs" '*.c' '*.h')
finish
