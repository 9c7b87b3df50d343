#!/bin/sh
# Runs fuzz targets side by side for so many seconds each: fuzz/run.sh DIRECTORY SECONDS TARGET...
# The corpus of each grows in DIRECTORY from run to run. The last line tells what came of it; the status is 1 if there is a finding.
directory=$1 seconds=$2
shift 2

export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

for target; do
  corpus=$directory/corpus-$target
  mkdir -p "$corpus"
  rm -f "$directory/$target"-crash-* "$directory/$target"-timeout-* "$directory/$target"-oom-*
  dictionary=
  [ ! -e "fuzz/$target.dict" ] || dictionary=-dict=fuzz/$target.dict
  # shellcheck disable=SC2086
  FUZZ_SEEDS=$corpus "$directory/fuzz-$target" $dictionary -max_len=65536 -timeout=25 -rss_limit_mb=2048 -max_total_time="$seconds" \
    -use_value_profile=1 -close_fd_mask=1 -print_final_stats=1 -artifact_prefix="$directory/$target-" "$corpus" > "$directory/$target.log" 2>&1 &
  eval "pid_$target=$!"
done

failed='' told=''
for target; do
  eval "wait \$pid_$target" || failed="$failed $target"
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$directory/$target.log")
  told="$told${told:+, }$target ${inputs:-?} inputs"
done

for target in $failed; do
  tail -n 60 "$directory/$target.log"
  finding=$(ls "$directory/$target"-* 2> /dev/null | head -n 1)
  echo "fuzz: a finding in the target '$target'; again: $directory/fuzz-$target ${finding:-(no input was kept: see $directory/$target.log)}"
done
if [ -n "$failed" ]; then
  echo "fuzz: stopped by findings in$failed ($told)"
  exit 1
fi
times > "$directory/times"
cpu=$(awk 'NR == 2 { gsub(/[ms]/, " "); print int($1 * 60 + $2 + $3 * 60 + $4) }' "$directory/times")
echo "fuzz: no finding in $seconds seconds of each target ($cpu CPU seconds in all): $told"
