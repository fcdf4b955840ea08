//! `engraft doctor`: what this machine has, and what a training would miss.

use super::memory::shown;
use super::options::Doctor;
use super::process::{cores, pool};
use anyhow::ensure;
use engraft_base::{cpu_model, files, free_memory};
use engraft_data::{DataDirs, DatasetName, LoadOptions, Split, load};
use engraft_tensor::{
    Geometry, Padding, Precision, Tensor, conv2d, cpu_features, has_bf16, has_matrix_unit, with_precision,
};
use engraft_transfer::ShippedSource;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::json;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time of one measurement of speed.
const MEASURED: Duration = Duration::from_millis(250);
/// Below this much free memory or disk, trainings of the guide fail.
const SCARCE: u64 = 1 << 30;
/// The measured convolution: images, their height and width, channels in and out, kernel.
const LAYER: [usize; 4] = [8, 32, 64, 3];

/// What was found.
struct Findings {
    /// Name and value, in the order of printing.
    rows: Vec<(&'static str, String)>,
    /// What a training would miss, each with what to do.
    problems: Vec<String>,
}

impl Findings {
    fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.rows.push((name, value.into()));
    }
}

/// Runs the command.
///
/// # Errors
/// If something is missing that a training needs.
pub(super) fn run(options: &Doctor) -> anyhow::Result<()> {
    let mut found = Findings {
        rows: Vec::new(),
        problems: Vec::new(),
    };
    software(&mut found);
    machine(&mut found);
    directory(&mut found, "runs", &options.out);
    data(&mut found);
    speed(&mut found)?;
    print(&found, options.json);
    ensure!(
        found.problems.is_empty(),
        "found {} problem{}",
        found.problems.len(),
        if found.problems.len() == 1 { "" } else { "s" }
    );
    Ok(())
}

fn software(found: &mut Findings) {
    let system = [std::env::consts::OS, std::env::consts::ARCH].join(" ");
    found.add("engraft", format!("{}, {system}", env!("CARGO_PKG_VERSION")));
    if cfg!(debug_assertions) {
        found.add("build", "not optimized");
        found.problems.push(
            "this program was built without optimization and is many times slower: build it with --release"
                .into(),
        );
    }
    let sources: Vec<&str> = ShippedSource::ALL.iter().map(|source| source.name).collect();
    found.add("sources", sources.join(", "));
}

fn machine(found: &mut Findings) {
    found.add("cpu", cpu_model().unwrap_or_else(|| "unknown".into()));
    found.add("instructions", cpu_features());
    if let Ok(limit) = std::env::var("ENGRAFT_SIMD") {
        found.add("limit", format!("ENGRAFT_SIMD={limit}"));
    }
    let bf16 = match (has_matrix_unit(), has_bf16()) {
        (true, _) => "matrix unit of the CPU (AMX)",
        (_, true) => "instructions of the CPU",
        _ => "no instructions: `--precision bf16` works and saves no time",
    };
    found.add("bf16", bf16);
    found.add("threads", format!("{} (one for each core)", cores()));
    match free_memory() {
        Some(bytes) => {
            found.add("memory", format!("{} free", shown(bytes)));
            if bytes < SCARCE {
                found.problems.push(format!(
                    "{} of memory are free: end other programs, or train with a small --batch",
                    shown(bytes)
                ));
            }
        }
        None => found.add("memory", "unknown"),
    }
}

/// Free space and permission to write.
fn directory(found: &mut Findings, name: &'static str, path: &Path) {
    let writable = files::ensure_writable(path);
    let space = files::free_space(path);
    let shown_space = space.map_or(String::new(), |bytes| format!(", {} free", shown(bytes)));
    let is_writable = if writable.is_ok() {
        "writable"
    } else {
        "not writable"
    };
    found.add(name, format!("{}: {is_writable}{shown_space}", path.display()));
    if let Err(error) = writable {
        found.problems.push(format!("{error}: choose another directory"));
    }
    if let Some(bytes) = space.filter(|bytes| *bytes < SCARCE) {
        found.problems.push(format!(
            "{}: {} are free, and a run needs up to 1 GiB: choose another directory",
            path.display(),
            shown(bytes)
        ));
    }
}

/// Data sets that can be opened without a download.
fn data(found: &mut Findings) {
    let dirs = DataDirs::from_env();
    match &dirs.cache_dir {
        Some(cache) if cache.exists() => directory(found, "cache", cache),
        Some(cache) => found.add("cache", format!("{}: not made yet", cache.display())),
        None => found.add("cache", "none: set HOME to keep downloads and features"),
    }
    match &dirs.data_dir {
        Some(data) => {
            found.add("ENGRAFT_DATA", data.display().to_string());
            if !data.is_dir() {
                found.problems.push(format!(
                    "ENGRAFT_DATA={}: there is no such directory",
                    data.display()
                ));
            }
        }
        None => found.add("ENGRAFT_DATA", "not set"),
    }
    let offline = LoadOptions::new().offline();
    let is_here = |name: &DatasetName| load(*name, Split::Test, &offline).is_ok();
    let here: Vec<String> = DatasetName::ALL
        .into_iter()
        .filter(is_here)
        .map(|name| name.to_string())
        .collect();
    found.add("data sets here", here.join(", "));
}

/// The rate of one convolution, on one thread and on all.
fn speed(found: &mut Findings) -> anyhow::Result<()> {
    let one = rate(1, Precision::F32)?;
    let all = rate(cores(), Precision::F32)?;
    let bf16 = match has_bf16() {
        true => {
            let rate = rate(cores(), Precision::Bf16)?;
            let advice = match rate > all {
                true => "saves time",
                false => "saves no time here",
            };
            format!("; bf16 {rate:.0}: `--precision bf16` {advice}")
        }
        false => String::new(),
    };
    let text = format!("{one:.0} GFLOP/s on 1 thread, {all:.0} on {}{bf16}", cores());
    found.add("convolution", text);
    Ok(())
}

/// Floating-point operations per second of a 3x3 convolution, in billions, counted for the direct definition.
fn rate(threads: usize, precision: Precision) -> anyhow::Result<f64> {
    let [images, size, channels, kernel] = LAYER;
    let mut rng = Pcg64::seed_from_u64(1);
    let x = Tensor::<f32>::randn([images, size, size, channels], &mut rng);
    let w = Tensor::<f32>::randn([kernel, kernel, channels, channels], &mut rng);
    let geometry = Geometry::forward([size, size], [kernel, kernel], [1, 1], [1, 1], Padding::Same);
    let flop = 2.0 * (images * size * size * channels * channels * kernel * kernel) as f64;
    let best = pool(Some(threads))?.install(|| {
        let start = Instant::now();
        let mut best = Duration::MAX;
        while start.elapsed() < MEASURED {
            let before = Instant::now();
            black_box(with_precision(precision, || conv2d(&x, &w, &geometry)));
            best = best.min(before.elapsed());
        }
        best
    });
    Ok(flop / best.as_secs_f64() / 1e9)
}

fn print(found: &Findings, as_json: bool) {
    if as_json {
        let rows: serde_json::Map<_, _> = (found.rows.iter())
            .map(|(name, value)| ((*name).to_string(), json!(value)))
            .collect();
        out!("{}", json!({ "found": rows, "problems": found.problems }));
        return;
    }
    for (name, value) in &found.rows {
        out!("{name:<15} {value}");
    }
    for problem in &found.problems {
        out!("problem: {problem}");
    }
}
