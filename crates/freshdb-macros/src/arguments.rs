//! What stands in the attribute's parentheses.

use proc_macro2::Span;
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprLit, Ident, Lit, LitBool, LitInt, Path, Result, Token};

/// The engines, and whether freshdb is built with each.
pub(crate) const ENGINES: [(&str, &str, bool); 4] = [
    ("sqlite", "Sqlite", cfg!(feature = "sqlite")),
    ("mysql", "Mysql", cfg!(feature = "mysql")),
    ("mariadb", "Mariadb", cfg!(feature = "mariadb")),
    ("postgres", "Postgres", cfg!(feature = "postgres")),
];

/// What can be said, and how.
const OPTIONS: [(&str, &str); 11] = [
    ("schema", "schema = SqlDirectory::new(\"migrations\")"),
    ("on", "on = [sqlite, mysql]"),
    ("allow", "allow = [\"postgres://user:password@host/metrics\"]"),
    ("leaks", "leaks = \"warn\""),
    ("timeout", "timeout = Duration::from_secs(5)"),
    ("grace", "grace = Duration::from_secs(1)"),
    ("flavor", "flavor = \"multi_thread\""),
    ("worker_threads", "worker_threads = 2"),
    ("start_paused", "start_paused = true"),
    ("runtime", "runtime = \"shared\""),
    ("crate", "crate = db"),
];

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is what one option says")]
pub(crate) struct Arguments {
    pub(crate) schema: Option<Expr>,
    /// Each with the name as it was written, whose place is shown in errors.
    pub(crate) on: Option<Vec<Ident>>,
    pub(crate) allow: Vec<Expr>,
    pub(crate) warns: bool,
    pub(crate) timeout: Option<Expr>,
    pub(crate) grace: Option<Expr>,
    pub(crate) is_multi_thread: bool,
    pub(crate) worker_threads: Option<LitInt>,
    pub(crate) start_paused: bool,
    pub(crate) is_shared: bool,
    /// Where freshdb is, if its user calls it something else.
    pub(crate) freshdb: Option<Path>,
    said: Vec<Ident>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let name = name(input)?;
            if arguments.place_of(&name.to_string()).is_some() {
                return Err(Error::new(name.span(), format!("`{name}` is said twice")));
            }
            if !input.peek(Token![=]) {
                return Err(Error::new(name.span(), format!("`{name}` wants a value, as in `{}`", example(&name)?)));
            }
            input.parse::<Token![=]>()?;
            arguments.take(&name, input)?;
            arguments.said.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        arguments.check()?;
        Ok(arguments)
    }
}

/// The name of an option. `crate` is a word of the language's.
fn name(input: ParseStream) -> Result<Ident> {
    let fork = input.fork();
    if Ident::parse_any(&fork).is_err() {
        return Err(input.error(format!("options are written `name = value`: there are {}", known())));
    }
    Ident::parse_any(input)
}

fn known() -> String {
    OPTIONS.map(|(name, _)| format!("`{name}`")).join(", ")
}

fn example(name: &Ident) -> Result<&'static str> {
    let option = OPTIONS.into_iter().find(|(known, _)| name == known);
    let Some((_, example)) = option else {
        return Err(Error::new(name.span(), format!("`{name}` is not known here: there are {}", known())));
    };
    Ok(example)
}

impl Arguments {
    fn take(&mut self, name: &Ident, input: ParseStream) -> Result<()> {
        let example = example(name)?;
        match name.to_string().as_str() {
            "schema" => self.schema = Some(input.parse()?),
            "on" => self.on = Some(engines(input.parse()?)?),
            "allow" => {
                let list: Expr = input.parse()?;
                let Expr::Array(list) = list else {
                    return Err(Error::new_spanned(list, format!("URLs stand in brackets, as in `{example}`")));
                };
                self.allow = list.elems.into_iter().collect();
            }
            "leaks" => self.warns = one_of(name, input, ["fail", "warn"])? == "warn",
            "timeout" => self.timeout = Some(input.parse()?),
            "grace" => self.grace = Some(input.parse()?),
            "flavor" => {
                self.is_multi_thread = one_of(name, input, ["current_thread", "multi_thread"])? == "multi_thread";
            }
            "worker_threads" => self.worker_threads = Some(input.parse()?),
            "start_paused" => self.start_paused = input.parse::<LitBool>()?.value,
            "runtime" => self.is_shared = one_of(name, input, ["own", "shared"])? == "shared",
            _ => self.freshdb = Some(input.parse()?),
        }
        Ok(())
    }

    /// The options that exclude each other.
    fn check(&self) -> Result<()> {
        let refuse =
            |option: &str, fact: &str| Err(Error::new(self.place_of(option).unwrap_or_else(Span::call_site), fact));
        if self.worker_threads.is_some() && !self.is_multi_thread {
            return refuse("worker_threads", "`worker_threads` needs `flavor = \"multi_thread\"`");
        }
        if self.is_shared && self.is_multi_thread {
            return refuse("flavor", "a shared runtime has its own threads: leave out `flavor`");
        }
        if self.start_paused && self.is_multi_thread {
            return refuse("start_paused", "only the clock of one thread can be paused: leave out `flavor`");
        }
        if self.start_paused && self.is_shared {
            return refuse("start_paused", "the clock of a shared runtime cannot be paused: leave out `runtime`");
        }
        Ok(())
    }

    fn place_of(&self, option: &str) -> Option<Span> {
        self.said.iter().find(|said| *said == option).map(Ident::span)
    }
}

/// `[sqlite, mysql]`
fn engines(list: Expr) -> Result<Vec<Ident>> {
    let Expr::Array(list) = list else {
        return Err(Error::new_spanned(list, "engines stand in brackets, as in `on = [sqlite, mysql]`"));
    };
    if list.elems.is_empty() {
        return Err(Error::new_spanned(list, "a test on no engine never runs: leave out `on` to run it on all"));
    }
    let mut names: Vec<Ident> = Vec::new();
    for engine in &list.elems {
        let name = engine_named(engine)?;
        if names.contains(&name) {
            return Err(Error::new_spanned(engine, format!("`{name}` is said twice")));
        }
        names.push(name);
    }
    Ok(names)
}

fn engine_named(engine: &Expr) -> Result<Ident> {
    let refuse = |fact: String| Err(Error::new_spanned(engine, fact));
    let name = match engine {
        Expr::Path(path) => path.path.get_ident(),
        Expr::Lit(_) => return refuse("the name of an engine stands without quotes".to_owned()),
        _ => None,
    };
    let shown = engine.to_token_stream();
    let found = name.and_then(|name| ENGINES.into_iter().find(|(known, ..)| name == known).zip(Some(name)));
    match found {
        Some(((.., true), name)) => Ok(name.clone()),
        Some(((known, ..), _)) => refuse(format!(
            "freshdb is built without `{known}`: enable that feature, as in `freshdb = {{ version = \"0.1\", features = \
             [\"test\", \"{known}\"] }}`"
        )),
        None => {
            let known = ENGINES.map(|(known, ..)| format!("`{known}`")).join(", ");
            refuse(format!("`{shown}` is no engine: there are {known}"))
        }
    }
}

fn one_of<const N: usize>(name: &Ident, input: ParseStream, known: [&str; N]) -> Result<String> {
    let value: Expr = input.parse()?;
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &value
        && known.contains(&text.value().as_str())
    {
        return Ok(text.value());
    }
    let known = known.map(|known| format!("`\"{known}\"`")).join(" or ");
    Err(Error::new_spanned(value, format!("`{name}` is {known}")))
}
