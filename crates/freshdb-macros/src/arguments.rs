//! What stands in the attribute's parentheses.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitBool, LitInt, LitStr, Result, Token, bracketed};

/// The engines, and whether freshdb is built with each.
pub(crate) const ENGINES: [(&str, &str, bool); 4] = [
    ("sqlite", "Sqlite", cfg!(feature = "sqlite")),
    ("mysql", "Mysql", cfg!(feature = "mysql")),
    ("mariadb", "Mariadb", cfg!(feature = "mariadb")),
    ("postgres", "Postgres", cfg!(feature = "postgres")),
];

const KNOWN: &str =
    "`schema`, `on`, `allow`, `leaks`, `timeout`, `grace`, `flavor`, `worker_threads`, `start_paused` and `runtime`";

#[derive(Default)]
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
}

impl Parse for Arguments {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut arguments = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            if seen.contains(&name.to_string()) {
                return Err(Error::new(name.span(), format!("`{name}` is said twice")));
            }
            seen.push(name.to_string());
            input.parse::<Token![=]>()?;
            arguments.take(&name, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        arguments.check()?;
        Ok(arguments)
    }
}

impl Arguments {
    fn take(&mut self, name: &Ident, input: ParseStream) -> Result<()> {
        match name.to_string().as_str() {
            "schema" => self.schema = Some(input.parse()?),
            "on" => self.on = Some(engines(input)?),
            "allow" => {
                let list;
                bracketed!(list in input);
                self.allow = Punctuated::<Expr, Token![,]>::parse_terminated(&list)?.into_iter().collect();
            }
            "leaks" => self.warns = one_of(input, ["fail", "warn"])? == "warn",
            "timeout" => self.timeout = Some(input.parse()?),
            "grace" => self.grace = Some(input.parse()?),
            "flavor" => self.is_multi_thread = one_of(input, ["current_thread", "multi_thread"])? == "multi_thread",
            "worker_threads" => self.worker_threads = Some(input.parse()?),
            "start_paused" => self.start_paused = input.parse::<LitBool>()?.value,
            "runtime" => self.is_shared = one_of(input, ["own", "shared"])? == "shared",
            _ => return Err(Error::new(name.span(), format!("`{name}` is not known here: there are {KNOWN}"))),
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let refuse = |fact: &str| Err(Error::new(Span::call_site(), fact));
        if let (Some(threads), false) = (&self.worker_threads, self.is_multi_thread) {
            return Err(Error::new(threads.span(), "`worker_threads` needs `flavor = \"multi_thread\"`"));
        }
        if self.start_paused && (self.is_multi_thread || self.is_shared) {
            return refuse("`start_paused` needs a runtime of the test's own, of one thread");
        }
        if self.is_shared && self.is_multi_thread {
            return refuse("a shared runtime has its own threads: leave out `flavor`");
        }
        Ok(())
    }
}

/// `[sqlite, mysql]`
fn engines(input: ParseStream) -> Result<Vec<Ident>> {
    let list;
    let brackets = bracketed!(list in input);
    let names: Vec<Ident> = Punctuated::<Ident, Token![,]>::parse_terminated(&list)?.into_iter().collect();
    if names.is_empty() {
        return Err(Error::new(brackets.span.join(), "a test on no engine never runs"));
    }
    for (index, name) in names.iter().enumerate() {
        let Some((known, _, is_built)) = ENGINES.into_iter().find(|(known, ..)| name == known) else {
            let known = ENGINES.map(|(known, ..)| format!("`{known}`")).join(", ");
            return Err(Error::new(name.span(), format!("`{name}` is no engine: there are {known}")));
        };
        if !is_built {
            let fact = format!(
                "freshdb is built without `{known}`: enable that feature, as in `freshdb = {{ version = \"0.1\", features = \
                 [\"test\", \"{known}\"] }}`"
            );
            return Err(Error::new(name.span(), fact));
        }
        if names[..index].contains(name) {
            return Err(Error::new(name.span(), format!("`{name}` is said twice")));
        }
    }
    Ok(names)
}

fn one_of<const N: usize>(input: ParseStream, known: [&str; N]) -> Result<String> {
    let text: LitStr = input.parse()?;
    if known.contains(&text.value().as_str()) {
        return Ok(text.value());
    }
    let known = known.map(|known| format!("`\"{known}\"`")).join(" or ");
    Err(Error::new(text.span(), format!("this is {known}")))
}
