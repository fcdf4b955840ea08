//! The program `engraft` as its users see it: what it prints, and what it says of what is wrong.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "cli")]

use engraft::data::{Npy, Numbers, Split, drawn_digits, write_npy};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Runs the program with some arguments, without data sets of the user.
fn engraft(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engraft"))
        .args(arguments)
        .env_remove("ENGRAFT_DATA")
        .output()
        .unwrap()
}

/// Runs the program, which must succeed; what it prints.
fn good(arguments: &[&str]) -> String {
    let found = engraft(arguments);
    let errors = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(found.stdout).unwrap()
}

/// Runs the program, which must fail, print nothing, and name some things in its message.
fn bad(arguments: &[&str], named: &[&str]) {
    let found = engraft(arguments);
    let errors = String::from_utf8_lossy(&found.stderr);
    assert!(!found.status.success(), "{arguments:?}");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{arguments:?}");
    for name in named {
        assert!(errors.contains(name), "{arguments:?}: no {name:?} in {errors}");
    }
}

/// A folder of `n` drawn digits as pictures.
fn pictures(within: &Path, n: usize) -> PathBuf {
    let folder = within.join(format!("pictures-{n}"));
    std::fs::create_dir(&folder).unwrap();
    let digits = drawn_digits(Split::Train, n, 1);
    for i in 0..n {
        let picture = image::GrayImage::from_raw(28, 28, digits.image(i).to_vec()).unwrap();
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
    folder
}

/// An NPY file of `n` other drawn digits.
fn samples(within: &Path, n: usize) -> PathBuf {
    let path = within.join(format!("samples-{n}.npy"));
    let all: Vec<usize> = (0..n).collect();
    let digits = drawn_digits(Split::Test, n, 2).batch_f32(&all);
    write_npy(&path, &[n, 28, 28], &digits).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn evaluate_prints_every_metric_and_its_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let (real, drawn) = (pictures(folder.path(), 100), samples(folder.path(), 60));
    // One picture is in colour and larger.
    image::RgbImage::from_pixel(56, 56, image::Rgb([90, 90, 90]))
        .save(real.join("004.png"))
        .unwrap();
    let run = |more: &[&str]| {
        let mut arguments = vec!["evaluate", "--data", text(&real), "--samples", text(&drawn)];
        arguments.extend(more);
        engraft(&arguments)
    };
    let found = run(&["--json"]);
    let errors = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{errors}");
    assert_eq!(
        errors.matches("004.png: ").count(),
        1,
        "one report for one picture: {errors}"
    );
    let json: Value = serde_json::from_slice(&found.stdout).unwrap();
    for key in [
        "fid",
        "kid",
        "kid_se",
        "precision",
        "recall",
        "density",
        "coverage",
        "diversity",
        "memorised",
    ] {
        assert!(json[key].is_f64() && json["floor"][key].is_f64(), "{key}: {json}");
    }
    let protocol = &json["protocol"];
    assert_eq!(protocol["features"], "mnist");
    assert_eq!(protocol["data"], text(&real));
    assert_eq!(protocol["split"], "test");
    assert_eq!(protocol["resize"], "pictures to 28x28x1, which the features take");
    for hash in ["features_sha256", "data_sha256"] {
        assert_eq!(protocol[hash].as_str().unwrap().len(), 64, "{hash}");
    }
    for (key, count) in [
        ("real", 20),
        ("train", 80),
        ("generated", 60),
        ("floor", 40),
        ("seed", 1),
    ] {
        assert_eq!(protocol[key], count, "{key}");
    }

    let table = String::from_utf8(run(&[]).stdout).unwrap();
    assert!(table.contains("KID") && table.contains("feature network"));

    // Fewer than there are: the seed chooses.
    let fid = |seed| {
        let found = run(&["--json", "--count", "30", "--seed", seed]).stdout;
        serde_json::from_slice::<Value>(&found).unwrap()["fid"].clone()
    };
    let [a, b, c] = ["1", "1", "2"].map(fid);
    assert!(a == b && a != c, "{a} {b} {c}");
}

#[test]
fn features_are_written_as_an_array() {
    let folder = tempfile::tempdir().unwrap();
    let (real, drawn) = (pictures(folder.path(), 10), samples(folder.path(), 7));
    let out = folder.path().join("out.npy");
    let said = good(&["features", "--samples", text(&drawn), "--out", text(&out)]);
    assert!(said.contains("7 x 128") && said.contains("mnist"), "{said}");
    let all = Npy::open(&out).unwrap();
    assert_eq!(all.shape(), [7, 128]);

    // Those of a choice are rows of those of all.
    good(&[
        "features",
        "--samples",
        text(&drawn),
        "--count",
        "3",
        "--out",
        text(&out),
    ]);
    let some = Npy::open(&out).unwrap();
    let (Numbers::F32(all), Numbers::F32(some)) = (all.numbers(), some.numbers()) else {
        panic!("single precision");
    };
    for row in some.chunks(128) {
        assert!(all.chunks(128).any(|other| other == row));
    }

    good(&[
        "features",
        "--data",
        text(&real),
        "--split",
        "train",
        "--out",
        text(&out),
    ]);
    assert_eq!(
        Npy::open(&out).unwrap().shape(),
        [10, 128],
        "too few to hold some out"
    );
}

#[test]
fn errors_name_the_argument() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (real, few, drawn) = (
        pictures(folder.path(), 100),
        pictures(folder.path(), 12),
        samples(folder.path(), 30),
    );
    let (real, few, drawn) = (text(&real), text(&few), text(&drawn));
    let evaluate = |data: &str, samples: &str, more: &[&str], named: &[&str]| {
        let mut arguments = vec!["evaluate", "--json", "--data", data, "--samples", samples];
        arguments.extend(more);
        bad(&arguments, named);
    };
    evaluate("emnist", drawn, &[], &["--data emnist", "fashion-mnist"]);
    let why = ["found 12", "at least 20"];
    evaluate(few, drawn, &[], &[&["--data", few], &why[..]].concat());
    let none = at("none.npy");
    evaluate(real, text(&none), &[], &["none.npy"]);
    evaluate(real, drawn, &["--count", "19"], &["--count 19", "at least 20"]);
    evaluate(real, drawn, &["--split", "train"], &["--split", "test"]);
    evaluate(real, drawn, &["--seed", "x"], &["--seed"]);
    evaluate(real, drawn, &["--from", "run"], &["--from", "--samples"]);
    bad(&["evaluate", "--data", real], &["--from"]);
    bad(
        &["evaluate", "--data", real, "--from", text(&none)],
        &["none.npy"],
    );
    bad(
        &["evaluate", "--data", "stacked-mnist", "--samples", drawn],
        &["--data stacked-mnist", "--from"],
    );

    let array = at("array.npy");
    write_npy(&array, &[2, 784], &[0.0; 1568]).unwrap();
    evaluate(real, text(&array), &[], &["array.npy", "[2, 784]"]);
    write_npy(&array, &[2, 28, 28], &[3.0; 1568]).unwrap();
    evaluate(real, text(&array), &[], &["array.npy", "pixel 0 of image 0 is 3"]);
    std::fs::write(&array, "no array").unwrap();
    evaluate(real, text(&array), &[], &["array.npy"]);

    let out = at("missing").join("out.npy");
    bad(
        &["features", "--samples", drawn, "--out", text(&out)],
        &["out.npy"],
    );
    bad(&["features", "--out", text(&out)], &["--data", "--samples"]);
    bad(&["features", "--samples", drawn], &["--out"]);
}

