#!/usr/bin/env bash
# Compares runs of an earlier version with those of this one. All data are drawn digits, generated on the same machine.
#
#   compare.sh make DIR [COMMIT|PROGRAMS]   runs of the earlier version: trains, resumes, generates and evaluates
#   compare.sh check DIR PROGRAMS           does the same with other programs, from scratch and resumed, and compares
#
# COMMIT is built in a separate work tree. PROGRAMS is a directory with release builds of `engraft` and `xtask`.
# Options and settings have the names of the earlier version, which are still accepted.
# A comparison must return the status of its last command: within `if`, bash does not stop at a failure.
# Unconditional runs must have the same bytes. Class-conditional runs may differ by rounding: see `difference.rs`.
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -ge 2 ] || usage
mode=$1
here=$(cd "$(dirname "$0")" && pwd)
unset ENGRAFT_DATA
failures=0

build() { # COMMIT: its programs, as a directory
  local work
  work=$(mktemp -d)
  git -C "$here" worktree add --quiet --detach "$work/tree" "$1"
  (cd "$work/tree" && CARGO_TARGET_DIR=$work/target cargo build --release --locked -p engraft -p xtask >&2)
  git -C "$here" worktree remove --force "$work/tree"
  echo "$work/target/release"
}

say() { printf '%-9s %s\n' "$1" "$2"; }
quietly() { # COMMAND..: shown only if it fails
  "$@" >"$log" 2>&1 || { tail -n 20 "$log"; say FAILED "${*##*/}"; return 1; }
}
same() { # WHAT COMMAND..
  local what=$1
  shift
  if "$@" >"$log" 2>&1; then say same "$what"; else say DIFFERENT "$what"; tail -n 5 "$log"; failures=$((failures + 1)); fi
}

# Trains a run: DIRECTORY STEPS KIND ARGUMENTS..
run() {
  local out=$1 steps=$2 kind=$3
  shift 3
  case $kind in
    train) quietly "${train[@]}" --offline --quiet --data drawn-digits --steps "$steps" --out "$out" "$@" ;;
    transfer) quietly "$programs/engraft" transfer --data drawn-digits --invert --steps "$steps" --out "$out" "$@" ;;
  esac
}

without_times() { sed -E 's/,"(ms|milliseconds)":[^,}]*//' "$1"; }
measures() { grep -oE '"(fid|kid|kid_se|precision|recall|density|coverage|diversity|memorised|copies|mean|validator|wrong)":[^],}]*' "$1"; }
same_metrics() { cmp <(without_times "$1") <(without_times "$2"); }
same_measures() { # EXPECTED FOUND TOLERANCE, relative: where sums end differently, as in an eigen-decomposition
  paste -d: <(measures "$1") <(measures "$2") | awk -F: -v tolerance="$3" '
    {d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || d > tolerance * ($2 < 0 ? -$2 : $2)) {print; bad = 1}}
    END {exit bad || !NR}'
}
# A run.toml with the names of today, sorted: an earlier version has other names, and another order of the sections.
settings() {
  awk '/^\[/ {section = $0; sub(/^\[regularise/, "[regularize", section); sub(/^\[watch/, "[evaluation", section); next}
    NF {name = $1; line = $0
      if (section == "") {sub(/^held_out /, "validation_images ", line); sub(/^average_half_life /, "ema_half_life ", line)}
      if (section == "[objective]") sub(/^critic_steps /, "n_critic ", line)
      if (section == "[regularize]") {sub(/^r1 /, "r1_gamma ", line); sub(/^r2 /, "r2_gamma ", line); sub(/^every /, "interval ", line)}
      print section, line}' "$1" | sort
}
same_settings() { cmp <(settings "$1") <(settings "$2"); }
same_runs() { # EXPECTED FOUND STEP
  local step file
  step=$(printf 'step-%06d' "$3")
  same_settings "$1/run.toml" "$2/run.toml" && same_metrics "$1/metrics.jsonl" "$2/metrics.jsonl" || return 1
  for file in "$1/checkpoints/$step"/* "$1/samples/$step.png" "$1"/source/* "$1/adapter.safetensors"; do
    [ ! -f "$file" ] || [ "${file##*/}" = manifest.json ] || [ "${file##*/}" = run.toml ] || cmp "$file" "$2${file#"$1"}" || return 1
  done
}
nearly_same_runs() { # EXPECTED FOUND STEP
  local step
  step=$(printf 'step-%06d' "$3")
  same_settings "$1/run.toml" "$2/run.toml" && "$difference" "$1/checkpoints/$step" "$2/checkpoints/$step"
}

