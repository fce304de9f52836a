//! Tags: what is stored, what is answered, and in which order.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, TestApp, schema};

#[freshdb::test(schema = schema())]
async fn a_description_is_set_kept_changed_and_cleared(app: TestApp) {
    let post = async |tag: Value| {
        let answer = app.post_tags(&json!({ "tags": [tag] })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json["tags"][0].clone()
    };
    let stored = async || app.find("Rust").await.json;

    assert_eq!(post(json!({ "tag_id": "Rust" })).await, json!({ "tag_id": "Rust" }));
    assert_eq!(stored().await, json!({ "tag_id": "Rust" }), "none was given");

    let described = json!({ "tag_id": "Rust", "description": "A language" });
    assert_eq!(post(described.clone()).await, described);
    assert_eq!(stored().await, described, "it was set");

    assert_eq!(post(json!({ "tag_id": "Rust" })).await, json!({ "tag_id": "Rust" }), "the answer repeats the request");
    assert_eq!(stored().await, described, "it was absent, so it stays");

    post(json!({ "tag_id": "Rust", "description": "" })).await;
    assert_eq!(stored().await, json!({ "tag_id": "Rust", "description": "" }), "an empty one is one");

    assert_eq!(post(json!({ "tag_id": "Rust", "description": null })).await, json!({ "tag_id": "Rust" }));
    assert_eq!(stored().await, json!({ "tag_id": "Rust" }), "null cleared it");
}

/// Kept, cleared and set in one body, new and known tags mixed, and one named three times.
#[freshdb::test(schema = schema())]
async fn one_body_may_do_everything_at_once(app: TestApp) {
    let before = json!({ "tags": [
        { "tag_id": "kept", "description": "old" },
        { "tag_id": "cleared", "description": "old" },
        { "tag_id": "changed", "description": "old" },
    ] });
    app.post_tags(&before).await;
    let body = json!({ "tags": [
        { "tag_id": "changed", "description": "new" },
        { "tag_id": "new" },
        { "tag_id": "kept" },
        { "tag_id": "thrice", "description": "first" },
        { "tag_id": "cleared", "description": null },
        { "tag_id": "thrice" },
        { "tag_id": "new and described", "description": "d" },
        { "tag_id": "thrice", "description": "last" },
    ] });
    let answer = app.post_tags(&body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.json["tags"].as_array().map(Vec::len), Some(8), "repeats are repeated");
    let expected = json!({ "tags": [
        { "tag_id": "changed", "description": "new" },
        { "tag_id": "cleared" },
        { "tag_id": "kept", "description": "old" },
        { "tag_id": "new" },
        { "tag_id": "new and described", "description": "d" },
        { "tag_id": "thrice", "description": "last" },
    ] });
    assert_eq!(app.get("/api/tag").await.json, expected);
}

/// Texts that some collation of some engine takes for the same: case, accents, forms of normalisation, width, trailing
/// and other white space, ignorable and zero-width characters, emoji, characters outside the basic plane, unassigned ones.
const LOOKALIKES: [&str; 30] = [
    "",
    " ",
    "  ",
    "\t",
    "a",
    "A",
    "a ",
    " a",
    "a\t",
    "á",
    "a\u{301}",
    "à",
    "ä",
    "æ",
    "ａ",
    "ß",
    "ss",
    "SS",
    "ı",
    "i",
    "İ",
    "は",
    "ハ",
    "ば",
    "🐍",
    "🦀",
    "a\u{200d}",
    "a\u{ad}",
    "\u{10ffff}",
    "\u{fffd}",
];

#[freshdb::test(schema = schema())]
async fn a_tag_is_its_exact_code_points(app: TestApp) {
    app.store(&LOOKALIKES).await;
    let mut in_order = LOOKALIKES.to_vec();
    in_order.sort_unstable();
    assert_eq!(app.tag_ids("").await, in_order, "each is a tag of its own, in the order of code points");
    for tag_id in LOOKALIKES.iter().filter(|tag_id| !tag_id.is_empty()) {
        assert_eq!(app.find(tag_id).await.json["tag_id"], *tag_id, "{tag_id:?} is found");
    }
    for (index, tag_id) in in_order.iter().enumerate() {
        assert_eq!(app.delete(tag_id).await.status, StatusCode::NO_CONTENT, "{tag_id:?} is deleted");
        assert_eq!(app.tag_ids("").await, in_order[index + 1..], "and no other");
    }
}

#[freshdb::test(schema = schema())]
async fn a_tag_has_255_characters_at_the_most(app: TestApp) {
    for character in ["a", "é", "あ", "🦀"] {
        let longest = character.repeat(255);
        app.store(&[&longest]).await;
        assert_eq!(app.find(&longest).await.json, json!({ "tag_id": longest }));

        let body = json!({ "tags": [{ "tag_id": "fine" }, { "tag_id": character.repeat(256) }] });
        let answer = app.post_tags(&body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.violations(), [("string_too_long".into(), json!(["body", "tags", 1, "tag_id"]))]);
        assert_eq!(answer.json["detail"][0]["ctx"], json!({ "max_length": 255 }));
        assert_eq!(app.find("fine").await.status, StatusCode::NOT_FOUND, "nothing is stored");
    }
}

#[freshdb::test(schema = schema())]
async fn a_description_has_1000_characters_at_the_most(app: TestApp) {
    let longest = json!({ "tag_id": "t", "description": "🦀".repeat(1000) });
    app.post_tags(&json!({ "tags": [longest] })).await;
    assert_eq!(app.find("t").await.json, longest);
    let answer = app.post_tags(&json!({ "tags": [{ "tag_id": "t", "description": "x".repeat(1001) }] })).await;
    assert_eq!(answer.violations(), [("string_too_long".into(), json!(["body", "tags", 0, "description"]))]);
    assert_eq!(answer.json["detail"][0]["ctx"], json!({ "max_length": 1000 }));
}

#[freshdb::test(schema = schema())]
async fn nul_is_refused_wherever_it_stands(app: TestApp) {
    let body = json!({ "tags": [{ "tag_id": "a\0b" }, { "tag_id": "c", "description": "\0" }] });
    let expected = [
        ("value_error".to_owned(), json!(["body", "tags", 0, "tag_id"])),
        ("value_error".to_owned(), json!(["body", "tags", 1, "description"])),
    ];
    assert_eq!(app.post_tags(&body).await.violations(), expected);
    assert_eq!(app.find("a\0b").await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.delete("a\0b").await.status, StatusCode::NOT_FOUND);
    for name in ["prefix", "after"] {
        let answer = app.get(&format!("/api/tag?{name}=%00")).await;
        assert_eq!(answer.violations(), [("value_error".into(), json!(["query", name]))]);
    }
    assert_eq!(app.tag_ids("").await, Vec::<String>::new());
}

#[freshdb::test(schema = schema())]
async fn one_tag_is_found_and_deleted_whatever_is_in_its_name(app: TestApp) {
    let names = ["a/b", "%", "%2F", "a?b#c", "../x", "'; DROP TABLE tags; --", "\\", "`\"'", "_", "%25", "日本語"];
    app.store(&names).await;
    for name in names {
        assert_eq!(app.find(name).await.json, json!({ "tag_id": name }), "{name}");
        assert_eq!(app.delete(name).await.status, StatusCode::NO_CONTENT, "{name}");
        let gone = app.find(name).await;
        assert_eq!((gone.status, gone.json), (StatusCode::NOT_FOUND, json!({ "detail": "Not Found" })), "{name}");
        assert_eq!(app.delete(name).await.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[freshdb::test(schema = schema())]
async fn a_path_that_is_no_text_is_refused(app: TestApp) {
    let answer = app.get("/api/tag/%ff").await;
    assert_eq!(answer.violations(), [("string_unicode".into(), json!(["path", "tag_id"]))]);
}

#[freshdb::test(schema = schema())]
async fn a_prefix_is_taken_literally(app: TestApp) {
    app.store(&["", "%", "%a", "_", "a", "A", "aa", "ab", "b", "a\u{10ffff}", "\u{10ffff}", "\u{10ffff}x", "🦀a"])
        .await;
    for (prefix, expected) in [
        ("a", vec!["a", "aa", "ab", "a\u{10ffff}"]),
        ("A", vec!["A"]),
        ("%25", vec!["%", "%a"]),
        ("_", vec!["_"]),
        ("aa", vec!["aa"]),
        ("%F0%9F%A6%80", vec!["🦀a"]),
        ("%F4%8F%BF%BF", vec!["\u{10ffff}", "\u{10ffff}x"]),
        ("nothing", vec![]),
    ] {
        assert_eq!(app.tag_ids(&format!("?prefix={prefix}")).await, expected, "{prefix}");
    }
    assert_eq!(app.tag_ids("?prefix=").await.len(), 13, "every tag begins with nothing");
}

#[freshdb::test(schema = schema())]
async fn pages_follow_one_another_without_gap_or_repeat(app: TestApp) {
    let all: Vec<String> =
        std::iter::once(String::new()).chain((0..50).map(|number| format!("p{number:02}"))).collect();
    app.store(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for limit in [1, 7, 50, 51, 1000] {
        let mut seen = app.tag_ids(&format!("?limit={limit}")).await;
        while let Some(last) = seen.last() {
            let page = app.tag_ids(&format!("?limit={limit}&after={last}")).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
    assert_eq!(app.tag_ids("?prefix=p&after=p10&limit=2").await, ["p11", "p12"]);
    assert_eq!(app.tag_ids("?after=p49").await, Vec::<String>::new());
    assert_eq!(app.tag_ids("?limit=0").await, all, "0 is no limit");
    assert_eq!(app.tag_ids("?limit=1&limit=2").await.len(), 2, "the last one counts");
    assert_eq!(app.tag_ids("?limit=99999999999999999999999").await, all);
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_limit_that_is_no_number_is_refused(app: TestApp) {
    for (limit, kind) in
        [("x", "int_parsing"), ("", "int_parsing"), ("1.5", "int_parsing"), ("-1", "greater_than_equal")]
    {
        let answer = app.get(&format!("/api/tag?limit={limit}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.violations(), [(kind.into(), json!(["query", "limit"]))], "{limit:?}");
    }
}

/// `/api/tag/` belongs to the list, as in the original; only DELETE takes it for the empty tag.
#[freshdb::test(schema = schema())]
async fn the_empty_tag_is_stored_listed_and_deleted(app: TestApp) {
    app.store(&["", "a"]).await;
    assert_eq!(app.tag_ids("").await, ["", "a"]);
    assert_eq!(app.get("/api/tag/").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(app.delete("").await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.tag_ids("").await, ["a"]);
    assert_eq!(app.delete("").await.status, StatusCode::NOT_FOUND);
}
