//! The same bits on any number of threads, for every kernel and both orders of derivative.

use crate::operations::{Call, Sample};
use crate::strategies::conv_shapes;
use engraft_tensor::{Geometry, Padding, Tensor, grad, grad_of, grad_of_with_graph};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a thread pool")
}

/// Bits of the value, of the first gradients by both kinds of rule, and of the gradients of a penalty.
fn bits(sample: &Sample) -> Vec<Vec<u32>> {
    let leaves: Vec<Tensor<f32>> = sample.inputs().iter().map(|x| x.cast().as_leaf()).collect();
    let wrt: Vec<&Tensor<f32>> = leaves.iter().collect();
    let y = sample.apply(&leaves);
    let direction = Tensor::randn(y.shape(), &mut Pcg64::seed_from_u64(9));
    let loss = (&y * direction).sum();
    let plain = grad_of(&loss, &wrt);
    let recorded = grad_of_with_graph(&loss, &wrt);
    let penalty = recorded.iter().flatten().map(|d| d.square().sum());
    let penalty = penalty.fold(Tensor::scalar(0.0), |a, b| a + b);
    let second = grad_of(&penalty, &wrt);
    let of = |t: &Tensor<f32>| t.as_slice().iter().map(|v| v.to_bits()).collect();
    let gradients = [plain, recorded, second];
    std::iter::once(of(&y))
        .chain(gradients.iter().flatten().flatten().map(of))
        .collect()
}

/// Operations above the sizes at which their kernels split the work.
fn large() -> Vec<Sample> {
    let conv = |g: Geometry, n, c_in, c_out| {
        let [x, w, y] = conv_shapes(&g, n, c_in, c_out);
        [
            Sample::new(Call::Conv2d(g), [&x, &w]),
            Sample::new(Call::Conv2dInput(g), [&y, &w]),
            Sample::new(Call::Conv2dWeight(g), [&x, &y]),
        ]
    };
    let wide: &[usize] = &[310, 207];
    let cube: &[usize] = &[37, 41, 53];
    let mut samples = vec![
        Sample::new(Call::Add, [wide, wide]),
        Sample::new(Call::Mul, [wide, &[207]]),
        Sample::new(Call::Mul, [&[310, 1], wide]),
        Sample::new(Call::Div, [&[], wide]),
        Sample::new(Call::Sub, [cube, &[41, 1]]),
        Sample::new(Call::MulNumber(0.3), [cube]),
        Sample::new(Call::Exp, [cube]),
        Sample::new(Call::Tanh, [cube]),
        Sample::new(Call::LeakyRelu(0.3), [cube]),
        Sample::new(Call::Softplus, [cube]),
        Sample::new(Call::LogSoftmax(1), [wide]),
        Sample::new(Call::Softmax(0), [wide]),
        Sample::new(Call::Sum, [cube]),
        Sample::new(Call::Mean, [&[3_000_001]]),
        Sample::new(Call::BroadcastTo(cube.to_vec()), [&[41, 1]]),
        Sample::new(Call::Permute(vec![2, 0, 1]), [cube]),
        Sample::new(Call::Matmul, [&[301, 77], &[77, 65]]),
        Sample::new(Call::Matmul, [&[33, 77], &[77, 1300]]),
        Sample::new(Call::MatmulNt, [&[301, 77], &[65, 77]]),
        Sample::new(Call::MatmulNt, [&[33, 77], &[1300, 77]]),
        Sample::new(Call::MatmulTn, [&[4000, 33], &[4000, 65]]),
        Sample::new(Call::MatmulTn, [&[77, 301], &[77, 65]]),
    ];
    for (rows, c) in [(16 * 14 * 14, 33), (19, 5000), (100_000, 1)] {
        for call in [
            Call::BatchNorm(1e-3),
            Call::BatchNormLeakyRelu(1e-3, 0.3),
            Call::AffineLeakyRelu(0.3),
        ] {
            samples.push(Sample::new(call, [&[rows, c], &[c], &[c]]));
        }
        samples.push(Sample::new(Call::BiasLeakyRelu(0.3), [&[rows, c], &[c]]));
    }
    samples.push(Sample::new(Call::UpsampleNearest(2), [&[33, 14, 14, 24]]));
    samples.push(Sample::new(Call::SumPool(2), [&[33, 28, 28, 24]]));
    samples.push(Sample::new(Call::SumPool(3), [&[2, 300, 6, 37]]));
    for axes in [vec![0], vec![1], vec![2], vec![0, 1], vec![1, 2], vec![0, 2]] {
        samples.push(Sample::new(Call::SumAxes(axes.clone()), [cube]));
        samples.push(Sample::new(Call::MeanKeep(axes), [cube]));
    }
    let same =
        |size, stride| Geometry::forward([size, size], [5, 5], [stride, stride], [1, 1], Padding::Same);
    samples.extend(conv(same(7, 1), 13, 24, 40));
    samples.extend(conv(same(14, 2), 25, 16, 24));
    samples.extend(conv(same(28, 2), 9, 1, 16));
    let dilated = Geometry::forward([19, 17], [3, 4], [2, 1], [2, 2], Padding::Symmetric([2, 1]));
    samples.extend(conv(dilated, 11, 5, 7));
    samples
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let pools = [2, 5].map(pool);
    let one = pool(1);
    for sample in large() {
        let expected = one.install(|| bits(&sample));
        for pool in &pools {
            // Twice, because the assignment of pieces to threads varies between runs.
            for _ in 0..2 {
                assert!(pool.install(|| bits(&sample)) == expected, "{sample:?}");
            }
        }
    }
}

/// A thread that waits for parallel work may run another task of the pool. That task must see its own recording
/// flag.
#[test]
fn tasks_that_share_threads_do_not_share_recording() {
    let wrong = AtomicUsize::new(0);
    // Far more threads than cores, so that pieces are stolen and waited for. Several rounds, because the pairing of
    // threads is random.
    let pool = pool(16);
    for _ in 0..6 {
        pool.scope(|s| {
            for _ in 0..300 {
                s.spawn(|_| {
                    let x = Tensor::<f32>::ones([512, 64]).as_leaf();
                    let w = Tensor::<f32>::ones([64, 64]);
                    let [dx] = grad(&x.matmul(&w).sum(), [&x]);
                    wrong.fetch_add(usize::from(dx.as_slice()[0] != 64.0), Ordering::Relaxed);
                });
            }
        });
    }
    assert_eq!(wrong.into_inner(), 0, "gradients lost");
}
