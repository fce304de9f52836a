//! What a pool lives through: its server restarts, or its disk fills up, in the middle of everything; or it is not set as others are.

mod disk;
#[path = "../../pristine/dump.rs"]
mod dump;
mod full;
mod harness;
mod restarts;
mod settings;
