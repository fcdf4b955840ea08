//! A generator as a program of tensor operations, without the code of its network.

use engraft_base::to_byte;
use engraft_tensor::{Node, Program, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::fmt;

/// A generator of images from latent vectors, and from class labels if it is class-conditional.
///
/// It is made of recorded [programs](Program), so it does not need the layers that it was recorded from. Any network of
/// this project's operations works.
///
/// ```
/// use engraft_playground::Generator;
/// use engraft_tensor::{Program, Tensor};
/// let z = Tensor::zeros([1, 2]).as_leaf();
/// let image = z.matmul(&Tensor::ones([2, 1])).reshape([1, 1, 1, 1]).tanh();
/// let generator = Generator::new(vec![Program::record(&[&z], &image).unwrap()], 2).unwrap();
/// assert_eq!((generator.image(), generator.class_count()), ([1, 1, 1], 0));
/// assert_eq!(generator.pixels(&[0.0, 9.0], 0), [255, 255, 255, 255]);
/// ```
#[derive(Clone)]
pub struct Generator {
    /// Input 0 is the latent vector; input `k` is the tensor of the class in `by_class[k - 1]`.
    program: Program,
    /// The tensors that differ between the classes, one list of tensors, each with one tensor per class.
    by_class: Vec<Vec<Tensor>>,
    latent: usize,
    classes: usize,
    image: [usize; 3],
}

/// Why a generator cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaygroundError {
    /// The programs of two classes have different operations.
    Classes,
    /// The result is not one image of 1 to 4 channels: its shape.
    NotAnImage(Vec<usize>),
    /// There is no program.
    Empty,
}

impl fmt::Display for PlaygroundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classes => write!(
                f,
                "the generator has other operations for other classes; expected the same with other numbers"
            ),
            Self::NotAnImage(shape) => write!(
                f,
                "the generator's result has the shape {shape:?}; expected one image [1, height, width, channels] of 1 to 4 channels"
            ),
            Self::Empty => write!(f, "there is no generator"),
        }
    }
}

impl std::error::Error for PlaygroundError {}

impl Generator {
    /// The generator with these programs, each from a latent vector `[1, latent]` to an image `[1, h, w, c]`: one for each
    /// class, or a single one.
    ///
    /// # Errors
    /// If the programs of the classes have different operations, or the result is not an image.
    pub fn new(programs: Vec<Program>, latent: usize) -> Result<Self, PlaygroundError> {
        let classes = if programs.len() > 1 { programs.len() } else { 0 };
        let first = programs.first().ok_or(PlaygroundError::Empty)?;
        let mut nodes = first.nodes().to_vec();
        let mut by_class = Vec::new();
        for (index, node) in nodes.iter_mut().enumerate() {
            let mut tensors = Vec::new();
            for program in &programs {
                match (&*node, program.nodes().get(index)) {
                    (Node::Constant(_), Some(Node::Constant(of_class))) => tensors.push(of_class.clone()),
                    (Node::Input(a), Some(Node::Input(b))) if a == b => (),
                    (Node::Step(a), Some(Node::Step(b))) if a == b => (),
                    _ => return Err(PlaygroundError::Classes),
                }
            }
            if tensors.iter().any(|tensor| !is_same(tensor, &tensors[0])) {
                by_class.push(tensors);
                *node = Node::Input(by_class.len());
            }
        }
        if programs
            .iter()
            .any(|program| program.nodes().len() != nodes.len())
        {
            return Err(PlaygroundError::Classes);
        }
        let program = Program::new(nodes).map_err(|_| PlaygroundError::Classes)?;
        Self::of_parts(program, by_class, latent, classes)
    }

    /// The generator of these parts.
    pub(crate) fn of_parts(
        program: Program,
        by_class: Vec<Vec<Tensor>>,
        latent: usize,
        classes: usize,
    ) -> Result<Self, PlaygroundError> {
        let mut generator = Self {
            program,
            by_class,
            latent,
            classes,
            image: [0; 3],
        };
        let image = generator.generate(&vec![0.0; latent], 0);
        match *image.shape() {
            [1, h, w, c] if (1..=4).contains(&c) => generator.image = [h, w, c],
            ref other => return Err(PlaygroundError::NotAnImage(other.to_vec())),
        }
        Ok(generator)
    }

    /// The same generator, with everything computed that depends neither on the latent vector nor on the class. Each image
    /// is faster, and the weights can be larger.
    #[must_use]
    pub fn folded(self) -> Self {
        Self {
            program: self.program.folded(),
            ..self
        }
    }

    /// Height, width and channels of an image.
    pub fn image(&self) -> [usize; 3] {
        self.image
    }

    /// Length of a latent vector.
    pub fn latent_dim(&self) -> usize {
        self.latent
    }

    /// Number of classes; 0 if the generator is unconditional.
    pub fn class_count(&self) -> usize {
        self.classes
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn by_class(&self) -> &[Vec<Tensor>] {
        &self.by_class
    }

    /// The image `[1, h, w, c]` of a latent vector, with values from -1 to 1. Without classes, `label` is not used.
    ///
    /// # Panics
    /// If the latent vector has another length, or the label is not below the number of classes.
    #[track_caller]
    pub fn generate(&self, z: &[f32], label: usize) -> Tensor {
        assert!(
            z.len() == self.latent && (self.classes == 0 || label < self.classes),
            "generate: expected {} numbers and a label below {}, got {} numbers and label {label}",
            self.latent,
            self.classes,
            z.len()
        );
        let z = Tensor::from_vec([1, self.latent], z.to_vec());
        let of_class = self.by_class.iter().map(|tensors| &tensors[label]);
        self.program
            .run(&std::iter::once(&z).chain(of_class).collect::<Vec<_>>())
    }

    /// The image of a latent vector as bytes, four for each pixel: red, green, blue, alpha.
    ///
    /// # Panics
    /// As [`Generator::generate`].
    #[track_caller]
    pub fn pixels(&self, z: &[f32], label: usize) -> Vec<u8> {
        let image = self.generate(z, label);
        let channels = self.image[2];
        image
            .as_slice()
            .chunks_exact(channels)
            .flat_map(|pixel| {
                let byte = |channel: usize| to_byte(pixel[channel]);
                match channels {
                    1 => [byte(0), byte(0), byte(0), 255],
                    2 => [byte(0), byte(0), byte(0), byte(1)],
                    3 => [byte(0), byte(1), byte(2), 255],
                    _ => [byte(0), byte(1), byte(2), byte(3)],
                }
            })
            .collect()
    }
}

/// The latent vector of a seed: that of `engraft generate --seeds`.
pub fn noise(seed: u64, latent: usize) -> Vec<f32> {
    let z = Tensor::<f32>::randn([1, latent], &mut Pcg64::seed_from_u64(seed));
    z.as_slice().to_vec()
}

/// Whether two tensors have equal elements.
fn is_same(a: &Tensor, b: &Tensor) -> bool {
    let (x, y) = (a.as_slice(), b.as_slice());
    a.shape() == b.shape() && (x.as_ptr() == y.as_ptr() || x == y)
}
