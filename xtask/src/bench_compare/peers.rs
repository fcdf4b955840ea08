//! Programs of other libraries: which can be run, and where they are.

use super::subprocess;
use anyhow::{bail, ensure};
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Longest wait for an interpreter to say whether it has a module.
const LOOK: Duration = Duration::from_secs(60);

/// Another library, and the program that runs the same step in it.
struct Peer {
    name: &'static str,
    kind: Kind,
    variants: &'static [Variant],
}

enum Kind {
    /// `<name>/dcgan_step.py`, for an interpreter in `venv/<venv>` that has the module.
    Python {
        module: &'static str,
        venv: &'static str,
    },
    /// `<name>/target/release/dcgan-<name>`.
    Binary,
}

/// One way to run a peer.
struct Variant {
    name: &'static str,
    mode: Mode,
    /// With `tools/memenv.sh`, which keeps freed memory in the heap, as users of the peer would set it.
    heap: bool,
    arguments: &'static [&'static str],
}

enum Mode {
    Both,
    Train,
    Infer,
}

const fn variant(name: &'static str, mode: Mode, heap: bool, arguments: &'static [&'static str]) -> Variant {
    Variant {
        name,
        mode,
        heap,
        arguments,
    }
}

/// Variants that are fastest in some configuration. The programs have more, which were slower in every test.
const PEERS: [Peer; 5] = [
    Peer {
        name: "pytorch",
        kind: Kind::Python {
            module: "torch",
            venv: "torch",
        },
        variants: &[
            variant("eager", Mode::Both, false, &["--variant", "twograd"]),
            variant("eager+heap", Mode::Both, true, &["--variant", "twograd"]),
            variant("compile_step", Mode::Train, false, &["--variant", "compile_step"]),
            variant(
                "compile_step+heap",
                Mode::Train,
                true,
                &["--variant", "compile_step"],
            ),
            variant("compile", Mode::Infer, false, &["--variant", "compile"]),
            variant("compile+heap", Mode::Infer, true, &["--variant", "compile"]),
        ],
    },
    Peer {
        name: "tensorflow",
        kind: Kind::Python {
            module: "tensorflow",
            venv: "tf",
        },
        variants: &[
            variant("function+heap", Mode::Both, true, &["--variant", "function"]),
            variant("jit", Mode::Both, false, &["--variant", "jit"]),
            variant("jit+heap", Mode::Both, true, &["--variant", "jit"]),
        ],
    },
    Peer {
        name: "jax",
        kind: Kind::Python {
            module: "jax",
            venv: "jax",
        },
        variants: &[
            variant("phases", Mode::Both, false, &["--convt", "phases"]),
            variant("phases+heap", Mode::Both, true, &["--convt", "phases"]),
        ],
    },
    Peer {
        name: "burn",
        kind: Kind::Binary,
        variants: &[variant("flex", Mode::Both, false, &[])],
    },
    Peer {
        name: "candle",
        kind: Kind::Binary,
        variants: &[variant("cpu", Mode::Both, false, &[])],
    },
];

/// Which peers are wanted, and where they are.
pub(super) struct Wanted<'a> {
    /// Directory with the programs.
    pub(super) directory: &'a Path,
    /// Names of peers, or of peers and variants as `peer/variant`; none for all.
    pub(super) only: &'a [String],
    /// Interpreters, by the name of the peer.
    pub(super) python: &'a [(String, PathBuf)],
    /// Built programs, by the name of the peer.
    pub(super) binary: &'a [(String, PathBuf)],
    /// Whether only the generator is timed.
    pub(super) infer: bool,
}

/// A variant that can be run.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) peer: &'static str,
    pub(super) variant: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Runner {
    /// The command without the arguments that every peer takes.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }
}

/// A peer or a variant that is not run.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Skipped {
    pub(super) what: String,
    pub(super) why: String,
}

/// The wanted variants that can be run, and the skipped ones with reasons.
pub(super) fn find(wanted: &Wanted) -> anyhow::Result<(Vec<Runner>, Vec<Skipped>)> {
    ensure!(
        wanted.directory.is_dir(),
        "{} is no directory: --peers takes the one with the peer programs",
        wanted.directory.display()
    );
    check_names(wanted)?;
    let (mut runners, mut skipped) = (Vec::new(), Vec::new());
    for peer in PEERS {
        let variants: Vec<&Variant> = peer.variants.iter().filter(|v| wanted.takes(&peer, v)).collect();
        if variants.is_empty() {
            continue;
        }
        match wanted.locate(&peer) {
            Err(why) => skipped.push(Skipped {
                what: peer.name.into(),
                why,
            }),
            Ok(command) => {
                for variant in variants {
                    match wanted.runner(&peer, variant, &command) {
                        Ok(runner) => runners.push(runner),
                        Err(why) => skipped.push(Skipped {
                            what: format!("{} {}", peer.name, variant.name),
                            why,
                        }),
                    }
                }
            }
        }
    }
    Ok((runners, skipped))
}

