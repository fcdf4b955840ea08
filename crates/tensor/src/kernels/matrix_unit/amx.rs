//! Intel AMX: tiles of bfloat16 numbers.
//!
//! The instructions have no stable intrinsics, so they are written in assembly. A block of sums is computed by one piece of
//! assembly. The compiler itself never uses tile registers, and a thread releases them before it does anything else.
#![allow(unsafe_code)]

use super::avx512::packed;
use super::product::{BLOCK, DEPTH, Inner, Pack, SIDE, Shape, Tile, Unit};
use crate::kernels::gemm::Accum;
use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Whether the CPU has tiles of bfloat16 numbers and AVX512-BF16, and the system lets this process use them.
///
/// Linux gives them on request, once for all threads of a process.
fn is_usable() -> bool {
    // Leaf 7: bit 22 of EDX is AMX-BF16, bit 24 is AMX-TILE. Bits 17 and 18 of XCR0: the system saves the registers.
    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    const SAVED: u64 = 1 << 17 | 1 << 18;
    let has_vectors = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bf16");
    // The assembly reads 64-bit pointers. A CPU with AVX-512 has leaf 7 and XSAVE.
    has_vectors
        && cfg!(target_pointer_width = "64")
        && leaf_7() & BF16_AND_TILES == BF16_AND_TILES
        // SAFETY: the system saves the registers of AVX-512, so it has enabled XSAVE.
        && unsafe { saved_registers() } & SAVED == SAVED
        && is_permitted()
}

/// EDX of leaf 7, which the CPU must have.
#[allow(unused_unsafe, reason = "the function is unsafe before Rust 1.94")]
fn leaf_7() -> u32 {
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe { __cpuid_count(7, 0) }.edx
}

/// # Safety
/// The CPU must support XSAVE, and the system must have enabled it.
#[target_feature(enable = "xsave")]
unsafe fn saved_registers() -> u64 {
    // SAFETY: the caller's contract.
    unsafe { _xgetbv(0) }
}

#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let answer: i64;
    // SAFETY: this system call changes nothing but the permission. It takes numbers only. Linux overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The tile registers of this thread, with the sizes of a block. Dropping it releases them.
pub(crate) struct Amx {
    /// Tiles belong to a thread.
    thread: PhantomData<*const ()>,
    is_double: [bool; 2],
}

/// The memory that `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

/// What the assembly reads.
#[repr(C)]
struct Call {
    segments: *const [usize; 2],
    end: *const [usize; 2],
    left: *const Tile,
    right: *const Tile,
    depth: usize,
    to: *mut f32,
    /// Bytes between two rows of sums.
    step: usize,
    is_added: usize,
}

