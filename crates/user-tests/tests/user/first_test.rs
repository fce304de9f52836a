//! What README says of a test with a database is done here as it stands there. Under `cargo test`, under `cargo nextest run`, and under
//! both at once in two checkouts.

use std::io::Write as _;
use std::thread;

use crate::checkout::{Checkout, Run, has_nextest};
use crate::readme::{self, Section};

const PASSING: &str = "a_tag_is_stored";
const ENGINES: [&str; 4] = ["mariadb", "mysql", "postgres", "sqlite"];

#[test]
fn the_first_test_passes_as_it_stands_there_in_two_checkouts_at_once() {
    let section = Section::read();
    let passes = ENGINES.map(|engine| format!("test {PASSING}::{engine} ... ok\n"));
    assert_eq!(section.passes, passes.concat());
    let checkouts = [Checkout::of(&section), Checkout::of(&section)];
    for checkout in &checkouts {
        checkout.build();
    }
    let [here, there] = &checkouts;

    if has_nextest() {
        at_once(|| here.cargo(&["test", PASSING]), || there.cargo(&["nextest", "run", PASSING]));
        at_once(|| here.cargo(&["nextest", "run", PASSING]), || there.cargo(&["test", PASSING]));
    } else {
        at_once(|| here.cargo(&["test", PASSING]), || there.cargo(&["test", PASSING]));
        // Past the harness, which hides what a test that passes prints.
        let warning = "warning: README was NOT tried under cargo-nextest, which is not installed (https://nexte.st)";
        writeln!(std::io::stderr(), "{warning}").expect("standard error");
    }

    // The second test is there to fail. How that looks is in README too.
    let failed = here.cargo(&["test", "a_session_is_forgotten::postgres"]);
    assert!(!failed.passed, "{failed}");
    assert_eq!(
        readme::masked(&failed.report()),
        readme::masked(&section.failure),
        "README's text and this run's:\n{failed}"
    );
}

/// What Cargo.toml leaves out is said first, and is all that is said of freshdb.
#[test]
fn without_an_engine_there_is_nothing_to_test_on() {
    let section = Section::read();
    let features = section.manifest.split_once("features = [").expect("freshdb's features").1;
    let (features, _) = features.split_once(']').expect("their end");
    let manifest = section.manifest.replacen(features, "\"test\"", 1);
    // Nor does freshdb need SeaORM to say so, and that takes long to compile.
    let (manifest, _) = manifest.split_once("sea-orm = ").expect("SeaORM after freshdb");
    // With it, and only for speed, nearly all is compiled as for README's own crate.
    let checkout = Checkout::new(&format!("{manifest}async-trait = \"0.1\"\n"));
    checkout.write("tests/tags.rs", "#[freshdb::test]\nasync fn nothing() {}\n");
    let checked = checkout.cargo(&["build", "--tests"]);
    assert!(!checked.passed, "{checked}");
    let error = checked.first_error();
    assert!(error.contains("freshdb needs to know your database: enable at least one of"), "{checked}");
    assert!(error.contains("features `sqlite`, `mysql`, `mariadb` and `postgres`"), "{checked}");
}

fn at_once(here: impl FnOnce() -> Run + Send, there: impl FnOnce() -> Run + Send) {
    let runs = thread::scope(|scope| {
        let (here, there) = (scope.spawn(here), scope.spawn(there));
        [here.join().expect("no panic"), there.join().expect("no panic")]
    });
    for run in runs {
        assert!(run.passed, "{run}");
        for engine in ENGINES {
            assert!(run.has_passed(&format!("{PASSING}::{engine}")), "on {engine}:\n{run}");
        }
    }
}
