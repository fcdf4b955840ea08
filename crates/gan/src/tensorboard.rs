//! TensorBoard event files: scalars and sample grids of a run in progress.
//!
//! *Source*: TensorFlow's `event.proto` and `summary.proto`, of which only the used fields are declared, and the record format
//! of its `RecordWriter`.

use crate::error::GanError;
use crate::gan::StepReport;
use crate::monitor::Measurement;
use crate::trainer::Event;
use engraft_base::read_bounded;
use prost::Message;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Largest picture that is copied into an event file, in bytes.
const LARGEST_PICTURE: u64 = 16 << 20;
/// Longest time that scalars stay in memory.
const FLUSH_AFTER: Duration = Duration::from_secs(2);
/// Bytes of a PNG file up to the end of its width and height.
const PNG_HEAD: usize = 24;

/// Writes [`Event`]s of [`Trainer::train`](crate::Trainer::train) to an event file that TensorBoard reads while the run
/// trains.
///
/// Each start of a run makes a file of its own. It begins with a record that tells TensorBoard to hide what earlier files say
/// about the steps that follow, because these steps are repeated.
///
/// ```
/// use engraft_gan::{Event, TensorBoard};
/// let folder = std::env::temp_dir().join(format!("engraft-tensorboard-{}", std::process::id()));
/// let mut board = TensorBoard::create(&folder)?;
/// board.record(&Event::Warning("has no place in TensorBoard".into()))?;
/// assert!(board.path().starts_with(&folder));
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), engraft_gan::GanError>(())
/// ```
pub struct TensorBoard {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
    /// Whether readers know at which step this file begins.
    has_start: bool,
}