#[test]
fn doctor_lists_the_machine_and_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let found = engraft(&["doctor", "--json", "--out", text(&file)]);
    let json: Value = serde_json::from_slice(&found.stdout).unwrap();
    for name in [
        "engraft",
        "cpu",
        "instructions",
        "threads",
        "memory",
        "data sets here",
        "convolution",
    ] {
        assert!(
            !json["found"][name].as_str().unwrap().is_empty(),
            "{name}: {json}"
        );
    }
    assert!(json["found"]["sources"].as_str().unwrap().contains("mnist"));
    assert!(
        json["found"]["data sets here"]
            .as_str()
            .unwrap()
            .contains("drawn-digits")
    );
    let problems = json["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .any(|problem| problem.as_str().unwrap().contains("a-file")),
        "{json}"
    );
    assert_eq!(found.status.code(), Some(1));
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let commands = ["train", "transfer", "generate", "evaluate", "doctor"];
    for shell in ["bash", "zsh", "fish"] {
        let script = good(&["completions", shell]);
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    good(&["manual", "--out", text(folder.path())]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("engraft.1").contains("engraft"));
    for command in commands {
        let page = page(&format!("engraft-{command}.1"));
        assert!(page.starts_with(".ie") && page.contains("SYNOPSIS"), "{page}");
    }
    assert!(page("engraft-train.1").contains("\\-\\-data"));
    assert!(page("engraft-sweep-train.1").contains("\\-\\-over"));
}

/// Sends a request to a page of this machine; head and body of the answer.
fn get(address: &str, line: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head, answer[end + 4..].to_vec())
}

