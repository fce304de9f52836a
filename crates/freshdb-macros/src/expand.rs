//! What a test becomes: itself, a function that hands it to the runner, and a test of the harness's for each engine.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, Result, parse2};

use crate::arguments::{Arguments, ENGINES};

pub(crate) fn test(arguments: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let mut function: ItemFn = parse2(function)?;
    check(&function)?;
    let arguments: Arguments = parse2(arguments)?;

    let name = function.sig.ident.clone();
    let runner = format_ident!("__freshdb_{}", name, span = name.span());
    // What is said of the test counts for each engine's; the function itself is an ordinary one.
    let (of_harness, of_function) = function.attrs.drain(..).partition::<Vec<_>, _>(is_for_harness);
    let conditions: Vec<&Attribute> = of_harness.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    function.attrs = of_function;

    let types: Vec<_> = function.sig.inputs.iter().filter_map(typed).collect();
    let checks = types.iter().map(|ty| quote_spanned!(ty.span()=> ::freshdb::test::expanded::argument::<#ty>();));
    let schema = match &arguments.schema {
        Some(schema) => quote!(|| #schema),
        None => quote!(::freshdb::test::expanded::empty),
    };
    let said = said(&arguments, of_harness.iter().any(|attribute| attribute.path().is_ident("should_panic")));
    // The call has the function's place, which reports name. Its arguments are the runner's own, whoever wrote the function's name.
    let given = [format_ident!("name"), format_ident!("kind")];
    let [name_given, kind_given] = &given;
    let case = quote_spanned!(name.span()=> ::freshdb::test::Case::new(#name_given, #kind_given));
    let tests = engines(&arguments).into_iter().map(|(engine, kind)| {
        quote! {
            #(#of_harness)*
            #[::core::prelude::v1::test]
            fn #engine() {
                let kind = ::freshdb::test::Kind::#kind;
                super::#runner(::freshdb::test::expanded::name(::core::module_path!(), kind), kind);
            }
        }
    });
    Ok(quote! {
        #(#conditions)*
        #function

        #(#conditions)*
        #[doc(hidden)]
        fn #runner(#name_given: ::std::string::String, #kind_given: ::freshdb::test::Kind) {
            #(#checks)*
            ::freshdb::test::run(#case #said, #schema, #name);
        }

        #(#conditions)*
        #[doc(hidden)]
        mod #name {
            #(#tests)*
        }
    })
}

fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new(signature.fn_token.span, "a test with a database is an `async fn`"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a test has no parameters of type: nobody would choose them",
        ));
    }
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new(receiver.span(), "a test is a function by itself, not a method"));
    }
    if let Some(test) = function.attrs.iter().find(|attribute| is_test(attribute)) {
        return Err(Error::new(test.span(), "`#[freshdb::test]` makes the tests itself: remove this attribute"));
    }
    if let Some(more) = signature.inputs.iter().nth(8) {
        let fact = "a test has at most eight arguments: put some of them into a type that implements `freshdb::test::FromContext`";
        return Err(Error::new(more.span(), fact));
    }
    Ok(())
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
}

fn is_for_harness(attribute: &Attribute) -> bool {
    ["ignore", "should_panic", "cfg"].iter().any(|name| attribute.path().is_ident(name))
}

fn typed(argument: &FnArg) -> Option<&syn::Type> {
    match argument {
        FnArg::Typed(argument) => Some(&argument.ty),
        FnArg::Receiver(_) => None,
    }
}

/// Each engine: the name of its test, and of its kind.
fn engines(arguments: &Arguments) -> Vec<(Ident, Ident)> {
    let pair = |name: Ident, kind: &str| {
        let kind = Ident::new(kind, name.span());
        (name, kind)
    };
    match &arguments.on {
        Some(names) => names
            .iter()
            .filter_map(|name| {
                ENGINES.iter().find(|(known, ..)| name == known).map(|(_, kind, _)| pair(name.clone(), kind))
            })
            .collect(),
        None => ENGINES
            .iter()
            .filter(|(.., is_built)| *is_built)
            .map(|(name, kind, _)| pair(Ident::new(name, proc_macro2::Span::call_site()), kind))
            .collect(),
    }
}

/// What was said in the attribute, as calls on the case.
fn said(arguments: &Arguments, should_panic: bool) -> TokenStream {
    let mut said = TokenStream::new();
    let Arguments { allow, warns, timeout, grace, is_multi_thread, worker_threads, start_paused, is_shared, .. } =
        arguments;
    said.extend(allow.iter().map(|url| quote!(.allow(#url))));
    if *warns {
        said.extend(quote!(.leaks(::freshdb::test::Leaking::Warns)));
    }
    said.extend(timeout.iter().map(|limit| quote!(.timeout(#limit))));
    said.extend(grace.iter().map(|limit| quote!(.grace(#limit))));
    if *is_multi_thread {
        let threads = worker_threads.as_ref().map_or_else(|| quote!(2), |threads| quote!(#threads));
        said.extend(quote!(.runtime(::freshdb::test::Runtime::MultiThread(#threads))));
    }
    if *is_shared {
        said.extend(quote!(.runtime(::freshdb::test::Runtime::Shared)));
    }
    if *start_paused {
        said.extend(quote!(.start_paused(true)));
    }
    if should_panic {
        said.extend(quote!(.should_panic(true)));
    }
    said
}
