//! Portable SIMD: one source for all instruction sets, chosen at run time.
//!
//! A kernel is a [`Task`]. [`dispatch`] compiles it once per instruction set and runs the best one that the CPU
//! supports. So a plain release build is fast and still runs on old CPUs. The compiler vectorizes plain loops in a
//! task for that instruction set. Kernels that need more control use [`Vector`].
#![allow(unsafe_code)]

use std::sync::OnceLock;

/// Instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The baseline of the target.
    Portable,
    /// AVX2 with fused multiply-add, on x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with the parts that every CPU with AVX-512 has supported since Skylake-X and Zen 4.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Environment variable that lowers the choice. `portable` runs the code of a CPU without AVX2, `avx2` that of a CPU
/// without AVX-512, `avx512` that of a CPU without AVX512-BF16, `avx512bf16` that of a CPU without AMX. matrixmultiply (dense
/// layers and products of im2col, where no matrix unit computes them) makes its own choice.
const VARIABLE: &str = "ENGRAFT_SIMD";

/// The level in use, detected once.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let most = match std::env::var_os(VARIABLE) {
            Some(asked) if asked == "portable" => Level::Portable,
            #[cfg(target_arch = "x86_64")]
            Some(asked) if asked == "avx2" => Level::Avx2,
            #[cfg(target_arch = "x86_64")]
            _ => Level::Avx512,
            #[cfg(not(target_arch = "x86_64"))]
            _ => Level::Portable,
        };
        best(most)
    })
}

/// Whether the CPU has instructions for bfloat16 (AVX512-BF16) and may use them, detected once.
///
/// Without them, [`Precision::Bf16`](crate::Precision::Bf16) gives nearly the same results but saves no time. The environment
/// variable `ENGRAFT_SIMD=avx512` switches them off.
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(|| {
            level() == Level::Avx512
                && std::env::var_os(VARIABLE).is_none_or(|asked| asked != "avx512")
                && is_x86_feature_detected!("avx512bf16")
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether the CPU has a matrix unit for bfloat16 (Intel AMX) and may use it, detected once.
///
/// Then it computes most convolutions, in `f32` as three products of numbers that are split in two. With
/// [`Precision::Bf16`](crate::Precision::Bf16) it computes large matrix products too. The environment variable
/// `ENGRAFT_SIMD=avx512bf16` switches it off.
pub fn has_matrix_unit() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(|| {
            has_bf16()
                && std::env::var_os(VARIABLE).is_none_or(|asked| asked != "avx512bf16")
                && <crate::kernels::matrix_unit::Amx as crate::kernels::matrix_unit::Unit>::is_available()
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The best level that the CPU supports, up to a limit.
fn best(most: Level) -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq");
        if avx512 && most >= Level::Avx512 {
            return Level::Avx512;
        }
        if avx2 && most >= Level::Avx2 {
            return Level::Avx2;
        }
    }
    let _ = most;
    Level::Portable
}

/// All levels that the CPU supports.
#[cfg(test)]
pub(crate) fn levels() -> Vec<Level> {
    let all = [
        Level::Portable,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512,
    ];
    all.into_iter().filter(|&level| best(level) == level).collect()
}

/// The CPU features that decide which kernels run, and so the last bits of results: the architecture, what matrixmultiply and
/// the kernels of this crate look for, and [`instruction_set`].
///
/// ```
/// println!("{}", engraft_tensor::cpu_features()); // for instance `x86_64 avx fma avx2, kernels avx2`
/// ```
pub fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx", is_x86_feature_detected!("avx")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", has_bf16()),
        ("amx", has_matrix_unit()),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    let mut text = std::env::consts::ARCH.to_string();
    for (name, _) in found.into_iter().filter(|(_, is_found)| *is_found) {
        text = text + " " + name;
    }
    text + ", kernels " + instruction_set()
}

