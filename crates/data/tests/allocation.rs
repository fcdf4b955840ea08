//! Peak memory of the readers for hostile files, counted by the allocator.

// Counting requires a global allocator, and its trait is unsafe to implement.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::{Cursor, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engraft_data::{DataError, DataOptions, DataSource, Idx, Loaded, Npy};
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage};

/// The system's allocator, with the current and the peak number of bytes.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` unchanged. The counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        // SAFETY: the caller's contract is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        // SAFETY: the caller's contract is that of `System`. Memory that is only reserved costs no time.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), SeqCst);
        // SAFETY: `pointer` came from `System` with this layout, by the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests take turns, because the counters are global.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Peak bytes of `read`, beyond those held before.
fn peak(read: impl FnOnce()) -> usize {
    let before = HELD.load(SeqCst);
    PEAK.store(before, SeqCst);
    read();
    PEAK.load(SeqCst) - before
}

/// Incompressible bytes: the high byte of a 64-bit linear congruential generator.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("writing to a vector cannot fail");
    encoder.finish().expect("writing to a vector cannot fail")
}

fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

const MIB: usize = 1 << 20;

/// Compares the peaks of both ways of reading with the limit for a file of this length.
fn check(what: &str, file: &[u8], unpacked: usize, from_memory: usize, from_disk: usize) {
    // While a buffer doubles, both the old and the new one exist.
    let limit = (2 * file.len()).max(3 * unpacked) + MIB;
    println!(
        "{what}: {} bytes of file, {from_memory} and {from_disk} bytes of memory",
        file.len()
    );
    assert!(
        from_memory <= limit && from_disk <= limit,
        "{what}: {from_memory}, {from_disk} > {limit}"
    );
}

