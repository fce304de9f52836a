//! One schema behind another.

use super::{BoxFuture, Fingerprint, Schema, SchemaError, Target};

/// A schema, and what comes after it. Made by [`Schema::then`].
#[derive(Clone, Debug)]
pub struct Then<First, Next> {
    first: First,
    next: Next,
}

impl<First, Next> Then<First, Next> {
    pub(super) fn new(first: First, next: Next) -> Self {
        Self { first, next }
    }
}

impl<First: Schema, Next: Schema> Schema for Then<First, Next> {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        self.first.fingerprint(fingerprint)?;
        // Where the first ends makes a difference, even if both are of the same parts.
        fingerprint.add("then", "");
        self.next.fingerprint(fingerprint)
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            self.first.apply(target).await?;
            self.next.apply(target).await
        })
    }

    fn made_no_table(&self) -> Option<String> {
        self.first.made_no_table().or_else(|| self.next.made_no_table())
    }
}
