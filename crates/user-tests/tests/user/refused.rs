//! What cannot be a test is a compile error, at the place and in the words of whoever wrote it.
//!
//! Each case is a file in `refused/`, and what the compiler says of it stands beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use crate::checkout::{Checkout, workspace};
use crate::readme::Section;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/user/refused");

/// A test of each, and all of them by name.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($case)),+];
        $(
            #[test]
            fn $case() {
                check(stringify!($case));
            }
        )+
    };
}

cases! {
    allow_is_a_text,
    another_test_attribute,
    argument,
    argument_by_reference,
    body_does_not_compile,
    engine_as_text,
    engine_none,
    engine_twice,
    engine_unknown,
    engine_without_brackets,
    error_that_cannot_be_shown,
    impl_argument,
    method,
    nine_arguments,
    no_function,
    not_async,
    option_of_another_value,
    option_twice,
    option_unknown,
    option_without_name,
    option_without_quotes,
    option_without_value,
    options_that_exclude_each_other,
    outcome,
    schema,
    schema_is_a_function,
    schema_unknown,
    timeout_is_a_number,
    type_parameter,
}

#[test]
fn every_file_is_a_case() {
    let files: Vec<PathBuf> =
        fs::read_dir(CASES).expect("the cases").map(|file| file.expect("a file").path()).collect();
    let names = |extension: &str| {
        let files = files.iter().filter(|file| file.extension().is_some_and(|found| found == extension));
        let mut names: Vec<_> = files.filter_map(|file| file.file_stem()?.to_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("rs"), NAMES);
    assert_eq!(names("snap"), NAMES);
}

fn check(case: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(CASES);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let errors = ERRORS.get(case).unwrap_or_else(|| panic!("`{case}` compiles"));
    settings.bind(|| insta::assert_snapshot!(case, errors));
}

/// What the compiler says of each.
static ERRORS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    // Whoever has `#[tokio::test]` has this.
    let tokio = "tokio = { version = \"1\", features = [\"macros\", \"rt\"] }";
    let checkout = Checkout::new(&format!("{}{tokio}\n", Section::read().manifest));
    for case in NAMES {
        let text = fs::read_to_string(Path::new(CASES).join(format!("{case}.rs"))).expect("a case");
        checkout.write(&format!("tests/{case}.rs"), &text);
    }
    // The messages are as wide as in a terminal only where there is one, and that is said to cargo alone.
    let run = checkout.cargo(&["build", "--tests", "--keep-going", "--message-format=json"]);
    let mut errors = BTreeMap::new();
    for line in run.stdout.lines() {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let name = message["target"]["name"].as_str().unwrap_or_default();
        if message["message"]["level"] != "error" || !NAMES.contains(&name) {
            continue;
        }
        let text = message["message"]["rendered"].as_str().expect("a text");
        // How many errors there were is the last.
        if !text.starts_with("error: aborting due to ") {
            errors.entry(name.to_owned()).or_insert_with(String::new).push_str(&without_lines_of_ours(text));
        }
    }
    assert!(!errors.is_empty(), "{run}");
    errors
});

/// What is shown of freshdb's own files is shown without the numbers of their lines.
fn without_lines_of_ours(text: &str) -> String {
    let workspace = workspace().display().to_string();
    let mut is_ours = false;
    let mut shown = String::new();
    for line in text.lines() {
        let place = line.trim_start().strip_prefix("--> ").or_else(|| line.trim_start().strip_prefix("::: "));
        if let Some(place) = place {
            is_ours = place.starts_with(&workspace);
        }
        if is_ours && place.is_some() {
            let file = line.trim_end_matches(|character: char| character == ':' || character.is_ascii_digit());
            shown.push_str(&file.replace(&workspace, "$WORKSPACE"));
        } else if is_ours {
            let source = line.trim_start_matches(|character: char| character == ' ' || character.is_ascii_digit());
            shown.extend(std::iter::repeat_n(' ', line.len() - source.len()));
            shown.push_str(source);
        } else {
            shown.push_str(line);
        }
        shown.push('\n');
    }
    shown
}
