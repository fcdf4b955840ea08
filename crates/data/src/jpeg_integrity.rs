//! Whether the entropy-coded data of a JPEG file are complete.
//!
//! A decoder shows something for nearly every stream of bits: a file that is cut short ends in gray, a changed byte shifts
//! everything after it. But the number of blocks is fixed by the header. So this module reads all Huffman codes, without
//! computing pixels, and compares: every block must be there, no byte may remain, and no value may be out of range. What it
//! cannot find is a changed byte that leaves all codes and their number valid.
//!
//! *Source*: ITU-T T.81, "Digital compression and coding of continuous-tone still images", 1992, annexes B, F and G.

/// Largest magnitude of a DC coefficient of 8-bit samples: 8 times the largest sample, with a margin for encoders that
/// overshoot white and black.
const MAX_DC: i64 = 1536;

/// Most bytes of 0 in a row in which there are coefficients.
const MAX_ZERO_BYTES: u32 = 16;

/// Checks a file whose size is within limits. Files of rare kinds (arithmetic, lossless, hierarchical) are not checked.
///
/// # Errors
/// The problem, in a few words.
pub(crate) fn check(file: &[u8]) -> Result<(), String> {
    File::default().read(file)
}

fn cut_short() -> String {
    "cut short: its end is missing".into()
}

/// A Huffman table: for each 16 bits the length of the code at their start, and its symbol.
type Table = Vec<(u8, u8)>;

#[derive(Default)]
struct File {
    size: [usize; 2],
    is_progressive: bool,
    precision: u8,
    components: Vec<Component>,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Quantization of the DC coefficient.
    quantization: [i64; 4],
    restart_interval: usize,
}

struct Component {
    id: u8,
    /// Sampling factors, vertical and horizontal.
    sampling: [usize; 2],
    quantization: usize,
    /// Blocks of one row, in whole units of all components.
    stride: usize,
    /// Which coefficients of each block are not zero, for progressive files.
    nonzero: Vec<u64>,
    is_seen: bool,
}

/// The parameters of one scan.
struct Scan {
    /// Component, DC table and AC table of each.
    parts: Vec<[usize; 3]>,
    /// First and last coefficient.
    band: [usize; 2],
    /// Whether bits are added to coefficients of an earlier scan.
    refines: bool,
    /// Number of low bits that follow in later scans.
    low: u32,
}

