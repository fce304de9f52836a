//! What `scripts/test` makes of what the test programs say, and of how they end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use test_support::{copy_program, write_script};

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
    // With arguments for cargo, the tests of the clients do not run.
    let arguments = ["--engine", "sqlite", "--", "--package", "any"];
    run(&scripts(), place.path(), &arguments, variables)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

/// What the script says, and its exit code, with these programs first on PATH.
fn run(scripts: &Path, programs: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (String, Option<i32>) {
    let path = std::env::var("PATH").expect("programs are found");
    let mut script = Command::new(scripts.join("test"));
    script.args(arguments).stdin(Stdio::null());
    script.env("PATH", format!("{}:{path}", programs.display())).envs(variables.iter().copied());
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

#[test]
fn tests_of_the_clients_that_do_not_end_are_told() {
    let place = TempDir::new().expect("a directory");
    let scripts = copy_scripts(place.path());
    write_script(scripts.join("test-clients"), "#!/bin/sh\n");
    // That long nobody waits here.
    write_script(place.path().join("timeout"), "#!/bin/sh\nexit 124\n");
    let cargo = format!("#!/bin/sh\necho 3.0 >\"$FRESHDB_ENGINES_SEEN/sqlite\"\ncat <<'END'\n{PASSED}END\n");
    write_script(place.path().join("cargo"), &cargo);
    let (text, code) = run(&scripts, place.path(), &["--engine", "sqlite", "--patience", "15"], &[]);
    assert!(text.contains("error: the tests of the clients did not end within 60 s\n"), "{text}");
    assert!(text.contains("hint: run them alone (`scripts/test-clients`), or wait longer (`--patience`)\n"), "{text}");
    assert_eq!(code, Some(124), "{text}");
}

fn copy_scripts(to: &Path) -> PathBuf {
    let scripts = to.join("scripts");
    fs::create_dir(&scripts).expect("a directory");
    for script in fs::read_dir(self::scripts()).expect("a directory") {
        let script = script.expect("a file");
        copy_program(script.path(), scripts.join(script.file_name()));
    }
    scripts
}

/// They would count among those that have passed.
#[test]
fn no_test_is_skipped_by_a_variable() {
    let (said, code) = summary(PASSED, &[("FRESHDB_SKIP", "sqlite")]);
    assert!(said.contains("skipped: \n"), "{said}");
    assert!(said.contains("FRESHDB_SKIP is passed over: `--engine` says which tests run\n"), "{said}");
    assert_eq!(code, Some(0), "{said}");
}

/// Where it cannot be had, that is said at once, and not after all other tests. Some of those need it as well.
#[test]
fn python_is_had_before_anything_is_compiled() {
    let place = TempDir::new().expect("a directory");
    let (scripts, programs) = (copy_scripts(place.path()), place.path().join("programs"));
    for directory in [&programs, &place.path().join("clients")] {
        fs::create_dir(directory).expect("a directory");
    }
    fs::write(place.path().join("clients/requirements-test.txt"), "").expect("a file");
    for (name, text) in [("python3", "exit 1"), ("apt-get", "exit 1"), ("cargo", "echo it compiles")] {
        write_script(programs.join(name), &format!("#!/bin/sh\n{text}\n"));
    }
    let (text, code) = run(&scripts, &programs, &["--engine", "sqlite"], &[]);
    assert!(text.contains("\nhint: install") && text.contains("Python 3.11"), "{text}");
    assert!(!text.contains("it compiles"), "{text}");
    assert_eq!(code, Some(1), "{text}");
}
