#!/usr/bin/env bash
# Kills trainings and transfers with SIGKILL at random moments, resumes them, and compares every file with those of a run
# that was not killed.
#
#   kills.sh PROGRAM [COUNT] [SEED]   COUNT trainings and COUNT transfers (100 of each without it) with the program `engraft`
#
# A run is killed once or twice. A kill after the end of a run does not count, and is repeated with another run.
# Exit code 0 if nothing was lost. The directory of a run that differs is kept and named.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
program=$(realpath "$1")
count=${2:-100}
RANDOM=${3:-1}
unset ENGRAFT_DATA
work=$(mktemp -d)
cd "$work"

# Pictures from the shipped generator: an NPY file of them is read in an instant, so that kills fall into the training.
"$program" generate --from mnist --count 300 --seed 1 --out digits.npy 2>/dev/null
common=(--data digits.npy --batch 8 --threads 1)
train() { # DIRECTORY
  "$program" train "${common[@]}" --network mlp --steps 40 --checkpoint-every 4 --sample-every 20 --eval-every 30 --quiet --out "$1"
}
transfer() { # DIRECTORY
  "$program" transfer "${common[@]}" --from source --train-images 40 --steps 40 --checkpoint-every 4 --out "$1"
}
settings="--network mlp --steps 4 --quiet --eval-every 0"
# shellcheck disable=SC2086 # words, not one argument
"$program" train "${common[@]}" $settings --out source >/dev/null 2>&1

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# All files of a run, without the times of its steps and without who had the lock.
state() { # DIRECTORY
  (cd "$1" && find . -type f ! -name run.lock | LC_ALL=C sort | while read -r file; do
    printf '%s ' "$file"
    sed -E 's/"(ms|milliseconds)":[0-9.]+//' "$file" | sha256sum
  done)
}
newest() { # DIRECTORY: the newest checkpoint, `none` if there is none
  local found
  found=$(find "$1/checkpoints" -mindepth 1 -maxdepth 1 -name 'step-*' 2>/dev/null | LC_ALL=C sort | tail -n 1)
  echo "${found:-none}"
}

lost=0
for kind in train transfer; do
  "$kind" "whole-$kind" >whole.log 2>&1 # also fills caches
  rm -rf "whole-$kind"
  begin=$(milliseconds)
  "$kind" "whole-$kind" >whole.log 2>&1
  duration=$(($(milliseconds) - begin))
  state "whole-$kind" >"whole-$kind.state"
  killed=0 kills=0 early=0
  while [ "$killed" -lt "$count" ]; do
    run=$kind-$((killed + 1))
    rm -rf "$run" "$run.log"
    planned=$((1 + RANDOM % 2)) hits=0
    for _ in $(seq "$planned"); do
      moment=$((RANDOM * 32768 + RANDOM)) && moment=$((moment % (duration * 9 / 10 / planned)))
      "$kind" "$run" >>"$run.log" 2>&1 &
      child=$!
      sleep "$((moment / 1000)).$(printf '%03d' $((moment % 1000)))"
      # The program is a child of the shell that runs the function.
      if target=$(pgrep -P "$child" -x "$(basename "$program")"); then kill -KILL "$target" 2>/dev/null && hits=$((hits + 1)) || true; fi
      wait "$child" 2>/dev/null || true
      [ "$(newest "$run")" != none ] || early=$((early + 1))
    done
    [ "$hits" -eq "$planned" ] || continue
    kills=$((kills + hits)) killed=$((killed + 1))
    before=$(newest "$run")
    if ! "$kind" "$run" >"$run.log" 2>&1; then
      echo "LOST $work/$run: it does not resume: $(tail -n 1 "$run.log")"
      lost=$((lost + 1))
    elif grep -qi damaged "$run.log"; then
      echo "LOST $work/$run: damaged after the kill, newest was $before: $(grep -i damaged "$run.log" | head -n 1)"
      lost=$((lost + 1))
    elif ! state "$run" | diff "whole-$kind.state" - >"$run.diff"; then
      echo "LOST $work/$run: files differ from those of a run without a kill:"
      head -n 5 "$run.diff"
      lost=$((lost + 1))
    else
      rm -rf "$run" "$run.log" "$run.diff"
    fi
  done
  echo "$kind: $killed runs, $kills kills, $early of them before the first checkpoint, an uninterrupted run takes $duration ms"
done
echo "lost: $lost"
[ "$lost" -ne 0 ] || { cd / && rm -rf "$work"; }
[ "$lost" -eq 0 ]
