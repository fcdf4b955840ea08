//! WebAssembly: a check that the libraries build for it, and the module of the playground.

use anyhow::{Context, ensure};
use engraft_base::write_atomically;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
/// Name of the library, and so of the module.
const MODULE: &str = "engraft_playground.wasm";
/// Largest module, in bytes. It is part of each page and of the repository.
const LARGEST: usize = 700_000;
/// Vector instructions, which every browser has had since 2023, and no derivative rules.
const FLAGS: &str = "-C target-feature=+simd128 --cfg engraft_inference";

/// Check that the libraries build for WebAssembly, and build the module of `engraft playground`
///
/// Run it after a change of `crates/playground/src`, and commit `crates/playground/module`. The target must be installed:
/// `rustup target add wasm32-unknown-unknown`. Where that is not possible, install a compiler with the target, such as Debian's
/// packages rustc-web, rust-web-src and lld, and set RUSTC, RUSTC_BOOTSTRAP=1, CARGO_UNSTABLE_BUILD_STD=std,panic_abort,
/// `__CARGO_TESTS_ONLY_SRC_ROOT` (the folder `library` of the sources) and CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only check that tensor, layers and playground build
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// If the target is missing, a build fails, or the module is too large.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure_target()?;
    if args.check {
        let crates = [
            "-p",
            "engraft-tensor",
            "-p",
            "engraft-layers",
            "-p",
            "engraft-playground",
        ];
        cargo(&[&["check", "--target", TARGET], &crates[..]].concat(), "")?;
        out!("tensor, layers and playground build for {TARGET}");
        return Ok(());
    }
    let options = ["--profile", "wasm", "--target", TARGET];
    let library = [
        "rustc",
        "-p",
        "engraft-playground",
        "--lib",
        "--crate-type",
        "cdylib",
    ];
    cargo(&[&library[..], &options].concat(), FLAGS)?;
    let built = target_directory().join(TARGET).join("wasm").join(MODULE);
    let module = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    ensure!(
        module.len() <= LARGEST,
        "the module has {} bytes; expected at most {LARGEST}",
        module.len()
    );
    let folder = root().join("crates/playground/module");
    write_atomically(&folder.join(MODULE), &module)?;
    let hash = engraft_playground::sources_hash() + "\n";
    write_atomically(&folder.join("sources.sha256"), hash.as_bytes())?;
    out!("{}: {} bytes", folder.join(MODULE).display(), module.len());
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The directory of Cargo's output.
fn target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Checks that the compiler has the target. Nothing is downloaded.
fn ensure_target() -> anyhow::Result<()> {
    if env::var_os("CARGO_UNSTABLE_BUILD_STD").is_some() {
        return Ok(());
    }
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&compiler)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .with_context(|| format!("running {}", compiler.display()))?;
    let folder = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && Path::new(folder.trim()).is_dir(),
        "the target {TARGET} is not installed; `rustup target add {TARGET}` installs it, and `cargo xtask wasm --help` \
         tells another way"
    );
    Ok(())
}

/// Runs Cargo in the workspace.
fn cargo(arguments: &[&str], flags: &str) -> anyhow::Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    if !flags.is_empty() {
        command.env("RUSTFLAGS", flags);
    }
    let status = command.status().context("running cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}