/// Checks that all names on the command line are known and all files exist.
fn check_names(wanted: &Wanted) -> anyhow::Result<()> {
    for name in wanted.only {
        if !PEERS
            .iter()
            .any(|peer| peer.variants.iter().any(|v| matches(name, peer, v)))
        {
            let known: Vec<String> = PEERS
                .iter()
                .flat_map(|peer| {
                    peer.variants
                        .iter()
                        .map(move |v| format!("{}/{}", peer.name, v.name))
                })
                .collect();
            bail!(
                "--only {name}: no such peer or variant; there are {}",
                known.join(", ")
            );
        }
    }
    for (option, paths, python) in [
        ("--python", wanted.python, true),
        ("--binary", wanted.binary, false),
    ] {
        for (name, path) in paths {
            let fits = |peer: &&Peer| matches!(peer.kind, Kind::Python { .. }) == python;
            let names: Vec<&str> = PEERS.iter().filter(fits).map(|peer| peer.name).collect();
            ensure!(
                names.contains(&name.as_str()),
                "{option} {name}: no such peer; there are {}",
                names.join(", ")
            );
            ensure!(
                path.is_file(),
                "{option} {name}: there is no file {}",
                path.display()
            );
        }
    }
    Ok(())
}

fn matches(name: &str, peer: &Peer, variant: &Variant) -> bool {
    match name.split_once('/') {
        None => name == peer.name,
        Some((p, v)) => p == peer.name && v == variant.name,
    }
}

impl Wanted<'_> {
    fn takes(&self, peer: &Peer, variant: &Variant) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|name| matches(name, peer, variant));
        let in_mode = match variant.mode {
            Mode::Both => true,
            Mode::Train => !self.infer,
            Mode::Infer => self.infer,
        };
        named && in_mode
    }

    /// The program of a peer and its first arguments, or why it is skipped.
    fn locate(&self, peer: &Peer) -> Result<Vec<OsString>, String> {
        match peer.kind {
            Kind::Binary => {
                let built = self
                    .directory
                    .join(peer.name)
                    .join("target/release")
                    .join(format!("dcgan-{}", peer.name));
                let binary = given(self.binary, peer.name).unwrap_or(&built);
                if !binary.is_file() {
                    let name = peer.name;
                    return Err(format!(
                        "not built: no {} (or --binary {name}=PATH)",
                        binary.display()
                    ));
                }
                Ok(vec![binary.into()])
            }
            Kind::Python { module, venv } => {
                let script = self.directory.join(peer.name).join("dcgan_step.py");
                if !script.is_file() {
                    return Err(format!("no {}", script.display()));
                }
                let own = self.directory.join("venv").join(venv).join("bin/python");
                let python = match given(self.python, peer.name) {
                    Some(path) => path,
                    None if own.is_file() => &own,
                    None => Path::new("python3"),
                };
                has_module(python, module).map_err(|why| {
                    let name = peer.name;
                    format!(
                        "not installed: {} {why} (or --python {name}=PATH)",
                        python.display()
                    )
                })?;
                Ok(vec![python.into(), script.into()])
            }
        }
    }

    fn runner(&self, peer: &Peer, variant: &Variant, command: &[OsString]) -> Result<Runner, String> {
        let mut words: Vec<OsString> = Vec::new();
        if variant.heap {
            let script = self.directory.join("tools/memenv.sh");
            if !script.is_file() {
                return Err(format!("no {}", script.display()));
            }
            words.extend(["/bin/sh".into(), script.into()]);
        }
        words.extend_from_slice(command);
        words.extend(variant.arguments.iter().map(OsString::from));
        Ok(Runner {
            peer: peer.name,
            variant: variant.name,
            program: words.remove(0).into(),
            arguments: words,
        })
    }
}

fn given<'a>(paths: &'a [(String, PathBuf)], name: &str) -> Option<&'a Path> {
    let (_, path) = paths.iter().rev().find(|(of, _)| of == name)?;
    Some(path)
}

