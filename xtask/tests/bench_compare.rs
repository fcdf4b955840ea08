//! `bench-compare` and `bench-step` as processes, with programs that stand in for the peers.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An interpreter that has every module, and prints the line of a peer for the arguments it gets.
const GOOD: &str = r#"#!/bin/sh
[ "$1" = -c ] && { echo True; exit; }
variant=none mode=train
while [ $# -gt 0 ]; do
  case $1 in
    --variant) variant=$2 ;;
    --batch) batch=$2 ;;
    --threads) threads=$2 ;;
    --infer) mode=infer ;;
  esac
  shift
done
echo "a word before"
echo "{\"peer\":\"fake\",\"variant\":\"$variant$HEAP\",\"mode\":\"$mode\",\"batch\":$batch,\"threads\":$threads,\"ms_median\":10,\"peak_rss_mb\":77,\"version\":\"9.9\"}"
"#;
/// An interpreter that has every module, and fails.
const FAILING: &str =
    "#!/bin/sh\n[ \"$1\" = -c ] && { echo True; exit; }\necho context >&2\necho no luck today >&2\nexit 1\n";

/// PyTorch works, TensorFlow fails, Burn prints no JSON, JAX and Candle are missing.
struct Peers(tempfile::TempDir);

impl Peers {
    fn new() -> Self {
        let peers = Self(tempfile::tempdir().unwrap());
        for (file, content) in [
            ("pytorch/dcgan_step.py", ""),
            ("tensorflow/dcgan_step.py", ""),
            ("jax/dcgan_step.py", ""),
            ("venv/torch/bin/python", GOOD),
            ("venv/tf/bin/python", FAILING),
            ("tools/memenv.sh", "export HEAP=+kept\nexec \"$@\"\n"),
            (
                "burn/target/release/dcgan-burn",
                "#!/bin/sh\necho slow but sure\n",
            ),
            ("empty/python3", "#!/bin/sh\necho False\n"),
        ] {
            let path = peers.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_program(&path, content);
        }
        peers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command on the smallest experiment; nothing of the machine's own Python is seen.
    fn compare(&self, arguments: &[&str]) -> Output {
        xtask("bench-compare")
            .args([
                "--batches",
                "2",
                "--threads",
                "1",
                "--steps",
                "1",
                "--warmup",
                "0",
            ])
            .args(arguments)
            .env("ENGRAFT_PEERS", self.0.path())
            .env("PATH", self.path("empty"))
            .output()
            .unwrap()
    }
}

/// Writes an executable file through another process: one that this process has open for writing, be it in a child
/// that another test is just starting, could not be run.
fn write_program(path: &Path, content: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    let copied = Command::new("cp").arg(&draft).arg(path).status().unwrap();
    assert!(copied.success());
}

fn xtask(command: &str) -> Command {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.arg(command).env_remove("ENGRAFT_PEERS");
    xtask
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn what_runs_is_in_the_tables_and_the_rest_in_the_reasons() {
    let peers = Peers::new();
    let file = peers.path("out.json");
    let output = peers.compare(&["--rounds", "2", "--json", file.to_str().unwrap()]);
    let (shown, progress) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{progress}");
    for part in [
        "CPU: ",
        "pytorch 9.9",
        concat!("engraft ", env!("CARGO_PKG_VERSION")),
        "| 1 | 2 | pytorch | eager+heap | ",
        "| 1 | 2 | pytorch | compile_step | ",
        "without tensorflow jit: exit status: 1: no luck today\n",
        "without burn flex: no line of JSON on stdout\n",
        "without jax: not installed: python3 has no module jax (or --python jax=PATH)\n",
        "without candle: not built: no ",
        "The fastest peer of each configuration:",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
    let rounds = progress.lines().filter(|line| line.contains("round ")).count();
    assert_eq!(rounds, 8, "four variants twice: {progress}");
    let failures = progress
        .lines()
        .filter(|line| line.contains("no luck today"))
        .count();
    assert_eq!(failures, 3, "three variants, once each: {progress}");

    let json = json(&file);
    let pairs = json["pairs"].as_array().unwrap();
    let variants: Vec<_> = pairs
        .iter()
        .map(|pair| pair["peer_line"]["variant"].as_str().unwrap())
        .collect();
    let round = ["twograd", "twograd+kept", "compile_step", "compile_step+kept"];
    assert_eq!(variants, [round, round].concat());
    for pair in pairs {
        let ours = &pair["engraft_line"];
        assert_eq!(
            (&ours["peer"], &ours["mode"], &ours["steps"]),
            (&"engraft".into(), &"train".into(), &1.into())
        );
        let ratio = 10.0 / ours["ms_median"].as_f64().unwrap();
        // Numbers may lose their last bit on the way through JSON.
        let found = pair["ratio"].as_f64().unwrap();
        assert!((found / ratio - 1.0).abs() < 1e-12, "{found} and {ratio}");
    }
    assert_eq!(json["rows"].as_array().unwrap().len(), 4);
    assert_eq!(json["fastest"].as_array().unwrap().len(), 1);
    assert_eq!(json["rows"][0]["peer_peak_mb"], 77.0);
    assert_eq!(json["skipped"].as_array().unwrap().len(), 6);
}

#[test]
fn inference_and_a_given_interpreter() {
    let peers = Peers::new();
    let python = format!("jax={}", peers.path("venv/torch/bin/python").display());
    let output = peers.compare(&[
        "--infer",
        "--only",
        "jax",
        "--rounds",
        "1",
        "--python",
        &python,
        "--batches",
        "1",
    ]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        shown.contains("generator alone") && shown.contains("| 1 | 1 | jax | phases | "),
        "{shown}"
    );
}

#[test]
fn nothing_to_compare_with_is_an_error() {
    let peers = Peers::new();
    for (only, reason) in [("jax", "no module jax"), ("tensorflow", "no luck today")] {
        let output = peers.compare(&["--only", only]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(reason), "{errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn errors_name_the_argument() {
    let peers = Peers::new();
    for (arguments, part) in [
        (["--only", "numpy"], "pytorch/eager"),
        (["--python", "burn=/bin/sh"], "pytorch, tensorflow, jax"),
        (["--binary", "burn=/no/such/file"], "/no/such/file"),
        (["--rounds", "0"], "at least 1"),
        (["--batches", "64,1"], "--batches"),
        (["--json", "/no/such/folder/out.json"], "/no/such/folder/out.json"),
        (["--python", "pytorch"], "expected NAME=PATH"),
    ] {
        let output = peers.compare(&arguments);
        let errors = text(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(part),
            "{arguments:?}: {errors}"
        );
    }
    // The default directory is that of the repository.
    let elsewhere = tempfile::tempdir().unwrap();
    let bare = xtask("bench-compare")
        .current_dir(elsewhere.path())
        .output()
        .unwrap();
    assert!(!bare.status.success() && text(&bare.stderr).contains("--peers"));
}

#[test]
fn bench_step_has_the_fields_of_the_peers() {
    for (infer, mode, precision) in [
        (false, "train", "f32"),
        (false, "train", "bf16"),
        (true, "infer", "f32"),
    ] {
        let mut command = xtask("bench-step");
        command.args(
            (precision != "f32")
                .then_some(["--precision", precision])
                .iter()
                .flatten(),
        );
        command.args(["--batch", "2", "--threads", "1", "--steps", "2", "--warmup", "0"]);
        command.args(infer.then_some("--infer"));
        let output = command.output().unwrap();
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&line["mode"], &line["precision"]),
            (&mode.into(), &precision.into())
        );
        for field in ["ms_median", "ms_min", "ms_max", "images_per_s"] {
            assert!(line[field].as_f64().unwrap() > 0.0, "{field} in {line}");
        }
        for field in ["loss_g", "loss_d"] {
            assert_eq!(line[field].is_null(), infer, "{field} in {line}");
        }
        let is_known = Path::new("/proc/self/stat").exists();
        for field in ["page_faults", "cpu_ms", "peak_rss_mb"] {
            assert_eq!(line[field].is_number(), is_known, "{field} in {line}");
        }
    }
}