#[test]
fn memory_follows_the_bytes_that_are_there() {
    let _turn = turn();
    let half = |file: Vec<u8>| file[..file.len() / 2].to_vec();
    // The claim, the file, and the number of bytes that really unpack from it (0 for a raw file).
    let table = [
        ("raw, overflowing sizes", idx(&[u32::MAX; 3], &[3; 100]), 0),
        ("raw, 2 GiB claimed", idx(&[1 << 31], &[3; 100]), 0),
        (
            "raw, 1 GiB claimed by images",
            idx(&[1 << 20, 32, 32], &[3; 100]),
            0,
        ),
        ("raw, honest", idx(&[4096, 32, 32], &noise(4 * MIB)), 0),
        (
            "raw, one byte short",
            idx(&[4096, 32, 32], &noise(4 * MIB - 1)),
            0,
        ),
        (
            "gzip, 2 GiB claimed by a small file",
            gzip(&idx(&[1 << 31], &[3; 100])),
            100,
        ),
        (
            "gzip, the most claimed that passes at first",
            gzip(&idx(&[60_000], &[3; 100])),
            100,
        ),
        (
            "gzip, 1 GiB claimed, 2 MiB there",
            gzip(&idx(&[1 << 20, 32, 32], &noise(2 * MIB))),
            2 * MIB,
        ),
        (
            "gzip, honest and 1000 to 1",
            gzip(&idx(&[16384, 32, 32], &vec![3; 16 * MIB])),
            16 * MIB,
        ),
        (
            "gzip bomb behind a small claim",
            gzip(&idx(&[10], &vec![3; 64 * MIB])),
            10,
        ),
        (
            "gzip cut in half",
            half(gzip(&idx(&[4096, 32, 32], &noise(4 * MIB)))),
            2 * MIB,
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (what, file, unpacked) in table {
        let path = dir.path().join("file");
        std::fs::write(&path, &file).unwrap();
        let from_memory = peak(|| drop(Idx::from_bytes(&file, &path)));
        let from_disk = peak(|| drop(Idx::open(&path)));
        check(what, &file, unpacked, from_memory, from_disk);
    }

    // Slightly above 4 MiB, where a doubling buffer has the most excess.
    let data = noise(4 * MIB + 8);
    let long_header = [b"\x93NUMPY\x02\x00\x00\x00\x01\x00", &vec![1; 1 << 16][..]].concat();
    let table = [
        (
            "npy, overflowing sizes",
            npy("<f8", "(4294967296, 4294967296)", &[3; 100]),
        ),
        ("npy, 512 MiB claimed", npy("<f4", "(134217728,)", &[3; 100])),
        (
            "npy, a header of 4 GiB claimed",
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
        ),
        ("npy, the longest header, of no sense", long_header),
        ("npy, honest bytes", npy("|u1", "(4194312,)", &data)),
        ("npy, honest and single", npy("<f4", "(1048578,)", &data)),
        ("npy, honest and double", npy("<f8", "(524289,)", &data)),
        (
            "npy, one byte short",
            npy("<f4", "(1048578,)", &data[..data.len() - 1]),
        ),
    ];
    for (what, file) in table {
        let path = dir.path().join("file");
        std::fs::write(&path, &file).unwrap();
        let from_memory = peak(|| drop(Npy::from_bytes(&file, &path)));
        let from_disk = peak(|| drop(Npy::open(&path)));
        check(what, &file, 0, from_memory, from_disk);
    }
}

/// Limit of a decoded picture.
const PICTURE: usize = 256 * MIB;
/// Memory that decoding a picture at its limit needs: the picture, a copy, and tables.
const DECODING: usize = 3 * PICTURE + 16 * MIB;

/// A picture of 8x8 that is not flat.
fn encoded(format: ImageFormat, is_gray: bool) -> Vec<u8> {
    let picture = RgbImage::from_fn(8, 8, |x, y| {
        Rgb([31 * x + 7 * y, 13 * x * y, 5 * x + 30 * y].map(|value| value as u8))
    });
    let picture = DynamicImage::from(picture);
    let picture = if is_gray {
        picture.to_luma8().into()
    } else {
        picture
    };
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, format);
    written.expect("writing to a vector cannot fail");
    bytes.into_inner()
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    let at = bytes.windows(part.len()).position(|found| found == part);
    at.expect("the file has this part")
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    bytes[at..at + part.len()].copy_from_slice(part);
}

/// The checksum of a chunk of PNG.
fn checksum(chunk: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(chunk);
    crc.sum().to_be_bytes()
}

/// The same picture in a file that claims another width and height.
fn claiming(format: ImageFormat, is_gray: bool, [w, h]: [u32; 2]) -> Vec<u8> {
    let mut bytes = encoded(format, is_gray);
    let short = |side: u32| u16::try_from(side).expect("a side of this format");
    match format {
        ImageFormat::Png => {
            put(&mut bytes, 16, &[w, h].map(u32::to_be_bytes).concat());
            let sum = checksum(&bytes[12..29]);
            put(&mut bytes, 29, &sum);
        }
        ImageFormat::Jpeg => {
            let frame = find(&bytes, &[0xff, 0xc0]);
            let sides = [short(h), short(w)].map(u16::to_be_bytes);
            put(&mut bytes, frame + 5, &sides.concat());
        }
        ImageFormat::Gif => {
            let sides = [short(w), short(h)].map(u16::to_le_bytes).concat();
            let frame = find(&bytes, &[0x2c, 0, 0, 0, 0, 8, 0, 8, 0]);
            put(&mut bytes, 6, &sides);
            put(&mut bytes, frame + 5, &sides);
        }
        ImageFormat::Bmp => put(&mut bytes, 18, &[w, h].map(u32::to_le_bytes).concat()),
        ImageFormat::WebP => {
            assert_eq!(&bytes[12..16], b"VP8L");
            // The four highest bits are not of the sides.
            let sides = ((h - 1) << 14) | (w - 1) | (u32::from(bytes[24] >> 4) << 28);
            put(&mut bytes, 21, &sides.to_le_bytes());
        }
        ImageFormat::Tiff => {
            assert_eq!(&bytes[..4], b"II*\0");
            let short = |at: usize| usize::from(bytes[at]) + 256 * usize::from(bytes[at + 1]);
            let directory = short(4) + 65536 * short(6);
            let entries = (0..short(directory)).map(|i| directory + 2 + 12 * i);
            let tags: Vec<[usize; 2]> = entries.map(|at| [short(at), at]).collect();
            for [tag, at] in tags {
                match tag {
                    256 => put(&mut bytes, at + 8, &w.to_le_bytes()),
                    // The height, and the rows of a strip.
                    257 | 278 => put(&mut bytes, at + 8, &h.to_le_bytes()),
                    _ => {}
                }
            }
        }
        other => panic!("{other:?}"),
    }
    bytes
}

/// Reads a folder of these files. Returns the peak of the memory, and the data.
fn read(files: &[Vec<u8>]) -> (usize, Result<Loaded, DataError>) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (i, file) in files.iter().enumerate() {
        fs::write(folder.path().join(i.to_string()), file).expect("a written file");
    }
    let source = DataSource::Folder(folder.path().into());
    let mut options = DataOptions::new();
    options.size = Some([8, 8]);
    let mut found = None;
    let memory = peak(|| found = Some(source.open(&options)));
    (memory, found.expect("it was opened"))
}