/// Asks an interpreter whether it has a module, without importing it.
fn has_module(python: &Path, module: &str) -> Result<(), String> {
    let question = format!("import importlib.util as u; print(u.find_spec('{module}') is not None)");
    let mut command = Command::new(python);
    let answer = subprocess::output(command.args(["-c", &question]), LOOK, &AtomicBool::new(false));
    match answer {
        Ok(answer) if answer.stdout.trim() == "True" => Ok(()),
        Ok(_) => Err(format!("has no module {module}")),
        Err(failure) => Err(format!("does not run: {failure}")),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A directory with a program of PyTorch and one of Burn.
    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("pytorch/dcgan_step.py", ""),
            ("venv/torch/bin/python", "#!/bin/sh\necho True\n"),
            ("bare/python", "#!/bin/sh\necho False\n"),
            ("bad/python", "#!/bin/sh\necho no home >&2\nexit 9\n"),
            ("burn/target/release/dcgan-burn", "#!/bin/sh\n"),
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Copied by another process: a file that this one has open for writing, be it in a child that another
            // test is just starting, could not be run.
            let draft = path.with_extension("draft");
            fs::write(&draft, content).unwrap();
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
            let copied = Command::new("cp").arg(&draft).arg(&path).status().unwrap();
            assert!(copied.success());
        }
        dir
    }

    fn wanted<'a>(directory: &'a Path, only: &'a [String]) -> Wanted<'a> {
        Wanted {
            directory,
            only,
            python: &[],
            binary: &[],
            infer: false,
        }
    }

    fn ids(runners: &[Runner]) -> Vec<String> {
        runners
            .iter()
            .map(|r| format!("{}/{}", r.peer, r.variant))
            .collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_is_there_runs_and_the_rest_has_its_reason() {
        let dir = directory();
        let only = names(&["burn", "pytorch", "candle", "jax"]);
        let (runners, skipped) = find(&wanted(dir.path(), &only)).unwrap();
        assert_eq!(
            ids(&runners),
            ["pytorch/eager", "pytorch/compile_step", "burn/flex"]
        );
        let what: Vec<&str> = skipped.iter().map(|s| s.what.as_str()).collect();
        assert_eq!(
            what,
            ["pytorch eager+heap", "pytorch compile_step+heap", "jax", "candle"]
        );
        for (skip, part) in skipped
            .iter()
            .zip(["memenv.sh", "memenv.sh", "dcgan_step.py", "not built"])
        {
            assert!(skip.why.contains(part), "{skip:?}");
        }
        let script = dir.path().join("pytorch/dcgan_step.py");
        let command = runners[0].command();
        assert_eq!(
            command.get_program(),
            dir.path().join("venv/torch/bin/python").as_os_str()
        );
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            [script.as_os_str(), "--variant".as_ref(), "twograd".as_ref()]
        );
    }

    #[test]
    fn the_heap_settings_stand_before_the_program() {
        let dir = directory();
        fs::create_dir(dir.path().join("tools")).unwrap();
        fs::write(dir.path().join("tools/memenv.sh"), "").unwrap();
        let only = names(&["pytorch/eager+heap"]);
        let (runners, skipped) = find(&wanted(dir.path(), &only)).unwrap();
        assert_eq!(ids(&runners), only);
        assert!(skipped.is_empty(), "{skipped:?}");
        let command = runners[0].command();
        assert_eq!(command.get_program(), "/bin/sh");
        let first: Vec<_> = command.get_args().take(2).map(Path::new).collect();
        assert_eq!(
            first,
            [
                dir.path().join("tools/memenv.sh"),
                dir.path().join("venv/torch/bin/python")
            ]
        );
    }

    #[test]
    fn inference_has_variants_of_its_own() {
        let dir = directory();
        let mut wanted = wanted(dir.path(), &[]);
        wanted.infer = true;
        let (runners, _) = find(&wanted).unwrap();
        assert_eq!(ids(&runners), ["pytorch/eager", "pytorch/compile", "burn/flex"]);
    }

    #[test]
    fn a_given_interpreter_goes_before_the_found_one() {
        let dir = directory();
        let only = names(&["pytorch/eager"]);
        for (file, part) in [
            ("bare/python", "has no module torch"),
            ("bad/python", "does not run: exit status: 9: no home"),
        ] {
            let python = [("pytorch".to_string(), dir.path().join(file))];
            let mut wanted = wanted(dir.path(), &only);
            wanted.python = &python;
            let (runners, skipped) = find(&wanted).unwrap();
            assert!(runners.is_empty() && skipped[0].why.contains(part), "{skipped:?}");
        }
    }

    #[test]
    fn wrong_names_are_errors() {
        let dir = directory();
        let error = |wanted: &Wanted| format!("{:#}", find(wanted).unwrap_err());
        let only = names(&["torch"]);
        assert!(error(&wanted(dir.path(), &only)).contains("pytorch/eager+heap"));
        let mut wrong = wanted(dir.path(), &[]);
        let burn = [("burn".to_string(), dir.path().join("bare/python"))];
        wrong.python = &burn;
        assert!(error(&wrong).contains("pytorch, tensorflow, jax"));
        wrong.python = &[];
        let gone = [("burn".to_string(), dir.path().join("gone"))];
        wrong.binary = &gone;
        assert!(error(&wrong).contains("there is no file"));
        wrong.directory = &gone[0].1;
        assert!(error(&wrong).contains("is no directory"));
    }
}