impl File {
    fn read(mut self, file: &[u8]) -> Result<(), String> {
        let mut at = 2;
        loop {
            // Anything before a marker is skipped, as decoders do.
            let marker = loop {
                match file.get(at..at + 2) {
                    Some([0xff, 0xff]) => at += 1,
                    Some(&[0xff, marker]) if marker != 0 => break marker,
                    Some(_) => at += 1,
                    None => return Err(cut_short()),
                }
            };
            at += 2;
            match marker {
                0xd9 => {
                    return match self.components.iter().all(|component| component.is_seen) {
                        true => Ok(()),
                        false => Err("a color channel is missing".into()),
                    };
                }
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let length = file.get(at..at + 2).ok_or_else(cut_short)?;
            let length = usize::from(length[0]) << 8 | usize::from(length[1]);
            let segment = file.get(at + 2..at + length.max(2)).ok_or_else(cut_short)?;
            at += length.max(2);
            let is_known = match marker {
                0xc0..=0xc2 => self.frame(segment, marker == 0xc2),
                0xc4 => self.tables(segment),
                0xdb => self.quantization(segment),
                0xdd => segment.get(..2).map(|n| {
                    self.restart_interval = usize::from(n[0]) << 8 | usize::from(n[1]);
                }),
                0xda => {
                    // A height that follows later is rare.
                    let Some(scan) = self.scan(segment).filter(|_| self.size[0] > 0) else {
                        return Ok(());
                    };
                    let mut bits = Bits::new(&file[at..]);
                    self.read_scan(&scan, &mut bits)?;
                    at += bits.at;
                    Some(())
                }
                // Other processes, and a height that follows its scan.
                0xc3 | 0xc5..=0xcf | 0xdc => return Ok(()),
                _ => Some(()),
            };
            if is_known.is_none() {
                return Err("an invalid header".into());
            }
        }
    }

    fn frame(&mut self, segment: &[u8], is_progressive: bool) -> Option<()> {
        let &[precision, y1, y0, x1, x0, count, ref rest @ ..] = segment else {
            return None;
        };
        self.precision = precision;
        self.is_progressive = is_progressive;
        self.size = [[y1, y0], [x1, x0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        self.components = rest
            .as_chunks()
            .0
            .iter()
            .take(count.into())
            .map(|&[id, factors, quantization]| Component {
                id,
                sampling: [factors & 15, factors >> 4].map(usize::from),
                quantization: usize::from(quantization & 3),
                stride: 0,
                nonzero: Vec::new(),
                is_seen: false,
            })
            .collect();
        let is_valid = |c: &Component| c.sampling.iter().all(|n| (1..=4).contains(n));
        if self.components.is_empty() || !self.components.iter().all(is_valid) {
            return None;
        }
        let [rows, columns] = self.units();
        for component in &mut self.components {
            let [v, h] = component.sampling;
            component.stride = columns * h;
            if is_progressive {
                component.nonzero = vec![0; rows * v * component.stride];
            }
        }
        Some(())
    }

    /// Largest sampling factors, vertical and horizontal.
    fn sampling(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let factors = self.components.iter().map(|c| c.sampling[axis]);
            factors.max().unwrap_or(1)
        })
    }

    /// Rows and columns of units that hold blocks of all components.
    fn units(&self) -> [usize; 2] {
        let most = self.sampling();
        [0, 1].map(|axis| self.size[axis].div_ceil(8 * most[axis]))
    }

    fn tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let (counts, rest) = rest.split_at_checked(16)?;
            let symbols = rest.get(..counts.iter().map(|&n| usize::from(n)).sum())?;
            segment = &rest[symbols.len()..];
            let tables = if kind >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *tables.get_mut(usize::from(kind & 15))? = Some(table(counts, symbols)?);
        }
        Some(())
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let is_wide = kind >> 4 > 0;
            let (values, rest) = rest.split_at_checked(if is_wide { 128 } else { 64 })?;
            let first = match is_wide {
                true => i64::from(values[0]) << 8 | i64::from(values[1]),
                false => values[0].into(),
            };
            *self.quantization.get_mut(usize::from(kind & 15))? = first;
            segment = rest;
        }
        Some(())
    }

    fn scan(&self, segment: &[u8]) -> Option<Scan> {
        let (&count, rest) = segment.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, bits, ..] = rest else {
            return None;
        };
        let part = |&[id, tables]: &[u8; 2]| {
            let component = self.components.iter().position(|component| component.id == id)?;
            Some([component, usize::from(tables >> 4) & 3, usize::from(tables) & 3])
        };
        let parts: Vec<[usize; 3]> = parts.as_chunks().0.iter().map(part).collect::<Option<_>>()?;
        let (band, bits) = match self.is_progressive {
            true => ([first, last].map(usize::from), bits),
            false => ([0, 63], 0),
        };
        let is_valid = !parts.is_empty() && band[0] <= band[1] && band[1] < 64 && bits & 15 < 14;
        is_valid.then(|| Scan {
            parts,
            band,
            refines: bits >> 4 > 0,
            low: u32::from(bits & 15),
        })
    }

    /// Reads all blocks of a scan, up to the marker after it.
    fn read_scan(&mut self, scan: &Scan, bits: &mut Bits<'_>) -> Result<(), String> {
        let most = self.sampling();
        // A single component has no padding up to whole units.
        let (units, blocks): ([usize; 2], Vec<[usize; 2]>) = match *scan.parts {
            [[component, ..]] => {
                let own = self.components[component].sampling;
                let blocks = [0, 1].map(|axis| (self.size[axis] * own[axis]).div_ceil(8 * most[axis]));
                (blocks, vec![[1, 1]])
            }
            _ => {
                let own = scan
                    .parts
                    .iter()
                    .map(|&[component, ..]| self.components[component].sampling);
                (self.units(), own.collect())
            }
        };
        let mut state = State::default();
        let total = units[0] * units[1];
        for unit in 0..total {
            if self.restart_interval > 0 && unit > 0 && unit.is_multiple_of(self.restart_interval) {
                state.end(bits)?;
                bits.restart(unit / self.restart_interval - 1)?;
                state = State::default();
            }
            let (row, column) = (unit / units[1], unit % units[1]);
            for (part, &[v, h]) in scan.parts.iter().zip(&blocks) {
                for block in 0..v * h {
                    let place = (row * v + block / h, column * h + block % h);
                    self.block(scan, *part, place, &mut state, bits)?;
                }
            }
            if bits.is_past_end() {
                return Err(match bits.at_end_of_file() {
                    true => cut_short(),
                    false => format!("its coded data end after {unit} of {total} blocks"),
                });
            }
        }
        state.end(bits)?;
        for &[component, ..] in &scan.parts {
            self.components[component].is_seen = true;
        }
        Ok(())
    }

    fn block(
        &mut self,
        scan: &Scan,
        [component, dc, ac]: [usize; 3],
        (row, column): (usize, usize),
        state: &mut State,
        bits: &mut Bits<'_>,
    ) -> Result<(), String> {
        let invalid = || "its coded data hold an invalid code".to_string();
        let [mut first, last] = scan.band;
        let is_eight_bit = self.precision == 8;
        let channel = &mut self.components[component];
        if first == 0 {
            if scan.refines {
                bits.take(1);
                return Ok(());
            }
            let table = self.dc[dc].as_ref().ok_or_else(invalid)?;
            let length = bits.symbol(table).ok_or_else(invalid)?;
            if length > if is_eight_bit { 11 } else { 15 } {
                return Err(invalid());
            }
            let value = i64::from(bits.take(length.into()));
            let is_negative = length > 0 && value < 1 << (length - 1);
            let sum = &mut state.dc[component & 3];
            *sum += value - if is_negative { (1 << length) - 1 } else { 0 };
            let step = self.quantization[channel.quantization].max(1) << scan.low;
            if is_eight_bit && (*sum * step).abs() > MAX_DC + step {
                return Err("its coded data hold a value out of range".into());
            }
            if self.is_progressive {
                return Ok(());
            }
            first = 1;
        }
        let table = self.ac[ac].as_ref().ok_or_else(invalid)?;
        let index = row * channel.stride + column;
        // A baseline block is not visited again.
        let mut unused = 0;
        let nonzero = channel.nonzero.get_mut(index).unwrap_or(&mut unused);
        let mut k = first;
        let correct = |k: usize, nonzero: u64, bits: &mut Bits<'_>| {
            let has = nonzero >> k & 1 == 1;
            if has {
                bits.take(1);
            }
            has
        };
        if state.empty_blocks == 0 {
            while k <= last {
                let code = bits.symbol(table).ok_or_else(invalid)?;
                let (mut zeros, length) = (usize::from(code >> 4), code & 15);
                if length == 0 && zeros < 15 {
                    if !self.is_progressive && zeros > 0 {
                        return Err(invalid());
                    }
                    state.empty_blocks = (1 << zeros) + bits.take(zeros as u32);
                    break;
                }
                if length > 0 && (scan.refines && length > 1 || is_eight_bit && length > 10) {
                    return Err(invalid());
                }
                // All bits 0 mean coefficients of -1 up to the end of each block, which no picture has.
                if length > 0 && !scan.refines && bits.zero_bytes >= MAX_ZERO_BYTES {
                    return Err("its coded data hold a gap of zeros".into());
                }
                bits.take(length.into());
                if scan.refines {
                    while k <= last {
                        if !correct(k, *nonzero, bits) {
                            if zeros == 0 {
                                break;
                            }
                            zeros -= 1;
                        }
                        k += 1;
                    }
                } else {
                    k += zeros;
                }
                if length > 0 {
                    if k > last {
                        return Err(invalid());
                    }
                    *nonzero |= 1 << k;
                }
                k += 1;
            }
            if !scan.refines && state.empty_blocks == 0 && k > last + 1 {
                return Err(invalid());
            }
        }
        if state.empty_blocks > 0 {
            if scan.refines {
                for k in k..=last {
                    correct(k, *nonzero, bits);
                }
            }
            state.empty_blocks -= 1;
        }
        Ok(())
    }
}

