//! Weight and bias of dense and convolutional layers, with adapter and spectral normalization.

use crate::init::Init;
use crate::layer::adapter::{Adaptation, Adapter};
use crate::layer::axes::along;
use crate::layer::spectral::Spectral;
use crate::mode::Mode;
use crate::parameter::{Parameter, Slot, SlotMut};
use engraft_tensor::{Real, Tensor, bias_leaky_relu, no_grad};

/// The parameters of dense and convolutional layers.
///
/// The effective weight is first adapted and then divided by its largest singular value. Both are optional.
#[derive(Clone, Debug)]
pub struct Parametrization<T: Real> {
    weight: Parameter<T>,
    bias: Option<Parameter<T>>,
    /// The output axis of the weight.
    axis: usize,
    adaptation: Option<Adaptation<T>>,
    spectral: Option<Spectral<T>>,
}

impl<T: Real> Parametrization<T> {
    /// A weight with output axis `axis`, and a zero bias.
    pub(super) fn new(weight: Tensor<T>, axis: usize) -> Self {
        let outputs = weight.shape()[axis];
        Self {
            weight: Parameter::new(weight),
            bias: Some(Parameter::new(Tensor::zeros([outputs]))),
            axis,
            adaptation: None,
            spectral: None,
        }
    }

    /// Multiplies the weight by `factor`.
    pub(super) fn scale(&mut self, factor: f64) {
        self.weight.set(&(self.weight.tensor() * T::from_f64(factor)));
    }

    pub(super) fn drop_bias(&mut self) {
        self.bias = None;
    }

    /// The shape of the weight.
    pub(super) fn shape(&self) -> &[usize] {
        self.weight.tensor().shape()
    }

    fn adapted(&self) -> Tensor<T> {
        let weight = self.weight.tensor();
        match &self.adaptation {
            Some(adaptation) => adaptation.adapted(weight),
            None => weight.clone(),
        }
    }

    /// The effective weight.
    pub(super) fn weight(&self, mode: Mode) -> Tensor<T> {
        let weight = self.adapted();
        match &self.spectral {
            Some(spectral) => spectral.normalized(&weight, mode),
            None => weight,
        }
    }

    pub(super) fn add_bias(&self, y: Tensor<T>) -> Tensor<T> {
        match &self.bias {
            Some(bias) => y + bias.tensor(),
            None => y,
        }
    }

    pub(super) fn add_bias_leaky_relu(&self, y: &Tensor<T>, slope: f64) -> Tensor<T> {
        match &self.bias {
            Some(bias) => bias_leaky_relu(y, bias.tensor(), slope),
            None => y.leaky_relu(slope),
        }
    }

    /// Enables spectral normalization.
    pub(crate) fn spectral_normalize(&mut self) -> usize {
        if self.spectral.is_none() {
            self.spectral = Some(Spectral::new(&self.adapted().detach(), self.axis));
        }
        1
    }

    /// Adds an adapter.
    #[track_caller]
    pub(crate) fn adapt(&mut self, adapter: Adapter, init: &mut Init) -> usize {
        match &self.adaptation {
            Some(there) => assert!(
                there.adapter() == adapter,
                "adapt: the layer with weight {:?} already has the adapter {}, cannot add {adapter}",
                self.shape(),
                there.adapter()
            ),
            None => {
                let adaptation = Adaptation::new(adapter, self.weight.tensor(), self.axis, init);
                self.adaptation = Some(adaptation);
            }
        }
        1
    }

    /// Merges the adapter into the weight. Returns the number of merged adapters.
    pub(crate) fn merge_adapter(&mut self) -> usize {
        if self.adaptation.is_none() {
            return 0;
        }
        let weight = no_grad(|| self.adapted());
        self.weight.set(&weight);
        self.adaptation = None;
        1
    }

    /// Replaces the weight by the effective weight of evaluation mode.
    pub(super) fn materialize(&mut self) {
        if self.adaptation.is_some() || self.spectral.is_some() {
            let weight = self.weight(Mode::Eval);
            self.weight.set(&weight);
            self.adaptation = None;
            self.spectral = None;
        }
    }

    /// Changes the layer so that it computes `y · scale + shift` instead of `y`.
    pub(super) fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) {
        self.materialize();
        let weight = self.weight.tensor();
        let scaled = weight * along(scale, weight.rank(), self.axis);
        self.weight.set(&scaled);
        let shifted = match &self.bias {
            Some(bias) => bias.tensor() * scale + shift,
            None => shift.clone(),
        };
        self.bias = Some(Parameter::new(shifted));
    }

    pub(super) fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        let mut slots = vec![("weight", Slot::Parameter(&self.weight))];
        slots.extend(self.bias.iter().map(|bias| ("bias", Slot::Parameter(bias))));
        slots.extend(self.adaptation.iter().flat_map(Adaptation::slots));
        slots.extend(self.spectral.iter().flat_map(Spectral::slots));
        slots
    }

    pub(super) fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        let mut slots = vec![("weight", SlotMut::Parameter(&mut self.weight))];
        slots.extend(
            self.bias
                .iter_mut()
                .map(|bias| ("bias", SlotMut::Parameter(bias))),
        );
        slots.extend(self.adaptation.iter_mut().flat_map(Adaptation::slots_mut));
        slots.extend(self.spectral.iter_mut().flat_map(Spectral::slots_mut));
        slots
    }

    /// The part of a layer's description after the sizes.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        if self.bias.is_none() {
            text += ", no bias";
        }
        if let Some(adaptation) = &self.adaptation {
            text += &format!(", adapter: {}", adaptation.adapter());
        }
        if self.spectral.is_some() {
            text += ", spectral norm";
        }
        text
    }
}
