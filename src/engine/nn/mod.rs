//! Parameters, initialisers, layers and optimisers.

mod at_once;
mod average;
mod form;
mod init;
pub mod layer;
mod loss_scale;
mod optimizer;
mod parameters;
pub mod rows;
mod save;
mod sequential;
mod state;
mod together;
mod watch;
mod weights;
pub mod window;

pub use average::RAW;
pub use form::Form;
pub use init::Init;
pub use layer::Norm;
pub use optimizer::{Optimizer, OptimizerKind};
pub use parameters::{Bound, ParamKind, ParamSpec, Parameters};
pub use save::{Element, save_as, save_described, save_tensors, save_views};
pub use sequential::{
    BatchNormLayer, ConvLayer, ConvTransposeLayer, DenseLayer, Layer, OpLayer, Sequential, UpsampleLayer, ZeroPadLayer,
};
pub use state::{StateTensor, StateView};
pub use watch::{Seen, Trace, Watch};
pub use weights::{FORMAT, WeightFile};
