//! What a test becomes: itself, a function that hands it to the runner, and a test of the harness's for each engine.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, Item, ItemFn, Lit, LitStr, Meta, MetaNameValue, Result, ReturnType,
    Token, Type, parse2,
};

use crate::arguments::{Arguments, ENGINES};

pub(crate) fn test(arguments: TokenStream, function: &TokenStream) -> TokenStream {
    let function: ItemFn = match parse2(function.clone()) {
        Ok(function) => function,
        Err(error) => {
            // Anything but a function is named as such; else the parser knows better.
            let error = match parse2::<Item>(function.clone()) {
                Ok(item) => {
                    Error::new_spanned(item, "`#[freshdb::test]` stands above an `async fn`, and above nothing else")
                }
                Err(_) => error,
            };
            let error = error.into_compile_error();
            return quote!(#error #function);
        }
    };
    let tests = check(&function).and_then(|()| Ok(expanded(&parse2(arguments)?, function.clone())));
    tests.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        // What it uses is used still: nothing else is to be said but what is wrong.
        let ItemFn { vis, mut sig, block, .. } = function;
        for argument in &mut sig.inputs {
            match argument {
                FnArg::Receiver(receiver) => receiver.attrs.clear(),
                FnArg::Typed(typed) => typed.attrs.clear(),
            }
        }
        quote! {
            #error
            #[allow(dead_code)]
            #vis #sig #block
        }
    })
}

fn expanded(arguments: &Arguments, mut function: ItemFn) -> TokenStream {
    let freshdb = arguments.freshdb.as_ref().map_or_else(|| quote!(::freshdb), |path| quote!(#path));
    let name = function.sig.ident.clone();
    let runner = format_ident!("__freshdb_{}", name, span = name.span());
    // What is said of the test counts for each engine's; the function itself is an ordinary one.
    let (mut of_harness, of_function) = function.attrs.drain(..).partition::<Vec<_>, _>(is_for_harness);
    function.attrs = of_function;
    let expected = of_harness.extract_if(.., |attribute| expected_panic(attribute).is_some()).next();
    let expected = expected.as_ref().and_then(expected_panic);

    let checks = checks(&function, &freshdb);
    let schema = if let Some(schema) = &arguments.schema {
        let freshdb = at(schema.span(), &freshdb);
        let checked = quote_spanned!(schema.span()=> #freshdb::test::expanded::schema(#schema));
        quote!(|| #checked)
    } else {
        quote!(#freshdb::test::expanded::empty)
    };
    let said = said(arguments, &freshdb, expected.as_ref());
    // Names that nothing of the user's can mean.
    let (test, kind) = (Ident::new("test", Span::mixed_site()), Ident::new("kind", Span::mixed_site()));
    // With the function's place, which reports name.
    let freshdb_here = at(name.span(), &freshdb);
    let case = quote_spanned!(name.span()=> #freshdb_here::test::Case::new(#test, #kind));
    let tests = engines(arguments).into_iter().map(|(engine, variant)| {
        quote! {
            #(#of_harness)*
            #[::core::prelude::v1::test]
            fn #engine() {
                let kind = #freshdb::test::Kind::#variant;
                super::#runner(#freshdb::test::expanded::name(::core::module_path!(), kind), kind);
            }
        }
    });
    quote! {
        #[cfg_attr(not(test), allow(dead_code))]
        #function

        #[doc(hidden)]
        #[cfg_attr(not(test), allow(dead_code))]
        #[allow(trivial_bounds)]
        fn #runner(#test: ::std::string::String, #kind: #freshdb::test::Kind)
        where
            #(#checks,)*
        {
            #freshdb::test::run(#case #said, #schema, #name);
        }

        #[doc(hidden)]
        mod #name {
            #(#tests)*
        }
    }
}

/// What must hold of the arguments and of what is returned. A bound is refused where its type stands, and holds in the body of the
/// function that it is a bound of, of which nothing more is said. Where tests are compiled, their calls of it are refused as well.
fn checks(function: &ItemFn, freshdb: &TokenStream) -> Vec<TokenStream> {
    let arguments = function.sig.inputs.iter().filter_map(typed);
    let bounded = |ty: &Type, bound: &str| {
        let (freshdb, bound) = (at(ty.span(), freshdb), Ident::new(bound, ty.span()));
        quote_spanned!(ty.span()=> #ty: #freshdb::test::#bound)
    };
    let mut checks: Vec<TokenStream> = arguments.map(|ty| bounded(ty, "FromContext")).collect();
    if let ReturnType::Type(_, ty) = &function.sig.output
        && !has_impl(ty)
    {
        checks.push(bounded(ty, "Outcome"));
    }
    checks
}

/// The same tokens, of which the compiler says that they stand there.
fn at(place: Span, tokens: &TokenStream) -> TokenStream {
    let moved = tokens.clone().into_iter().map(|mut token| {
        token.set_span(place);
        token
    });
    moved.collect()
}

/// `impl Trait`, anywhere in a type: it cannot be bounded.
fn has_impl(ty: &Type) -> bool {
    fn is_in(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(ident) => ident == "impl",
            proc_macro2::TokenTree::Group(group) => is_in(group.stream()),
            _ => false,
        })
    }
    is_in(ty.to_token_stream())
}

fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    // First, for it may have changed the function: `#[tokio::test]` makes an ordinary one of it.
    if let Some(test) = function.attrs.iter().find(|attribute| is_named(attribute, "test")) {
        return Err(Error::new_spanned(test, "`#[freshdb::test]` makes the tests itself: remove this attribute"));
    }
    if let Some(rstest) = function.attrs.iter().find(|attribute| is_named(attribute, "rstest")) {
        let fact = "rstest makes tests of its own, which have no database as an argument: instead of `#[freshdb::test]` write \
                    `#[tokio::test]` below it, and take the database from `freshdb::test::Guarded`";
        return Err(Error::new_spanned(rstest, fact));
    }
    if signature.asyncness.is_none() {
        return Err(Error::new(
            signature.fn_token.span,
            "a test with a database is an `async fn`: write `async` before this",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a test has no generic parameters, for nobody would choose them: write out the types",
        ));
    }
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new_spanned(
            receiver,
            "a test is a function by itself, not a method: move it out of the `impl`",
        ));
    }
    let borrowed = |ty: &&Type| matches!(ty, Type::Reference(reference) if reference.lifetime.is_none());
    if let Some(ty) = signature.inputs.iter().filter_map(typed).find(borrowed) {
        return Err(Error::new_spanned(
            ty,
            "an argument is the test's own, and is borrowed from nobody: remove the `&`",
        ));
    }
    if let Some(ty) = signature.inputs.iter().filter_map(typed).find(|ty| has_impl(ty)) {
        return Err(Error::new_spanned(ty, "freshdb makes the argument, and has to know of which type: write it out"));
    }
    if let Some(more) = signature.inputs.iter().nth(8) {
        let fact = "a test has at most eight arguments: put some of them into a type that implements `freshdb::test::FromContext`";
        return Err(Error::new_spanned(more, fact));
    }
    Ok(())
}