impl TensorBoard {
    /// Creates an event file in `directory`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`GanError::Io`] if the file cannot be created.
    pub fn create(directory: &Path) -> Result<Self, GanError> {
        std::fs::create_dir_all(directory).map_err(|e| GanError::io(directory, "creating", e))?;
        let second = since_epoch().as_secs();
        // TensorBoard finds files by `tfevents` and reads them in the order of their names.
        let paths = (0_u32..).map(|i| directory.join(format!("events.out.tfevents.{second:010}.{i:03}")));
        let mut created = Err(io::ErrorKind::AlreadyExists.into());
        let mut path = PathBuf::new();
        for candidate in paths {
            created = OpenOptions::new().write(true).create_new(true).open(&candidate);
            path = candidate;
            if !matches!(&created, Err(e) if e.kind() == io::ErrorKind::AlreadyExists) {
                break;
            }
        }
        let file = created.map_err(|e| GanError::io(&path, "creating", e))?;
        let mut board = Self {
            path,
            file: BufWriter::new(file),
            flushed: Instant::now(),
            has_start: false,
        };
        board.write(0, What::FileVersion("brain.Event:2".into()))?;
        board.flush()?;
        Ok(board)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an event, if TensorBoard has a place for it: losses and statistics, measures, sample grids in PNG, the grids of
    /// training images, and rollbacks.
    ///
    /// # Errors
    /// [`GanError::Io`] if the file cannot be written or a picture cannot be read.
    pub fn record(&mut self, event: &Event) -> Result<(), GanError> {
        if let (Some(step), false) = (steps_before(event), self.has_start) {
            self.start_after(step)?;
        }
        match event {
            Event::Step {
                step,
                report,
                milliseconds,
            } => {
                self.write(*step, scalars(&of_step(report, *milliseconds)))?;
                match self.flushed.elapsed() < FLUSH_AFTER {
                    true => Ok(()),
                    false => self.flush(),
                }
            }
            Event::Measured { measurement, .. } => {
                self.write(measurement.step, scalars(&of_measurement(measurement)))?;
                self.flush()
            }
            Event::Images { reals, augmented } => {
                self.picture(0, "training images", reals)?;
                match augmented {
                    Some(path) => self.picture(0, "training images, augmented", path),
                    None => Ok(()),
                }
            }
            Event::Samples { step, path } => self.picture(*step, "samples", path),
            Event::RolledBack { step, .. } => {
                self.start_after(*step)?;
                self.flush()
            }
            _ => Ok(()),
        }
    }

    /// Tells readers that the steps after `step` follow, whatever was written about them before.
    fn start_after(&mut self, step: u64) -> Result<(), GanError> {
        let start = SessionLog {
            status: SESSION_START,
        };
        self.has_start = true;
        self.write(step + 1, What::SessionLog(start))
    }

    /// Writes a PNG file. Other files are left out.
    fn picture(&mut self, step: u64, tag: &str, path: &Path) -> Result<(), GanError> {
        if path.extension().is_none_or(|extension| extension != "png") {
            return Ok(());
        }
        let png = read_bounded(path, LARGEST_PICTURE)?;
        let Some(head) = png.get(..PNG_HEAD) else {
            return Ok(());
        };
        let number = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let image = Image {
            width: number(16),
            height: number(20),
            colorspace: 3,
            encoded_image_string: png,
        };
        let value = Value {
            tag: tag.into(),
            value: Some(Content::Image(image)),
        };
        self.write(step, What::Summary(Summary { value: vec![value] }))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), GanError> {
        self.flushed = Instant::now();
        self.file
            .flush()
            .map_err(|e| GanError::io(&self.path, "writing", e))
    }

    fn write(&mut self, step: u64, what: What) -> Result<(), GanError> {
        let event = EventRecord {
            wall_time: since_epoch().as_secs_f64(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(what),
        };
        self.file
            .write_all(&record(&event.encode_to_vec()))
            .map_err(|e| GanError::io(&self.path, "writing", e))
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The steps that were done before what an event tells. `None` if it tells no step.
fn steps_before(event: &Event) -> Option<u64> {
    match event {
        Event::Step { step, .. } => Some(step.saturating_sub(1)),
        Event::Samples { step, .. } => Some(*step),
        Event::Images { .. } => Some(0),
        Event::Measured { measurement, .. } => Some(measurement.step),
        _ => None,
    }
}

/// The bytes of one record: length, its checksum, the bytes, their checksum.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(bytes);
    record.extend(masked(bytes).to_le_bytes());
    record
}

/// The checksum of the record format: CRC-32C, rotated by 15 bits, plus a constant.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn of_step(report: &StepReport, milliseconds: f64) -> Vec<(&'static str, f64)> {
    let mut found = vec![
        ("loss/generator", report.generator_loss),
        ("loss/discriminator", report.discriminator_loss),
        ("discriminator/output on real images", report.real_output),
        ("discriminator/output on generated images", report.fake_output),
        ("discriminator/accuracy", report.accuracy),
        ("discriminator/mean sign on real images", report.real_sign),
        ("time/milliseconds per step", milliseconds),
    ];
    let optional = [
        ("loss/penalty", report.penalty),
        ("augmentation/probability", report.augment_probability),
    ];
    found.extend(optional.into_iter().filter(|(_, value)| *value != 0.0));
    found
}

fn of_measurement(measurement: &Measurement) -> Vec<(&'static str, f64)> {
    let mut found = vec![
        ("validation/KID", measurement.kid),
        ("validation/coverage", measurement.coverage),
        ("validation/spread", measurement.spread),
        ("validation/memorized", measurement.memorized),
    ];
    // Without validation images it is 0 and says nothing.
    if measurement.overfitting != 0.0 {
        found.push(("validation/overfitting", measurement.overfitting));
    }
    found.extend(
        measurement
            .second_kid
            .map(|kid| ("validation/KID, second features", kid)),
    );
    found
}

#[allow(clippy::cast_possible_truncation)] // the format has f32
fn scalars(values: &[(&str, f64)]) -> What {
    let value = values.iter().map(|(tag, value)| Value {
        tag: (*tag).into(),
        value: Some(Content::SimpleValue(*value as f32)),
    });
    What::Summary(Summary {
        value: value.collect(),
    })
}

/// `SessionLog.SessionStatus.START`.
const SESSION_START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct EventRecord {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 4")]
    value: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 3: red, green, blue. Readers decode the picture and ignore it.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file, with checked lengths and checksums.
    fn events(path: &Path) -> Vec<EventRecord> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let event = &rest[12..12 + length];
            assert_eq!(record(event), rest[..length + 16]);
            found.push(EventRecord::decode(event).unwrap());
            rest = &rest[length + 16..];
        }
        found
    }