# A case: same_runs|nearly_same_runs NAME HALF STEPS KIND ARGUMENTS..
case_of() {
  local compare=$1 name=$2 half=$3 steps=$4
  shift 4
  if [ "$mode" = make ]; then
    run "$dir/whole/$name" "$half" "$@"
    cp -r "$dir/whole/$name" "$dir/half/$name"
    run "$dir/whole/$name" "$steps" "$@"
    say made "$name"
  else
    cp -r "$dir/half/$name" "$new/$name-resumed"
    train=("$programs/xtask" train-mnist)
    same "$name, resumed after $half of $steps steps" \
      at "$compare" "$dir/whole/$name" "$new/$name-resumed" "$steps" "$@"
    # `engraft train` where it exists.
    if "$programs/engraft" train --help >/dev/null 2>&1; then train=("$programs/engraft" train); fi
    same "$name, from scratch" at "$compare" "$dir/whole/$name" "$new/$name" "$steps" "$@"
  fi
}
at() { # COMPARE EXPECTED FOUND STEPS KIND ARGUMENTS..
  local compare=$1 expected=$2 found=$3 steps=$4
  shift 4
  run "$found" "$steps" "$@" && "$compare" "$expected" "$found" "$steps"
}

# Generates images and compares them: cmp|COMMAND NAME ARGUMENTS..
drawn() {
  local compare=$1 name=$2 to=$new/$2
  shift 2
  quietly "$programs/engraft" generate "$@" --count 16 --seed 3 --out "$to.npy"
  quietly "$programs/engraft" generate "$@" --count 16 --seed 3 --out "$to.png"
  if [ "$mode" = check ]; then
    same "$name: images" "$compare" "$dir/read/$name.npy" "$to.npy"
    [ "$compare" != cmp ] || same "$name: grid" cmp "$dir/read/$name.png" "$to.png"
  fi
}
measured() { # TOLERANCE NAME ARGUMENTS..
  local tolerance=$1 name=$2
  shift 2
  "$programs/engraft" evaluate "$@" --data drawn-digits --count 200 --json >"$new/$name.json" 2>"$log" || cat "$log"
  [ "$mode" = make ] || same "$name: measures" same_measures "$dir/read/$name.json" "$new/$name.json" "$tolerance"
}

# Cached results: NAME COMMAND..; the same command reuses them and computes nothing.
kept() {
  local name=$1 to=$dir/kept/$1
  shift
  if [ "$mode" = check ]; then
    cp -r "$dir/kept/$name" "$new/$name"
    to=$new/$name
    touch "$new/before"
  fi
  quietly "$programs/engraft" "$@" --out "$to" --json
  cp "$log" "$new/$name.out"
  if [ "$mode" = check ]; then
    same "$name: numbers" same_measures "$dir/read/$name.out" "$new/$name.out" 0
    same "$name: nothing computed again" test -z "$(find "$to" -name '*-1.json' ! -name 'labels-seed-*' -newer "$new/before")"
  fi
}

