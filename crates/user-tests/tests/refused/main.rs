//! What cannot be a test is a compile error, at the place and in the words of whoever wrote it.
//!
//! `TRYBUILD=overwrite cargo test -p user-tests --test refused` writes the snapshots anew.

use std::process::Command;

/// What the compiler is told, as cargo wants it: a flag, a separator, a flag. trybuild says the last of these, and the others too, but
/// not always the same: it would compile each dependency twice.
const FLAGS: &str = "--cfg\u{1f}trybuild\u{1f}-A\u{1f}dead_code\u{1f}--diagnostic-width=140";

#[test]
fn what_cannot_be_a_test_is_refused_with_a_message_that_says_what_to_do() {
    // In a process of its own, for the environment is one for all threads.
    let mut cases = Command::new(std::env::current_exe().expect("this program"));
    cases.args(["--exact", "--ignored", "--nocapture", "cases"]).env("CARGO_ENCODED_RUSTFLAGS", FLAGS);
    let output = cases.output().expect("a process");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the cases were not tried:\n{text}");
}

#[test]
#[ignore = "it is run by the other, with flags for the compiler"]
fn cases() {
    trybuild::TestCases::new().compile_fail("tests/refused/cases/*.rs");
}
