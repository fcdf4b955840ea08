//! Pictures that are decoded on demand.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use engraft_base::{hex, sha256_hex};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::channels::Channels;
use crate::copies::Copies;
use crate::error::DataError;
use crate::fingerprint::Fingerprint;
use crate::held_out::ENOUGH_TO_HOLD_OUT;
use crate::layout::{Classes, Parts};
use crate::listing::Listing;
use crate::picture::{Picture, Wanted};
use crate::pictures::{self, Reading};
use crate::provenance::Provenance;
use crate::report::{Report, left_out};
use crate::shown::shown;
use crate::survey::Survey;
use crate::training_data::TrainingData;

/// Default size of the cache of decoded pictures in memory, in bytes: 80 000 color pictures of 64x64.
const CACHE: usize = 1 << 30;

/// The pictures of a folder or an archive, decoded on demand. Paths, labels and hashes are in memory, together with a
/// cache of decoded pictures.
///
/// Opening decodes each picture once for the fingerprint, which equals that of the same pictures in a
/// [`Dataset`](crate::Dataset). See [`DataSource::open_lazily`](crate::DataSource::open_lazily).
pub struct LazyPictures {
    name: String,
    provenance: Provenance,
    listing: Listing,
    /// Indices of files in `listing`.
    files: Vec<usize>,
    labels: Vec<u8>,
    class_names: Vec<String>,
    shape: [usize; 3],
    wanted: Wanted,
    /// SHA-256 of the pixels of each.
    hashes: Vec<[u8; 32]>,
    fingerprint: String,
    report: Report,
    /// Number of pictures for testing.
    held_out: usize,
    cache: Vec<OnceLock<Box<[u8]>>>,
    /// Remaining capacity of the cache, in bytes.
    room: AtomicUsize,
}

impl LazyPictures {
    pub(crate) fn new(
        name: String,
        provenance: Provenance,
        place: &Path,
        reading: Reading<'_>,
        listing: Listing,
        survey: &Survey,
        held_out: bool,
    ) -> Result<Self, DataError> {
        let wanted = reading.wanted;
        let parts = Parts::of(&listing.paths());
        let holds_out = held_out && parts.test.is_none();
        // Whether there is color, and whether there are enough pictures to hold some out, is known only at the end. Until then
        // hashes are computed for all cases.
        let (mut hashes, mut grays) = (<[Hashes; 2]>::default(), <[Hashes; 2]>::default());
        let (mut count, mut copies) = (0, Copies::default());
        let (mut memory, mut room) = (Vec::new(), CACHE);
        let decoded = pictures::decode(place, &listing, &parts.train, reading, |size, pixels| {
            let [h, w, _] = size;
            let gray =
                (wanted.channels == Channels::Keep).then(|| pictures::gray(pixels).collect::<Vec<u8>>());
            let is_test = copies.add(Sha256::digest(pixels).into());
            let is_in = [!holds_out || count < ENOUGH_TO_HOLD_OUT, holds_out && !is_test];
            for set in (0..2).filter(|&set| is_in[set]) {
                hashes[set].add(size, pixels);
                if let Some(gray) = &gray {
                    grays[set].add([h, w, 1], gray);
                }
            }
            if let Some(left) = room.checked_sub(pixels.len()) {
                room = left;
                memory.push(Box::<[u8]>::from(pixels));
            }
            count += 1;
        })?;
        let [h, w, c] = decoded.size;
        if (wanted.channels, c) == (Channels::Keep, 1) {
            hashes = grays;
        }
        let found = decoded.files.len();
        let [kept, held_out] = copies.split();
        let holds_out = holds_out && found >= ENOUGH_TO_HOLD_OUT && !held_out.is_empty();
        let [all, left] = hashes;
        let hashes = if holds_out { left } else { all };
        let used = decoded.files.clone();
        let classes = Classes::new(
            &parts,
            decoded.files.iter().map(|&file| listing.path(file)),
            listing.labels.as_ref(),
        );
        let held_out = match &parts.test {
            Some(test) => test.len(),
            None if holds_out => held_out.len(),
            None => 0,
        };
        let kept = if holds_out { kept } else { (0..found).collect() };
        let files: Vec<usize> = kept.iter().map(|&i| decoded.files[i]).collect();
        let in_memory = kept.iter().map(|&i| {
            let pixels = std::mem::take(memory.get_mut(i)?);
            Some(match (wanted.channels, c) {
                (Channels::Keep, 1) => pictures::gray(&pixels).collect(),
                _ => pixels,
            })
        });
        let cache: Vec<OnceLock<Box<[u8]>>> = in_memory
            .map(|pixels| pixels.map_or_else(OnceLock::new, OnceLock::from))
            .collect();
        let used_bytes = cache
            .iter()
            .filter_map(OnceLock::get)
            .map(|pixels| pixels.len())
            .sum();
        let labels = pictures::labels(&listing, &files, &classes);
        let mut totals = vec![format!(
            "{name}: {found} picture{}, {w}x{h}x{c}, decoded on demand",
            if found == 1 { "" } else { "s" }
        )];
        if holds_out {
            let test = found - files.len();
            totals.push(format!(
                "for training: {}; for testing: {test}, every fifth",
                files.len()
            ));
        }
        let reports = [listing.left_out.clone(), decoded.reports].concat();
        let totals = [
            totals,
            survey.lines(&used, left_out(&reports), wanted),
            parts.notes,
            classes.notes,
        ]
        .concat();
        let equal = pictures::copies(&listing, &used, &copies);
        let report = Report::new(totals, [reports, equal].concat());
        Ok(Self {
            name,
            provenance,
            listing,
            labels,
            class_names: classes.names,
            shape: decoded.size,
            wanted: Wanted {
                size: Some([h, w]),
                channels: if c == 1 { Channels::Gray } else { Channels::Rgb },
                ..*wanted
            },
            fingerprint: hashes.all.map_or(String::new(), Fingerprint::finish),
            hashes: hashes.each,
            report,
            held_out,
            cache,
            files,
            room: AtomicUsize::new(CACHE.saturating_sub(used_bytes)),
        })
    }