/// Name of the instruction set that the kernels of this crate run on: `"avx512"`, `"avx2"` or `"portable"`.
///
/// This does not apply to matrix products: matrixmultiply makes its own choice, and a [matrix unit](has_matrix_unit) computes
/// large ones with rounded operands.
///
/// By default it is the best one that the CPU supports. Set the environment variable `ENGRAFT_SIMD=avx2` or
/// `ENGRAFT_SIMD=portable` before the program starts to limit it.
pub fn instruction_set() -> &'static str {
    match level() {
        Level::Portable => "portable",
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => "avx2",
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => "avx512",
    }
}

/// Work that is compiled once per instruction set.
///
/// `run` and everything it calls must be `#[inline(always)]`. Only code that is inlined into the compiled copy
/// uses its instructions.
pub trait Task<T> {
    type Output;
    fn run<V: Vector<T>>(self) -> Self::Output;
}

/// Several numbers that one instruction processes.
///
/// Safe code may call these functions anywhere within a [`Task`]. Vectors of an instruction set exist only there.
pub trait Vector<T>: Copy {
    const LANES: usize;
    /// Number of vector registers of the CPU.
    const REGISTERS: usize;

    fn splat(x: T) -> Self;

    /// # Safety
    /// `from` is valid for reads of [`Vector::LANES`] elements.
    unsafe fn read(from: *const T) -> Self;

    /// # Safety
    /// `to` is valid for writes of [`Vector::LANES`] elements.
    unsafe fn write(self, to: *mut T);

    /// Prefetches a cache line. Any address is allowed.
    #[inline(always)]
    fn prefetch(_from: *const T) {}

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self · a + b`, rounded once if the CPU supports it.
    fn mul_add(self, a: Self, b: Self) -> Self;

    /// Reads the first elements of a slice.
    #[inline(always)]
    fn load(from: &[T]) -> Self {
        assert!(from.len() >= Self::LANES);
        // SAFETY: the slice has that many elements.
        unsafe { Self::read(from.as_ptr()) }
    }

    /// Writes the first elements of a slice.
    #[inline(always)]
    fn store(self, to: &mut [T]) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: the slice has that many elements.
        unsafe { self.write(to.as_mut_ptr()) }
    }
}

/// Lanes of the portable vector. Same as AVX2's for `f32`, so that both divide their work alike.
const LANES: usize = 8;

/// A vector of any CPU.
#[derive(Clone, Copy)]
pub(crate) struct Portable<T>([T; LANES]);

/// `f` of the index and the value of each lane.
#[inline(always)]
fn lanes<T: Copy>(Portable(mut x): Portable<T>, f: impl Fn(usize, T) -> T) -> Portable<T> {
    // A loop: `array::from_fn` has several times the code before optimization.
    for (i, x) in x.iter_mut().enumerate() {
        *x = f(i, *x);
    }
    Portable(x)
}

impl<T: num_traits::Float> Vector<T> for Portable<T> {
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    unsafe fn read(from: *const T) -> Self {
        // SAFETY: the caller's contract; an array has the alignment of its elements.
        Self(unsafe { from.cast::<[T; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut T) {
        // SAFETY: the caller's contract; an array has the alignment of its elements.
        unsafe { to.cast::<[T; LANES]>().write(self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        lanes(self, |i, x| x + other.0[i])
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        lanes(self, |i, x| x - other.0[i])
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        lanes(self, |i, x| x * other.0[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        lanes(self, |i, x| x * a.0[i] + b.0[i])
    }
}

/// Element types that a task can be dispatched for.
pub trait Dispatch: Copy {
    #[doc(hidden)]
    fn dispatch<K: Task<Self>>(task: K) -> K::Output;
}

impl Dispatch for f32 {
    fn dispatch<K: Task<Self>>(task: K) -> K::Output {
        // SAFETY: `level` has detected it on this CPU.
        unsafe { run_at(level(), task) }
    }
}

/// Runs a task on an instruction set.
///
/// # Safety
/// The CPU must support it, see [`best`].
#[inline]
pub(crate) unsafe fn run_at<K: Task<f32>>(level: Level, task: K) -> K::Output {
    match level {
        Level::Portable => task.run::<Portable<f32>>(),
        // SAFETY: the caller's contract.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::avx2(task) },
        // SAFETY: the caller's contract.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { x86::avx512(task) },
    }
}

impl Dispatch for f64 {
    fn dispatch<K: Task<Self>>(task: K) -> K::Output {
        // f64 serves checks, so its speed does not matter.
        task.run::<Portable<f64>>()
    }
}

/// Runs plain loops on the best instruction set that the CPU supports.
///
/// The compiler vectorizes code that is inlined into `f`, for AVX-512 or AVX2 where the CPU supports it. It never
/// fuses a product and a sum, so the results are the same on all CPUs.
///
/// ```
/// let (mut y, x) = ([1.0_f32; 100], [2.0; 100]);
/// engraft_tensor::vectorized(|| y.iter_mut().zip(&x).for_each(|(y, x)| *y += 3.0 * x));
/// assert_eq!(y, [7.0; 100]);
/// ```
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    struct Plain<F>(F);
    impl<R, F: FnOnce() -> R> Task<f32> for Plain<F> {
        type Output = R;
        #[inline(always)]
        fn run<V: Vector<f32>>(self) -> R {
            (self.0)()
        }
    }
    dispatch(Plain(f))
}

