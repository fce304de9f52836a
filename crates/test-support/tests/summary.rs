//! What `scripts/test` makes of what the test programs say, and of how they end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use test_support::write_script;

/// What it says at the end, and its exit code, where cargo's programs write this, and all end with 0.
fn summary(output: &str, variables: &[(&str, &str)]) -> (String, Option<i32>) {
    let place = TempDir::new().expect("a directory");
    fs::write(place.path().join("output"), output).expect("a file");
    // It tells the server's version, as the tests do, where it does not only build.
    let cargo = format!(
        "#!/bin/sh\ncase \" $* \" in *' --no-run '*) exit 0 ;; esac\n\
         echo 3.0 >\"$FRESHDB_ENGINES_SEEN/sqlite\"\necho \"skipped: $FRESHDB_SKIP\"\ncat '{}/output'\n",
        place.path().display()
    );
    write_script(place.path().join("cargo"), &cargo);
    let path = std::env::var("PATH").expect("programs are found");
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/test"));
    // With arguments for cargo, the tests of the clients do not run.
    script.args(["--engine", "sqlite", "--", "--package", "any"]).stdin(Stdio::null());
    script.env("PATH", format!("{}:{path}", place.path().display())).envs(variables.iter().copied());
    let said = script.output().expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    (text, said.status.code())
}

const PASSED: &str = "running 1 test\ntest a::sqlite ... ok\n\n\
                      test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";

#[test]
fn tests_that_pass_are_a_success() {
    let (said, code) = summary(PASSED, &[]);
    assert!(said.contains("1 passed, 0 failed"), "{said}");
    assert_eq!(code, Some(0), "{said}");
}

/// Cargo takes 0 for success, also of a program that has ended in the middle of its tests, or before the first.
#[test]
fn a_program_that_has_ended_before_its_tests_is_a_failure() {
    for broken_off in ["running 3 tests\ntest b::sqlite ... ok\n", "running 3 tests\n"] {
        for output in [format!("{broken_off}{PASSED}"), format!("{PASSED}{broken_off}")] {
            let (said, code) = summary(&output, &[]);
            assert!(said.contains("error: 1 test program ended before its tests had\n"), "{said}");
            assert_eq!(code, Some(1), "{said}");
        }
    }
}

/// They would count among those that have passed.
#[test]
fn no_test_is_skipped_by_a_variable() {
    let (said, code) = summary(PASSED, &[("FRESHDB_SKIP", "sqlite")]);
    assert!(said.contains("skipped: \n"), "{said}");
    assert!(said.contains("FRESHDB_SKIP is passed over: `--engine` says which tests run\n"), "{said}");
    assert_eq!(code, Some(0), "{said}");
}