/// A function for blocks of one kind.
///
/// Registers: tmm0 to tmm3 are the sums (row by row of the block), tmm4 and tmm5 left tiles, tmm6 and tmm7 right tiles.
macro_rules! block {
    ($name:ident, $operand:literal, read [$($read:literal)*], zero [$($zero:literal)*], add [$($add:literal)*],
     write [$($write:literal)*]) => {
        /// # Safety
        /// See [`Unit::multiply`]. The tiles are configured for the block.
        unsafe fn $name(call: &Call) {
            // SAFETY: the caller's contract. Tiles read and write no more rows and bytes than they are configured for.
            unsafe {
                asm!(
                    "mov {upper}, [{call} + 40]",
                    "mov {step}, [{call} + 48]",
                    "mov {lower}, {step}",
                    "shl {lower}, 4",
                    "add {lower}, {upper}",
                    "cmp qword ptr [{call} + 56], 0",
                    "je 2f",
                    $($read,)*
                    "jmp 3f",
                    "2:",
                    $($zero,)*
                    "3:",
                    "mov {segment}, [{call}]",
                    "mov {step:e}, 64",
                    "4:",
                    "cmp {segment}, [{call} + 8]",
                    "je 6f",
                    "mov {a}, [{segment}]",
                    "mov {b}, [{segment} + 8]",
                    concat!("imul {a}, {a}, ", $operand),
                    concat!("imul {b}, {b}, ", $operand),
                    "add {a}, [{call} + 16]",
                    "add {b}, [{call} + 24]",
                    "add {segment}, 16",
                    "mov {k}, [{call} + 32]",
                    "5:",
                    $($add,)*
                    concat!("add {a}, ", $operand),
                    concat!("add {b}, ", $operand),
                    "dec {k}",
                    "jnz 5b",
                    "jmp 4b",
                    "6:",
                    "mov {step}, [{call} + 48]",
                    $($write,)*
                    call = in(reg) call,
                    upper = out(reg) _,
                    lower = out(reg) _,
                    step = out(reg) _,
                    segment = out(reg) _,
                    a = out(reg) _,
                    b = out(reg) _,
                    k = out(reg) _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

// Offsets of the tiles of an operand: with one part 0 and 1024; with two parts 0 and 1024 of the first, 2048 and 3072 of the
// second.
block!(one_11, "2048",
    read ["tileloadd tmm0, [{upper} + {step}*1]"],
    zero ["tilezero tmm0"],
    add [
        "tileloadd tmm4, [{a} + {step}*1]"
        "tileloadd tmm6, [{b} + {step}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
    ],
    write ["tilestored [{upper} + {step}*1], tmm0"]);
block!(one_12, "2048",
    read ["tileloadd tmm0, [{upper} + {step}*1]" "tileloadd tmm1, [{upper} + {step}*1 + 64]"],
    zero ["tilezero tmm0" "tilezero tmm1"],
    add [
        "tileloadd tmm4, [{a} + {step}*1]"
        "tileloadd tmm6, [{b} + {step}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm7, [{b} + {step}*1 + 1024]"
        "tdpbf16ps tmm1, tmm4, tmm7"
    ],
    write ["tilestored [{upper} + {step}*1], tmm0" "tilestored [{upper} + {step}*1 + 64], tmm1"]);
block!(one_21, "2048",
    read ["tileloadd tmm0, [{upper} + {step}*1]" "tileloadd tmm2, [{lower} + {step}*1]"],
    zero ["tilezero tmm0" "tilezero tmm2"],
    add [
        "tileloadd tmm4, [{a} + {step}*1]"
        "tileloadd tmm6, [{b} + {step}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{a} + {step}*1 + 1024]"
        "tdpbf16ps tmm2, tmm5, tmm6"
    ],
    write ["tilestored [{upper} + {step}*1], tmm0" "tilestored [{lower} + {step}*1], tmm2"]);
block!(one_22, "2048",
read [
    "tileloadd tmm0, [{upper} + {step}*1]" "tileloadd tmm1, [{upper} + {step}*1 + 64]"
    "tileloadd tmm2, [{lower} + {step}*1]" "tileloadd tmm3, [{lower} + {step}*1 + 64]"
],
zero ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
add [
    "tileloadd tmm4, [{a} + {step}*1]"
    "tileloadd tmm6, [{b} + {step}*1]"
    "tdpbf16ps tmm0, tmm4, tmm6"
    "tileloadd tmm7, [{b} + {step}*1 + 1024]"
    "tdpbf16ps tmm1, tmm4, tmm7"
    "tileloadd tmm5, [{a} + {step}*1 + 1024]"
    "tdpbf16ps tmm2, tmm5, tmm6"
    "tdpbf16ps tmm3, tmm5, tmm7"
],
write [
    "tilestored [{upper} + {step}*1], tmm0" "tilestored [{upper} + {step}*1 + 64], tmm1"
    "tilestored [{lower} + {step}*1], tmm2" "tilestored [{lower} + {step}*1 + 64], tmm3"
]);
block!(two_11, "4096",
    read ["tileloadd tmm0, [{upper} + {step}*1]"],
    zero ["tilezero tmm0"],
    add [
        "tileloadd tmm4, [{a} + {step}*1]"
        "tileloadd tmm7, [{b} + {step}*1 + 2048]"
        "tdpbf16ps tmm0, tmm4, tmm7"
        "tileloadd tmm6, [{b} + {step}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{a} + {step}*1 + 2048]"
        "tdpbf16ps tmm0, tmm5, tmm6"
    ],
    write ["tilestored [{upper} + {step}*1], tmm0"]);
block!(two_12, "4096",
    read ["tileloadd tmm0, [{upper} + {step}*1]" "tileloadd tmm1, [{upper} + {step}*1 + 64]"],
    zero ["tilezero tmm0" "tilezero tmm1"],
    add [
        "tileloadd tmm4, [{a} + {step}*1]"
        "tileloadd tmm6, [{b} + {step}*1 + 2048]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm7, [{b} + {step}*1 + 3072]"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloadd tmm6, [{b} + {step}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm7, [{b} + {step}*1 + 1024]"
        "tdpbf16ps tmm1, tmm4, tmm7"
        "tileloadd tmm4, [{a} + {step}*1 + 2048]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm1, tmm4, tmm7"
    ],
    write ["tilestored [{upper} + {step}*1], tmm0" "tilestored [{upper} + {step}*1 + 64], tmm1"]);
block!(two_21, "4096",
    read ["tileloadd tmm0, [{upper} + {step}*1]" "tileloadd tmm2, [{lower} + {step}*1]"],
    zero ["tilezero tmm0" "tilezero tmm2"],
    add [
        "tileloadd tmm4, [{a} + {step}*1]"
        "tileloadd tmm6, [{b} + {step}*1 + 2048]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{a} + {step}*1 + 1024]"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tileloadd tmm6, [{b} + {step}*1]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tdpbf16ps tmm2, tmm5, tmm6"
        "tileloadd tmm4, [{a} + {step}*1 + 2048]"
        "tdpbf16ps tmm0, tmm4, tmm6"
        "tileloadd tmm5, [{a} + {step}*1 + 3072]"
        "tdpbf16ps tmm2, tmm5, tmm6"
    ],
    write ["tilestored [{upper} + {step}*1], tmm0" "tilestored [{lower} + {step}*1], tmm2"]);
block!(two_22, "4096",
read [
    "tileloadd tmm0, [{upper} + {step}*1]" "tileloadd tmm1, [{upper} + {step}*1 + 64]"
    "tileloadd tmm2, [{lower} + {step}*1]" "tileloadd tmm3, [{lower} + {step}*1 + 64]"
],
zero ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
add [
    "tileloadd tmm4, [{a} + {step}*1]"
    "tileloadd tmm6, [{b} + {step}*1 + 2048]"
    "tdpbf16ps tmm0, tmm4, tmm6"
    "tileloadd tmm7, [{b} + {step}*1 + 3072]"
    "tdpbf16ps tmm1, tmm4, tmm7"
    "tileloadd tmm5, [{a} + {step}*1 + 1024]"
    "tdpbf16ps tmm2, tmm5, tmm6"
    "tdpbf16ps tmm3, tmm5, tmm7"
    "tileloadd tmm6, [{b} + {step}*1]"
    "tdpbf16ps tmm0, tmm4, tmm6"
    "tileloadd tmm7, [{b} + {step}*1 + 1024]"
    "tdpbf16ps tmm1, tmm4, tmm7"
    "tdpbf16ps tmm2, tmm5, tmm6"
    "tdpbf16ps tmm3, tmm5, tmm7"
    "tileloadd tmm4, [{a} + {step}*1 + 2048]"
    "tdpbf16ps tmm0, tmm4, tmm6"
    "tdpbf16ps tmm1, tmm4, tmm7"
    "tileloadd tmm5, [{a} + {step}*1 + 3072]"
    "tdpbf16ps tmm2, tmm5, tmm6"
    "tdpbf16ps tmm3, tmm5, tmm7"
],
write [
    "tilestored [{upper} + {step}*1], tmm0" "tilestored [{upper} + {step}*1 + 64], tmm1"
    "tilestored [{lower} + {step}*1], tmm2" "tilestored [{lower} + {step}*1 + 64], tmm3"
]);

impl Unit for Amx {
    fn is_available() -> bool {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(is_usable)
    }

    fn pack<T: Pack>(task: T) {
        // SAFETY: the callers have asserted `is_available`, which checks the features.
        unsafe { packed(task) }
    }

    fn new(shape: Shape) -> Self {
        let Shape { rows, columns } = shape;
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_of_row: [0; 16],
            rows: [0; 16],
        };
        let mut set = |tile: usize, rows: usize, bytes: usize| {
            if rows > 0 && bytes > 0 {
                configuration.rows[tile] = rows as u8;
                configuration.bytes_of_row[tile] = bytes as u16;
            }
        };
        // A block with one row or column of tiles uses the registers of the second for its second part.
        let or_first = |[first, second]: [usize; BLOCK]| [first, if second > 0 { second } else { first }];
        let (all_rows, all_columns) = (or_first(rows), or_first(columns));
        let bytes = columns.map(|columns| size_of::<f32>() * columns);
        set(0, rows[0], bytes[0]);
        set(1, rows[0], bytes[1]);
        set(2, rows[1], bytes[0]);
        set(3, rows[1], bytes[1]);
        for i in 0..BLOCK {
            set(4 + i, all_rows[i], size_of::<u16>() * DEPTH);
            set(6 + i, SIDE, size_of::<f32>() * all_columns[i]);
        }
        // SAFETY: the callers have asserted `is_available`, which asks for permission. The configuration is valid: palette 1, at
        // most 16 rows of at most 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack)) };
        Self {
            thread: PhantomData,
            is_double: [rows[1] > 0, columns[1] > 0],
        }
    }

    unsafe fn multiply<const PARTS: usize>(
        &mut self,
        inner: Inner<'_>,
        left: *const Tile,
        right: *const Tile,
        (to, step): (*mut f32, usize),
        accum: Accum,
    ) {
        const { assert!(PARTS == 1 || PARTS == 2, "one part or two") };
        let range = inner.segments.as_ptr_range();
        let call = Call {
            segments: range.start,
            end: range.end,
            left,
            right,
            depth: inner.depth,
            to,
            step: size_of::<f32>() * step,
            is_added: usize::from(accum == Accum::Add),
        };
        let run = match (PARTS, self.is_double) {
            (1, [false, false]) => one_11,
            (1, [false, true]) => one_12,
            (1, [true, false]) => one_21,
            (1, [true, true]) => one_22,
            (_, [false, false]) => two_11,
            (_, [false, true]) => two_12,
            (_, [true, false]) => two_21,
            (_, [true, true]) => two_22,
        };
        // SAFETY: the caller's contract, and `new` has configured the tiles.
        unsafe { run(&call) }
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        let _ = self.thread;
        // SAFETY: no tile is in use after this.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