/// What one block leaves to the next.
#[derive(Default)]
struct State {
    dc: [i64; 4],
    /// Blocks without further coefficients, with the current one.
    empty_blocks: u32,
}

impl State {
    /// Ends a restart interval.
    fn end(&self, bits: &Bits<'_>) -> Result<(), String> {
        if bits.is_past_end() {
            return Err(cut_short());
        }
        if self.empty_blocks > 0 {
            return Err("its coded data describe too many blocks".into());
        }
        match bits.bytes_left() {
            0 => Ok(()),
            n => Err(format!("{n} bytes of its coded data are left over")),
        }
    }
}

/// The table of a code with these numbers of codes per length.
fn table(counts: &[u8], symbols: &[u8]) -> Option<Table> {
    let mut table = vec![(0, 0); 1 << 16];
    let (mut start, mut symbols) = (0_usize, symbols.iter());
    for (length, &count) in (1_u8..).zip(counts) {
        let codes = 1 << (16 - length);
        for &symbol in symbols.by_ref().take(count.into()) {
            table.get_mut(start..start + codes)?.fill((length, symbol));
            start += codes;
        }
    }
    Some(table)
}

/// The bits of entropy-coded data, up to the next marker. After it follow zeros.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    bits: u64,
    count: u32,
    /// Number of `bits` that are not in the file.
    padding: u32,
    /// Number of bytes of 0 in a row, up to the last one that was read.
    zero_bytes: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            bits: 0,
            count: 0,
            padding: 0,
            zero_bytes: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            let is_gap = byte == 0 && self.padding == 0;
            self.zero_bytes = if is_gap { self.zero_bytes + 1 } else { 0 };
            self.bits = self.bits << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn take(&mut self, count: u32) -> u32 {
        if self.count < count {
            self.fill();
        }
        self.count -= count;
        (self.bits >> self.count) as u32 & ((1 << count) - 1)
    }

    fn symbol(&mut self, table: &Table) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = table[(self.bits >> (self.count - 16)) as usize & 0xffff];
        self.count -= u32::from(length);
        (length > 0).then_some(symbol)
    }

    fn is_past_end(&self) -> bool {
        self.count < self.padding
    }

    fn at_end_of_file(&self) -> bool {
        self.at + 1 >= self.data.len()
    }

    /// Whole bytes before the next marker.
    fn bytes_left(&self) -> usize {
        let rest = &self.data[self.at..];
        let marker = rest.windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0);
        (self.count - self.padding) as usize / 8 + marker.unwrap_or(0)
    }

    /// Continues after restart marker `number`, from 0.
    fn restart(&mut self, number: usize) -> Result<(), String> {
        while self.data.get(self.at..self.at + 2) == Some(&[0xff, 0xff]) {
            self.at += 1;
        }
        match self.data.get(self.at..self.at + 2) {
            Some(&[0xff, marker]) if marker == 0xd0 + (number % 8) as u8 => {
                *self = Self {
                    at: self.at + 2,
                    ..Self::new(self.data)
                };
                Ok(())
            }
            Some(_) => Err("a restart marker is missing".into()),
            None => Err(cut_short()),
        }
    }
}