cases() {
  local small=(--batch 16 --measure-every 0) mlp=(--network mlp --batch 16 --set held_out=100 --measure-every 5)
  local from_mlp=(--from "$dir/half/mlp" --shots 50) from_dcgan=(--from "$dir/half/default" --shots 50)
  # Networks, objectives, regularizers.
  case_of same_runs mlp 10 20 train "${mlp[@]}" --checkpoint-every 5
  # The preset of earlier versions.
  local plain=()
  [ "$mode" = make ] || plain=(--pseudo-labels 0)
  case_of same_runs default 10 20 train "${small[@]}" "${plain[@]}"
  case_of same_runs r3gan 10 20 train "${small[@]}" --preset r3gan
  case_of same_runs hinge 5 12 train "${small[@]}" --network mlp --set objective.kind=hinge --set objective.packing=2 \
    --set order=alternating --set standing_batches=2
  case_of same_runs wasserstein 5 12 train "${small[@]}" --network mlp --set objective.kind=wasserstein \
    --set objective.critic_steps=2 --set regularise.gradient_penalty=10
  case_of same_runs spectral 5 12 train "${small[@]}" "${plain[@]}" --set regularise.spectral_norm=discriminator \
    --set regularise.lecam=0.1 --set 'augment.kinds=["translation","cutout","brightness"]' --set augment.adaptive.every=2
  case_of nearly_same_runs mlp-classes 5 10 train "${small[@]}" --network mlp --conditional
  case_of nearly_same_runs dcgan-classes 2 4 train --batch 8 --measure-every 0 --conditional
  # Transfers.
  case_of same_runs fine-tuned 4 8 transfer "${from_mlp[@]}" --recipe fine-tune
  case_of same_runs low-rank 4 8 transfer "${from_mlp[@]}" --adapter low-rank=2
  case_of same_runs modulated 4 8 transfer "${from_dcgan[@]}" --adapter modulation --freeze-d block1
  case_of same_runs mined 4 8 transfer "${from_mlp[@]}" --adapter miner=16
  case_of same_runs l2-sp 4 8 transfer "${from_dcgan[@]}" --preserve l2-sp=1
  case_of same_runs ewc 4 8 transfer "${from_mlp[@]}" --preserve ewc=10
  case_of same_runs ewc-dcgan 4 8 transfer "${from_dcgan[@]}" --preserve ewc=10 --warm-up 2 --freeze-g stem
  case_of same_runs cdc 4 8 transfer "${from_mlp[@]}" --preserve cdc=10
  case_of same_runs distilled 4 8 transfer "${from_dcgan[@]}" --distil 1 --patches
  case_of nearly_same_runs told 4 8 transfer --from "$dir/half/mlp-classes" --shots 50 --adapter low-rank=2
  # Generation and evaluation without training.
  local name
  for name in mlp default low-rank mined distilled; do drawn cmp $name --from "$dir/half/$name"; done
  for name in dcgan-classes told; do drawn "$difference" $name --from "$dir/half/$name"; done
  drawn cmp best --from "$dir/whole/mlp" --checkpoint best
  drawn cmp adapter-file --from "$dir/half/mlp" --adapter "$dir/half/low-rank/adapter.safetensors"
  drawn cmp shipped --from "$here/../../crates/source-mnist"
  for name in mlp low-rank; do measured 1e-9 $name --from "$dir/half/$name"; done
  measured 1e-3 dcgan-classes --from "$dir/half/dcgan-classes"
  # Cached results.
  if [ "$mode" = make ]; then
    quietly "$programs/engraft" generate --from "$dir/half/mlp" --count 40 --files --out "$dir/read/pictures"
  fi
  kept adapt adapt --source drawn-digits --target "$dir/read/pictures" --method dann --seeds 1 --steps 4 --batch 8 --mismatch-is-meant
  kept few-labels semi-supervised --data drawn-digits --shots 200 --labels 10 --seeds 1 --epochs 1
}

mkdir -p "$2"
dir=$(cd "$2" && pwd)
log=$(mktemp)
difference=
case $mode in
  make)
    from=${3:-0625d68}
    if [ -x "$from/engraft" ]; then programs=$(cd "$from" && pwd); else programs=$(build "$from"); fi
    train=("$programs/xtask" train-mnist)
    new=$dir/read
    mkdir -p "$dir"/{half,whole,read,kept}
    cases
    ;;
  check)
    [ $# -eq 3 ] || usage
    programs=$(cd "$3" && pwd)
    new=$(mktemp -d)
    difference=$new/difference
    rustc --edition 2024 -O -o "$difference" "$here/difference.rs"
    cases
    if [ "$failures" -eq 0 ]; then rm -rf "$new"; else echo "$failures differ; the new runs are in $new"; exit 1; fi
    ;;
  *) usage ;;
esac
