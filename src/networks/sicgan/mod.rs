//! sicgan: its networks, and the game that trains them.

pub mod game;
pub mod network;
pub mod recipe;