    fn step(step: u64) -> Event {
        let report = StepReport {
            generator_loss: 0.5,
            discriminator_loss: 1.25,
            penalty: 0.25,
            augment_probability: 0.0,
            real_output: 0.75,
            fake_output: 0.25,
            accuracy: 0.75,
            real_sign: 0.5,
        };
        Event::Step {
            step,
            report,
            milliseconds: 9.0,
        }
    }

    #[test]
    fn the_checksum_is_the_formats() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720, appendix B.4, and every catalog).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // The first 12 bytes of every event file that begins with a record of 24 bytes.
        assert_eq!(
            masked(&24_u64.to_le_bytes()).to_le_bytes(),
            [0xa3, 0x7f, 0x4b, 0x22]
        );
    }

    #[test]
    fn an_evaluation_without_validation_images_has_no_overfitting() {
        let measured = |overfitting: f64| -> Measurement {
            let line = format!(
                r#"{{"step":1,"kid":0.1,"kid_se":0.01,"coverage":0.5,"spread":1.0,"memorised":0.05,"overfitting":{overfitting}}}"#
            );
            serde_json::from_str(&line).unwrap()
        };
        let has = |overfitting| {
            let found = of_measurement(&measured(overfitting));
            found.iter().any(|(tag, _)| *tag == "validation/overfitting")
        };
        assert_eq!([has(0.0), has(-0.1), has(0.3)], [false, true, true]);
    }

    #[test]
    fn scalars_and_grids_are_read_back_and_a_second_start_has_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let grid = folder.path().join("grid.png");
        let pixels = engraft_tensor::Tensor::zeros([1, 2, 3, 1]);
        std::fs::write(&grid, crate::image_png(&pixels)).unwrap();
        let mut board = TensorBoard::create(folder.path()).unwrap();
        let events_in = [
            step(1),
            Event::Samples { step: 1, path: grid },
            Event::Samples {
                step: 1,
                path: "samples.npy".into(),
            },
            Event::RolledBack {
                step: 0,
                reason: String::new(),
                times: 1,
            },
        ];
        for event in &events_in {
            board.record(event).unwrap();
        }
        let found = events(board.path());
        assert_eq!(found[0].what, Some(What::FileVersion("brain.Event:2".into())));
        let start = What::SessionLog(SessionLog {
            status: SESSION_START,
        });
        assert_eq!((found[1].step, &found[1].what), (1, &Some(start.clone())));
        let Some(What::Summary(summary)) = &found[2].what else {
            panic!("{:?}", found[2]);
        };
        let value = |tag: &str| summary.value.iter().find(|value| value.tag == tag);
        assert_eq!(
            value("loss/discriminator").unwrap().value,
            Some(Content::SimpleValue(1.25))
        );
        assert!(value("loss/penalty").is_some() && value("augmentation/probability").is_none());
        let Some(What::Summary(summary)) = &found[3].what else {
            panic!("{:?}", found[3]);
        };
        let Some(Content::Image(image)) = &summary.value[0].value else {
            panic!("{summary:?}");
        };
        assert_eq!((image.height, image.width), (2, 3));
        assert_eq!((found.len(), found[4].step, &found[4].what), (5, 1, &Some(start)));
        let second = TensorBoard::create(folder.path()).unwrap();
        assert!(second.path() > board.path());
    }
}
