//! What the pages show is what the tests are and say.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// A fenced block of a page.
struct Block {
    /// What stands behind the fence, such as `rust`.
    language: String,
    lines: Vec<String>,
}

#[test]
fn each_block_of_rust_is_part_of_a_test() {
    let sources: Vec<Vec<String>> = sources().iter().map(|source| lines(source)).collect();
    for page in ["test.md", "migrating.md"] {
        for block in blocks(&page_of(page)) {
            match block.language.as_str() {
                "rust" => {
                    let is_shown = |source: &Vec<String>| paragraphs(&block.lines).iter().all(|part| has(source, part));
                    let shown = block.lines.join("\n");
                    assert!(sources.iter().any(is_shown), "{page} shows what is in no test:\n{shown}");
                }
                // Of other crates, which are not compiled here; and they say so.
                "rust,ignore" => assert!(block.lines[0].contains("not compiled here"), "{page}: {}", block.lines[0]),
                "console" | "text" | "toml" | "yaml" => {}
                other => panic!("{page} has a block in {other:?}"),
            }
        }
    }
}

/// With a private server, whatever the environment names, for it decides what is said of the database that was kept.
#[test]
fn the_report_of_the_failure_is_what_is_shown() {
    let said = output_of("failure::what_is_done_is_noted::postgres");
    let shown =
        blocks(&page_of("test.md")).into_iter().find(|block| block.lines[0].starts_with("error: test `failure::"));
    let shown = masked(&shown.expect("the page shows a report").lines.join("\n"));
    assert!(masked(&said).contains(&shown), "{said}");
}

#[test]
fn each_heading_of_the_faq_is_an_error_that_there_is() {
    let sources = messages();
    let page = page_of("test.md");
    let (_, faq) = page.split_once("\n## FAQ\n").expect("a FAQ");
    let headings: Vec<&str> = faq.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(headings.len() > 10);
    for heading in headings {
        let text = heading.strip_prefix("``").and_then(|text| text.strip_suffix("``")).map(str::trim);
        let text = text.or_else(|| heading.strip_prefix('`').and_then(|text| text.strip_suffix('`')));
        let text = text.unwrap_or_else(|| panic!("no literal text: {heading}"));
        for part in text.split('…').map(|part| part.trim_matches(['`', ' '])).filter(|part| !part.is_empty()) {
            assert!(sources.contains(part), "nothing says `{part}`: {heading}");
        }
    }
}

fn page_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The texts of the sources in which messages stand, without the breaks in their literals.
fn messages() -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = String::new();
    for directory in ["freshdb/src/test", "freshdb-databases/src", "freshdb-macros/src"] {
        read_all(&crates.join(directory), &mut texts);
    }
    let mut joined = String::new();
    for line in texts.lines().map(str::trim_start) {
        match line.strip_suffix('\\') {
            Some(broken) => joined.push_str(broken),
            None => joined.extend([line, "\n"]),
        }
    }
    joined.replace("\\\"", "\"")
}

fn read_all(directory: &Path, texts: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, texts);
        } else {
            texts.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

fn sources() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = ["pages", "drivers"].map(|directory| fs::read_dir(tests.join(directory)).expect("a directory"));
    let files = files.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    files.map(|path| fs::read_to_string(path).expect("a source")).collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => open = Some(Block { language: language.to_owned(), lines: Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    blocks
}

/// What is between empty lines.
fn paragraphs(lines: &[String]) -> Vec<&[String]> {
    lines.split(String::is_empty).filter(|part| !part.is_empty()).collect()
}

/// Whether these lines follow each other there, all of them indented alike.
fn has(source: &[String], part: &[String]) -> bool {
    source.windows(part.len()).any(|window| {
        let Some(indentation) = window[0].strip_suffix(&part[0]).filter(|before| before.trim().is_empty()) else {
            return false;
        };
        window.iter().zip(part).all(|(line, shown)| line.strip_prefix(indentation) == Some(shown))
    })
}

/// What one ignored test of this binary prints, run in a process of its own.
fn output_of(test: &str) -> String {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args([test, "--exact", "--include-ignored", "--color=never"]);
    command.env_remove("FRESHDB_POSTGRES_URL").env_remove("NEXTEST_EXECUTION_MODE").env("FRESHDB_RUN", "0");
    let output = command.output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Without the numbers and names that differ from run to run.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for word in text.split_inclusive([' ', '\n', '`', ':']) {
        if word.starts_with("freshdb_s_") {
            masked.push_str("freshdb_s_NAME`");
            continue;
        }
        let mut in_number = false;
        for character in word.chars() {
            if character.is_ascii_digit() {
                if !in_number {
                    masked.push('N');
                }
                in_number = true;
            } else {
                masked.push(character);
                in_number = false;
            }
        }
    }
    masked
}