    /// Sets the size of the cache in bytes, by default 1 GiB. The pictures requested first stay in the cache.
    #[must_use]
    pub fn with_cache(mut self, bytes: usize) -> Self {
        self.cache.iter_mut().for_each(|kept| drop(kept.take()));
        self.room = AtomicUsize::new(bytes);
        self
    }

    /// The file of picture `index`. For an archive, the path inside it.
    ///
    /// # Panics
    /// If `index` is not less than [`len`](TrainingData::len).
    #[track_caller]
    pub fn file(&self, index: usize) -> PathBuf {
        self.listing.full_path(self.files[index])
    }

    /// Number of pictures for testing that are not among these: the data's own test part, or every fifth picture.
    pub fn held_out(&self) -> usize {
        self.held_out
    }

    /// What was found, and how it was changed.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Calls `read` with the bytes of a picture.
    fn with_bytes(&self, index: usize, read: impl FnOnce(&[u8])) -> Result<(), DataError> {
        if let Some(kept) = self.cache[index].get() {
            read(kept);
            return Ok(());
        }
        let file = self.files[index];
        let picture = self
            .listing
            .read(file)
            .and_then(|bytes| Picture::read(&bytes, &self.wanted));
        let changed = |found: String| DataError::Unusable {
            place: self.listing.full_path(file),
            expected: "the picture that was there when the data were opened".into(),
            found,
            advice: "restore it, or start again with the current pictures",
        };
        let pixels = picture.map_err(|note| changed(note.text))?.pixels;
        if Sha256::digest(&pixels)[..] != self.hashes[index] {
            return Err(changed("another picture".into()));
        }
        read(&pixels);
        let take = |room: usize| room.checked_sub(pixels.len());
        if self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            // If another thread has cached the same picture, some capacity is lost, but not the picture.
            let _ = self.cache[index].set(pixels.into());
        }
        Ok(())
    }
}

impl TrainingData for LazyPictures {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        let pixels = self.shape.iter().product();
        let mut batch = vec![0.0; indices.len() * pixels];
        batch
            .par_chunks_mut(pixels)
            .zip(indices)
            .try_for_each(|(place, &index)| {
                self.with_bytes(index, |bytes| {
                    for (number, &byte) in place.iter_mut().zip(bytes) {
                        *number = f32::from(byte) / 127.5 - 1.0;
                    }
                })
            })?;
        Ok(batch)
    }

    fn label(&self, index: usize) -> Option<usize> {
        let label = usize::from(self.labels[index]);
        (!self.class_names.is_empty()).then_some(label)
    }

    fn classes(&self) -> usize {
        self.class_names.len()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn image_hashes(&self) -> Vec<String> {
        self.hashes.iter().map(|hash| hex(hash)).collect()
    }

    fn image_names(&self) -> Vec<String> {
        let name = |&file: &usize| shown(self.listing.path(file)).to_string();
        self.files.iter().map(name).collect()
    }

    fn labels_fingerprint(&self) -> String {
        if self.class_names.is_empty() {
            String::new()
        } else {
            sha256_hex(&self.labels)
        }
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl fmt::Debug for LazyPictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyPictures")
            .field("name", &self.name)
            .field("provenance", &self.provenance)
            .field("len", &self.files.len())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Hashes of pictures: each one, and all together.
#[derive(Default)]
struct Hashes {
    each: Vec<[u8; 32]>,
    all: Option<Fingerprint>,
}

impl Hashes {
    fn add(&mut self, size: [usize; 3], pixels: &[u8]) {
        self.each.push(Sha256::digest(pixels).into());
        self.all.get_or_insert_with(|| Fingerprint::new(size)).add(pixels);
    }
}

impl From<LazyPictures> for Arc<dyn TrainingData> {
    fn from(data: LazyPictures) -> Self {
        Arc::new(data)
    }
}
