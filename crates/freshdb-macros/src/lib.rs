//! `#[freshdb::test]`: reads a test's signature, and expands to one call of the runner, which is in `freshdb::test`.

mod arguments;
mod expand;

use proc_macro::TokenStream;

#[doc = include_str!("test.md")]
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    expand::test(arguments.into(), &function.into()).into()
}