fn is_named(attribute: &Attribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == name)
}

fn is_for_harness(attribute: &Attribute) -> bool {
    ["ignore", "should_panic"].iter().any(|name| attribute.path().is_ident(name))
}

/// What the message of the panic that is expected contains: nothing in particular, where that is not said. It is the runner that judges
/// that panic; the harness would take every failure for it. One that cannot be read is left to the compiler, which says why.
fn expected_panic(attribute: &Attribute) -> Option<LitStr> {
    if !attribute.path().is_ident("should_panic") {
        return None;
    }
    match &attribute.meta {
        Meta::Path(path) => Some(LitStr::new("", path.span())),
        Meta::NameValue(said) => text(said),
        Meta::List(list) => {
            let said = list.parse_args_with(Punctuated::<MetaNameValue, Token![,]>::parse_terminated).ok()?;
            said.first().filter(|first| said.len() == 1 && first.path.is_ident("expected")).and_then(text)
        }
    }
}

fn text(said: &MetaNameValue) -> Option<LitStr> {
    match &said.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.clone()),
        _ => None,
    }
}

fn typed(argument: &FnArg) -> Option<&Type> {
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
            .map(|(name, kind, _)| pair(Ident::new(name, Span::call_site()), kind))
            .collect(),
    }
}

/// What was said in the attribute, as calls on the case.
fn said(arguments: &Arguments, freshdb: &TokenStream, expected_panic: Option<&LitStr>) -> TokenStream {
    let mut said = TokenStream::new();
    let Arguments { allow, warns, timeout, grace, is_multi_thread, worker_threads, start_paused, is_shared, .. } =
        arguments;
    said.extend(allow.iter().map(|url| quote_spanned!(url.span()=> .allow(#url))));
    if *warns {
        said.extend(quote!(.leaks(#freshdb::test::Leaking::Warns)));
    }
    said.extend(timeout.iter().map(|limit| quote_spanned!(limit.span()=> .timeout(#limit))));
    said.extend(grace.iter().map(|limit| quote_spanned!(limit.span()=> .grace(#limit))));
    if *is_multi_thread {
        let threads = worker_threads.as_ref().map_or_else(|| quote!(2), |threads| quote!(#threads));
        said.extend(quote!(.runtime(#freshdb::test::Runtime::MultiThread(#threads))));
    }
    if *is_shared {
        said.extend(quote!(.runtime(#freshdb::test::Runtime::Shared)));
    }
    if *start_paused {
        said.extend(quote!(.start_paused(true)));
    }
    said.extend(expected_panic.map(|expected| quote!(.should_panic(#expected))));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expansion(arguments: TokenStream, function: &TokenStream) -> String {
        test(arguments, function).to_string()
    }

    /// As the printer of tokens spaces them.
    const OURS: &str = ":: freshdb ::";

    #[test]
    fn freshdb_is_named_by_its_own_name_or_by_the_one_that_was_said() {
        let options =
            quote!(schema = tags(), allow = ["url"], leaks = "warn", flavor = "multi_thread", timeout = LIMIT);
        let function = quote!(
            #[should_panic]
            async fn stored(app: App) -> Result<(), Error> {}
        );
        assert!(expansion(options.clone(), &function).contains(OURS));

        let renamed = expansion(quote!(#options, crate = db), &function);
        assert!(!renamed.contains(OURS), "{renamed}");
        assert!(renamed.contains("db :: test :: run"), "{renamed}");
        let shared = expansion(quote!(runtime = "shared", crate = db), &function);
        assert!(!shared.contains(OURS), "{shared}");
    }

    #[test]
    fn without_engines_it_runs_on_those_that_freshdb_is_built_with() {
        let all = expansion(
            quote!(),
            &quote!(
                async fn stored() {}
            ),
        );
        for (name, kind, is_built) in ENGINES {
            assert_eq!(all.contains(&format!("fn {name} ()")), is_built, "{name}");
            assert_eq!(all.contains(&format!("Kind :: {kind}")), is_built, "{kind}");
        }
    }

    #[test]
    fn one_engine_that_is_not_built_is_refused_by_the_name_of_its_feature() {
        for (name, _, is_built) in ENGINES {
            let name = Ident::new(name, Span::call_site());
            let on_it = expansion(
                quote!(on = [#name]),
                &quote!(
                    async fn stored() {}
                ),
            );
            assert_eq!(on_it.contains(&format!("freshdb is built without `{name}`")), !is_built, "{on_it}");
        }
    }

    #[test]
    fn a_panic_that_is_expected_is_told_to_the_runner_and_not_to_the_harness() {
        for (attribute, told) in [
            (quote!(#[should_panic]), r#"should_panic ("")"#),
            (quote!(#[should_panic = "mine"]), r#"should_panic ("mine")"#),
            (quote!(#[should_panic(expected = "mine",)]), r#"should_panic ("mine")"#),
        ] {
            let expanded = expansion(quote!(), &quote!(#attribute async fn panics() {}));
            assert!(expanded.contains(told), "{expanded}");
            assert!(!expanded.contains("# [should_panic"), "{expanded}");
        }
        // The compiler finds that there is no such thing.
        let unknown = expansion(
            quote!(),
            &quote!(
                #[should_panic(message = "mine")]
                async fn panics() {}
            ),
        );
        assert!(!unknown.contains(". should_panic"), "{unknown}");
    }

    #[test]
    fn what_is_refused_leaves_the_function_there() {
        let refused = expansion(
            quote!(engines = [sqlite]),
            &quote!(
                #[tokio::main]
                async fn stored(#[case] app: App) -> usize {
                    helper(app)
                }
            ),
        );
        assert!(refused.contains("compile_error"), "{refused}");
        assert!(refused.contains("helper (app)"), "{refused}");
        assert!(!refused.contains("tokio"), "{refused}");
        assert!(!refused.contains("case"), "{refused}");
    }
}
