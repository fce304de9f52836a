//! The command `freshdb`, as a shell meets it.

/// A test for each engine that has a server: `name::mysql`, `name::mariadb`, `name::postgres`.
macro_rules! on_every_server {
    ($($name:ident),+ $(,)?) => {
        $(on_every_server! { @ $name })+
    };
    (@ $name:ident) => {
        mod $name {
            #[test]
            fn mysql() {
                super::$name("mysql");
            }

            #[test]
            fn mariadb() {
                super::$name("mariadb");
            }

            #[test]
            fn postgres() {
                super::$name("postgres");
            }
        }
    };
}

mod diff;
mod ends;
mod examined;
mod messages;
mod run;
mod terminal;