/// Runs a task on the best instruction set that the CPU supports.
#[inline]
pub(crate) fn dispatch<T: Dispatch, K: Task<T>>(task: K) -> K::Output {
    T::dispatch(task)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Task, Vector};
    use std::arch::x86_64::*;

    /// # Safety
    /// The CPU must support AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2<K: Task<f32>>(task: K) -> K::Output {
        task.run::<F32x8>()
    }

    /// # Safety
    /// The CPU must support AVX2, FMA and the named parts of AVX-512.
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
    pub(super) unsafe fn avx512<K: Task<f32>>(task: K) -> K::Output {
        task.run::<F32x16>()
    }

    /// A vector of `f32`. Only the function of its instruction set names it, so its instructions run only where the CPU
    /// supports them.
    macro_rules! vector {
        ($name:ident, $register:ty, $lanes:literal, $registers:literal, $splat:ident, $read:ident, $write:ident,
         $add:ident, $sub:ident, $mul:ident, $mul_add:ident) => {
            #[derive(Clone, Copy)]
            struct $name($register);

            // SAFETY of all blocks below: only functions whose caller has detected the features use the type.
            impl Vector<f32> for $name {
                const LANES: usize = $lanes;
                const REGISTERS: usize = $registers;

                #[inline(always)]
                fn splat(x: f32) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $splat(x) })
                }
                #[inline(always)]
                unsafe fn read(from: *const f32) -> Self {
                    // SAFETY: see above, and the caller's contract.
                    Self(unsafe { $read(from) })
                }
                #[inline(always)]
                unsafe fn write(self, to: *mut f32) {
                    // SAFETY: see above, and the caller's contract.
                    unsafe { $write(to, self.0) }
                }
                #[inline(always)]
                fn prefetch(from: *const f32) {
                    // SAFETY: see above; a prefetch does not fault.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
                }
                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $add(self.0, other.0) })
                }
                #[inline(always)]
                fn sub(self, other: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $sub(self.0, other.0) })
                }
                #[inline(always)]
                fn mul(self, other: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $mul(self.0, other.0) })
                }
                #[inline(always)]
                fn mul_add(self, a: Self, b: Self) -> Self {
                    // SAFETY: see above.
                    Self(unsafe { $mul_add(self.0, a.0, b.0) })
                }
            }
        };
    }

    vector!(
        F32x8,
        __m256,
        8,
        16,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps
    );
    vector!(
        F32x16,
        __m512,
        16,
        32,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps
    );
}
