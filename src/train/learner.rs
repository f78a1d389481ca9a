//! What a kind of training is to the loop: an update from a batch, a validation loss, a state that a checkpoint keeps.

use crate::dataset::loader::Batch;
use crate::engine::device::PendingRead;
use crate::engine::nn::{Parameters, StateTensor, StateView, WeightFile};
use crate::engine::ranks::Share;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::paint::painter::Painter;

/// Which update of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Its number, from 1.
    pub step: u64,
    /// Updates in all.
    pub steps: u64,
    /// Its learning rate.
    pub lr: f64,
    /// What of the whole batch this process has: what is drawn for an image goes by its position there.
    pub share: Share,
}

/// What a kind of training does with a batch.
pub trait Learner {
    /// Names of the losses of a step in `metrics.jsonl`, `loss` or `g_loss`, `d_loss`, `l1`, with the title of a chart
    /// each; without one, it is written down only.
    fn losses(&self) -> &'static [(&'static str, &'static str)];

    /// One update from one batch. The losses are those of the batch before its update, in the order of
    /// [`Learner::losses`].
    ///
    /// Where several processes train, the batch is this one's share of the whole. Losses are means over images, here
    /// over those of the share; gradients are summed by [`Parameters::sum_gradients`] before an optimiser reads them.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn step(&mut self, batch: &Batch, update: &Update) -> Result<Vec<PendingRead>>;

    /// The loss that a validation compares, of a batch, without an update.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn validation_loss(&self, batch: &Batch) -> Result<f64>;

    /// Images that [`Learner::calibrate`] wants to see after update `step` of `steps`, before a validation where one is
    /// due; 0 for none.
    fn calibration(&self, _step: u64, _steps: u64, _validation: bool) -> usize {
        0
    }

    /// Re-estimates the statistics used for inference from a batch, the `number`-th from 1, with the present weights.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn calibrate(&self, _batch: &Batch, _number: u32) -> Result<()> {
        Ok(())
    }

    /// The network that the training is for, with its weights as they are.
    fn painter(&self) -> &dyn Painter;

    /// Its networks: what each is to the model, `network` where there is but one, and its parameters, which a
    /// [`Watch`](crate::engine::nn::Watch) can be set on.
    fn networks(&self) -> Vec<(&'static str, &Parameters)>;

    /// Runs each network forwards on sources as its training has them, `[N, H, W, source_bands]` with the halo, and
    /// learns nothing: as in an `update` of the training, which may move running statistics, or as in inference. A
    /// discriminator that is bound to another size does not run.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn run(&self, source: &Tensor, update: Option<&Update>) -> Result<()>;

    /// Everything that a checkpoint must hold beside the step, where it lies: weights, statistics, moments.
    ///
    /// # Errors
    /// A parameter that does not lie within its arena.
    fn state_views(&self) -> Result<Vec<StateView>>;

    /// Copies of [`Learner::state_views`].
    ///
    /// # Errors
    /// A lost device.
    fn state(&self) -> Result<Vec<StateTensor>> {
        self.state_views()?.iter().map(StateView::read).collect()
    }

    /// Those of [`Learner::state`] that are settings of the network which no shape tells, each `[1]`.
    fn settings(&self) -> Vec<StateTensor> {
        Vec::new()
    }

    /// Takes over what [`Learner::state`] handed out.
    ///
    /// # Errors
    /// Tensors that are missing or do not fit.
    fn load(&mut self, file: &WeightFile) -> Result<()>;
}