/// A process that ends with the test, also if that fails.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the page of some runs on a free port; the process and its address.
fn watch(runs: &[&str]) -> (Background, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_engraft"))
        .args(["watch", "--port", "0"])
        .args(runs)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut watch = Background(child);
    let mut line = String::new();
    BufReader::new(watch.0.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.strip_prefix("http://").unwrap().split('/').next().unwrap();
    (watch, address.into())
}

/// On Linux, all addresses from 127.0.0.1 to 127.255.255.254 are this machine: a server that listens everywhere is there too.
#[cfg(target_os = "linux")]
#[test]
fn fault_29_watch_listens_on_one_address_of_this_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.toml"), "").unwrap();
    let (_watch, address) = watch(&[text(folder.path())]);
    let (ip, port) = address.split_once(':').unwrap();
    let connected = ["127.0.0.1", "127.0.0.2"]
        .map(|ip| TcpStream::connect(format!("{ip}:{port}")).map_err(|error| error.kind()));
    let [here, elsewhere] = connected;
    assert_eq!(ip, "127.0.0.1");
    assert!(here.is_ok(), "{here:?}");
    assert_eq!(elsewhere.err(), Some(std::io::ErrorKind::ConnectionRefused));
}

#[test]
fn watch_shows_runs_and_answers_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let real = pictures(folder.path(), 40);
    let run = |name: &str, seed: &str| {
        let out = folder.path().join(name);
        let options = ["--network", "mlp", "--steps", "2", "--batch", "4", "--seed", seed];
        let all = [
            &["train", "--data", text(&real), "--out", text(&out)],
            &options[..],
        ]
        .concat();
        good(&all);
        out
    };
    let (first, second) = (run("a <b>", "1"), run("second", "2"));
    let (_watch, address) = watch(&[text(&first), text(&second)]);
    let address = address.as_str();
    let (head, page) = get(address, "GET /");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("default-src 'none'"),
        "{head}"
    );
    assert!(String::from_utf8(page).unwrap().contains("engraft watch"));
    let (_, live) = get(address, "GET /live");
    let live: Value = serde_json::from_slice(&live).unwrap();
    assert_eq!(live["runs"][0]["grids"], serde_json::json!([0, 2]));
    let html = live["runs"][0]["html"].as_str().unwrap();
    assert!(html.contains("all steps are done") && html.contains("<svg") && !html.contains("a <b>"));
    let differences = live["differences"].as_str().unwrap();
    assert!(
        differences.contains("seed") && differences.contains("a &lt;b&gt;") && !differences.contains("batch")
    );
    let (head, png) = get(address, "GET /grid?run=1&step=2");
    assert!(head.contains("image/png"), "{head}");
    assert_eq!(
        png,
        std::fs::read(second.join("samples/step-000002.png")).unwrap()
    );
    for (line, status) in [
        ("GET /grid?run=2&step=2", "404"),
        ("GET /run.toml", "404"),
        ("DELETE /", "405"),
    ] {
        assert!(
            get(address, line).0.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}"
        );
    }
    bad(&["watch", text(&real)], &["run.toml", "pictures-40"]);
    bad(&["watch", "--port", "x", text(&first)], &["--port"]);
}

/// The page as a browser has it after its scripts ran. `None` if no browser of this machine starts: a browser that runs prints a page
/// even where it cannot load one.
fn in_a_browser(page: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    ["chromium-headless-shell", "chromium", "google-chrome"]
        .iter()
        .find_map(|name| {
            let found = Command::new(name)
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--virtual-time-budget=5000",
                ])
                .arg(format!("--user-data-dir={}", folder.path().display()))
                .args(["--dump-dom", page])
                .output()
                .ok()?;
            let started = found.status.success() && !found.stdout.is_empty();
            if !started {
                println!(
                    "{name}: {}, {}",
                    found.status,
                    String::from_utf8_lossy(&found.stderr)
                );
            }
            started.then(|| String::from_utf8(found.stdout).unwrap())
        })
}

#[test]
fn a_browser_shows_a_run_while_it_trains_and_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (real, out) = (pictures(folder.path(), 40), folder.path().join("run"));
    let options =
        "--network mlp --steps 1000000 --batch 4 --threads 1 --sample-every 5 --eval-every 0 --quiet";
    let training = Command::new(env!("CARGO_BIN_EXE_engraft"))
        .args(["train", "--data", text(&real), "--out", text(&out)])
        .args(options.split(' '))
        .spawn()
        .unwrap();
    let training = Background(training);
    let recorded =
        || std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |lines| lines.lines().count());
    while recorded() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (_watch, address) = watch(&[text(&out)]);
    // The step that the page names, after checks of what else it shows.
    let step = |page: String| -> usize {
        for part in ["<polyline", "class=\"samples\"", "class=\"reals\""] {
            assert!(page.contains(part), "no {part:?} in {page}");
        }
        let (_, rest) = page.split_once("<dt>step</dt><dd>").unwrap();
        let (step, _) = rest.split_once(" of ").unwrap();
        let digits: String = step.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let shown = || {
        let page = in_a_browser(&format!("http://{address}/"));
        if page.is_none() {
            println!("skipped: no browser starts (chromium-headless-shell, chromium or google-chrome)");
        }
        page.map(step)
    };
    let Some(during) = shown() else { return };
    drop(training);
    let Some(after) = shown() else { return };
    assert!(10 <= during && during <= after, "{during}, then {after}");
    assert_eq!(after, recorded());
}
