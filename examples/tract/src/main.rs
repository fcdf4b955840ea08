//! Runs exported ONNX files with tract, a reader in Rust, and compares the results with engraft's.
//! `cargo run -- FOLDER`, for files of `engraft export --examples N`: `NAME.onnx`, and `NAME.VALUE.npy` for each input and output.

use engraft_data::{Npy, Numbers};
use std::path::{Path, PathBuf};
use std::{env, error::Error, fs, process::ExitCode};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

/// Largest difference, relative to the largest value of an output.
const LIMIT: f32 = 1e-5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("expected a FOLDER with .onnx files")?;
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{folder}: there is no .onnx file").into());
    }
    let mut code = ExitCode::SUCCESS;
    for path in files {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match check(&path) {
            Ok(worst) if worst <= LIMIT => println!("{name}: {worst:.1e}"),
            Ok(worst) => {
                println!("{name}: {worst:.1e}, more than {LIMIT:.0e}");
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                println!("{name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The largest difference, relative to the largest value of each output.
fn check(path: &Path) -> Result<f32, Box<dyn Error>> {
    let mut model = tract_onnx::onnx().model_for_path(path)?;
    let mut inputs = TVec::new();
    for (i, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
        let (shape, numbers) = array(path, &model.node(outlet.node).name)?;
        let is_whole = model.outlet_fact(outlet)?.datum_type.concretize() == Some(i64::datum_type());
        let tensor = if is_whole {
            let whole: Vec<i64> = numbers.iter().map(|&number| number as i64).collect();
            Tensor::from_shape(&shape, &whole)?
        } else {
            Tensor::from_shape(&shape, &numbers)?
        };
        model.set_input_fact(i, InferenceFact::dt_shape(tensor.datum_type(), &shape))?;
        inputs.push(tensor.into_tvalue());
    }
    let outlets = model.output_outlets()?.to_vec();
    let names: Vec<String> = outlets
        .iter()
        .map(|&outlet| {
            model
                .outlet_label(outlet)
                .map_or_else(|| model.node(outlet.node).name.clone(), String::from)
        })
        .collect();
    let results = model.into_optimized()?.into_runnable()?.run(inputs)?;
    let mut worst = 0.0_f32;
    for (name, found) in names.iter().zip(results.iter()) {
        let (shape, expected) = array(path, name)?;
        if found.shape() != shape {
            return Err(format!("{name} has the shape {:?}, expected {shape:?}", found.shape()).into());
        }
        let found = found.as_slice::<f32>()?;
        let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        worst = worst.max(differences.fold(0.0, f32::max) / largest);
    }
    Ok(worst)
}

/// The array of an input or output.
fn array(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f32>), Box<dyn Error>> {
    let path = path.with_extension(format!("{name}.npy"));
    let array = Npy::open(&path)?;
    match array.numbers() {
        Numbers::F32(numbers) => Ok((array.shape().to_vec(), numbers.to_vec())),
        _ => Err(format!("{}: expected numbers of 32 bits", path.display()).into()),
    }
}