/// Why none of the files is used.
fn reasons(found: Result<Loaded, DataError>) -> String {
    match found {
        Err(DataError::NoPictures { reasons, .. }) => reasons.join("\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn small_files_that_claim_large_pictures_take_no_more_than_the_limits() {
    let _turn = turn();
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Gif,
    ] {
        // The decoder of WebP takes 16384 for 0.
        let side = if format == ImageFormat::WebP { 16383 } else { 16384 };
        let file = claiming(format, false, [side, side]);
        let (memory, found) = read(std::slice::from_ref(&file));
        println!(
            "{format:?} above the limit: {} bytes of file, {memory} bytes of memory",
            file.len()
        );
        let reasons = reasons(found);
        assert!(reasons.contains("256 MiB decoded"), "{format:?}: {reasons}");
        assert!(memory <= 4 * MIB, "{format:?}: {memory} bytes");
    }
    // Not JPEG, of which the decoder fills what is missing with gray.
    for (format, is_gray, sides) in [
        (ImageFormat::Png, true, [16384, 16384]),
        (ImageFormat::Tiff, true, [16384, 16384]),
        (ImageFormat::Gif, false, [8192, 8192]),
        (ImageFormat::Bmp, false, [16384, 5461]),
        (ImageFormat::WebP, false, [16383, 5461]),
    ] {
        let file = claiming(format, is_gray, sides);
        // Together, several take no more than one, because they wait for each other.
        for count in [1, 4] {
            let (memory, found) = read(&vec![file.clone(); count]);
            println!(
                "{count} {format:?} at the limit: {} bytes of file, {memory} bytes of memory",
                file.len()
            );
            let reasons = reasons(found);
            assert_eq!(
                reasons.matches("left out: damaged").count(),
                count,
                "{format:?}: {reasons}"
            );
            assert!(memory <= DECODING, "{count} {format:?}: {memory} bytes");
        }
    }
}

/// What a file has besides its first picture claims much.
#[test]
fn claims_of_metadata_and_of_further_frames_take_little_memory() {
    let _turn = turn();
    let mut frames = Vec::new();
    let mut encoder = GifEncoder::new(&mut frames);
    let picture = RgbImage::from_fn(8, 8, |x, y| Rgb([x, y, x * y].map(|value| value as u8)));
    for _ in 0..2 {
        let frame = Frame::new(DynamicImage::from(picture.clone()).to_rgba8());
        encoder
            .encode_frame(frame)
            .expect("writing to a vector cannot fail");
    }
    drop(encoder);
    // The second frame has 65535x65535 pixels, 16 GiB.
    let part: [u8; 9] = [0x2c, 0, 0, 0, 0, 8, 0, 8, 0];
    let second = frames.windows(part.len()).rposition(|found| found == part);
    put(&mut frames, second.expect("a second frame") + 5, &[0xff; 4]);

    // EXIF data of 4 GiB.
    let image = &encoded(ImageFormat::WebP, false)[12..];
    let header: [u8; 10] = [8, 0, 0, 0, 7, 0, 0, 7, 0, 0];
    let size = 0xffff_fff0_u32.to_le_bytes();
    let chunks = [
        b"WEBPVP8X\x0a\0\0\0",
        &header[..],
        image,
        b"EXIF",
        &size,
        b"MM\0*",
    ]
    .concat();
    let length = (chunks.len() as u32).to_le_bytes();
    let exif = [b"RIFF", &length[..], &chunks].concat();

    // A color profile that unpacks to 512 MiB: pieces of 1 MiB, of which each begins anew.
    let mut packer = Compress::new(Compression::best(), true);
    let zeros = vec![0; MIB];
    let [first, later] = [0, 1].map(|_| {
        let mut piece = Vec::with_capacity(MIB);
        let packed = packer.compress_vec(&zeros, &mut piece, FlushCompress::Full);
        packed.expect("zeros can be packed");
        piece
    });
    assert_eq!(packer.total_in(), 2 * MIB as u64, "all was packed");
    let profile = [b"iCCPa\0\0", &first[..], &later.repeat(511)].concat();
    let length = (profile.len() as u32 - 4).to_be_bytes();
    let png = encoded(ImageFormat::Png, false);
    let profile = [&png[..33], &length, &profile, &checksum(&profile), &png[33..]].concat();

    for (what, file, most) in [
        ("a frame of 16 GiB", frames, 4 * MIB),
        ("EXIF data of 4 GiB", exif, 4 * MIB),
        ("a profile of 512 MiB", profile, 160 * MIB),
    ] {
        let (memory, found) = read(std::slice::from_ref(&file));
        println!("{what}: {} bytes of file, {memory} bytes of memory", file.len());
        // The picture itself is whole.
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.train.len(), 1, "{what}: {}", found.report);
        assert!(memory <= most, "{what}: {memory} bytes");
    }
}
