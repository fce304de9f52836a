//! What the driver's own pool does not survive, and the same programs on an engine. A test called `plain_pool_…` shows the
//! failure, so that the one beside it is known to test something.

mod abandoned;
mod network;
mod nowhere;
mod runtimes;
