//! What commands share: networks by name, settings of the table, the device.

pub mod device;
pub mod given;
pub mod help;
pub mod network;
pub mod trained;
