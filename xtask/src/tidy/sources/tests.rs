//! Each rule about files finds what breaks it, at its line, and leaves alone what does not.

use super::super::{Exceptions, Source};
use super::check;

/// The rules broken by a file, with their lines: `rule:line`.
fn broken(name: &str, text: &str) -> Vec<String> {
    broken_with(name, text, &Exceptions::default())
}

fn broken_with(name: &str, text: &str, exceptions: &Exceptions) -> Vec<String> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    check(&[source], exceptions).iter().map(|finding| format!("{}:{}", finding.rule, finding.line)).collect()
}

#[test]
fn a_header_may_follow_attributes_of_the_crate_and_nothing_else() {
    assert!(broken("a/src/lib.rs", "//! A job.\nfn f() {}\n").is_empty());
    assert!(broken("a/src/lib.rs", "#![no_std]\n\n//! A job.\n").is_empty());
    assert_eq!(broken("a/src/lib.rs", "// A job.\n"), ["header:1"]);
    assert_eq!(broken("a/src/lib.rs", "use a;\n//! A job.\n"), ["header:1"]);
    assert_eq!(broken("a/src/lib.rs", ""), ["header:1"]);
}

#[test]
fn a_line_has_a_hundred_and_twenty_columns_whether_code_or_comment() {
    let line = |columns: usize| format!("//! A job.\n// {}\n", "é".repeat(columns - 3));
    assert!(broken("a/src/lib.rs", &line(120)).is_empty());
    assert_eq!(broken("a/src/lib.rs", &line(121)), ["columns:2"]);
    assert!(broken("notes.md", &line(121)).is_empty());
}

#[test]
fn what_is_left_open_is_found_as_a_word() {
    let open = concat!("//! A job.\n// TO", "DO: more\nfn f() { db", "g!(1) }\nlet TO", "DOS = 1;\n");
    assert_eq!(broken("a/src/lib.rs", open), ["open:2", "open:3"]);
    assert_eq!(broken("notes.md", concat!("FIX", "ME\n")), ["open:1"]);
}

#[test]
fn a_long_file_needs_a_reason_and_a_reason_needs_a_long_file() {
    let long = format!("//! A job.\n{}", "\n".repeat(500));
    assert_eq!(broken("a/src/lib.rs", &long), ["length:0"]);
    let mut exceptions = Exceptions::default();
    exceptions.long_files.insert("a/src/lib.rs".to_owned(), "one table".to_owned());
    assert!(broken_with("a/src/lib.rs", &long, &exceptions).is_empty());
    assert_eq!(broken_with("a/src/lib.rs", "//! Short.\n", &exceptions), ["exception:0"]);
}

#[test]
fn cfg_loom_stands_in_listed_files_and_models_alone() {
    let text = concat!("//! A job.\n#[cf", "g(all(test, not(loom)))]\nmod tests;\n// cfg(loom) in words\n");
    assert_eq!(broken("a/src/lib.rs", text), ["loom:2"]);
    assert!(broken("a/tests/loom.rs", concat!("//! Models.\n#![cf", "g(loom)]\n")).is_empty());
    let mut exceptions = Exceptions::default();
    exceptions.loom_files.insert("a/src/lib.rs".to_owned(), "the shim".to_owned());
    assert!(broken_with("a/src/lib.rs", text, &exceptions).is_empty());
    assert_eq!(broken_with("a/src/lib.rs", "//! No shim.\n", &exceptions), ["exception:0"]);
}

#[test]
fn unsafe_wants_its_argument_near() {
    let text = "//! A job.\n// SAFETY: the bounds were checked above,\n// and nobody unmaps.\nunsafe { f() }\n";
    assert!(broken("a/src/lib.rs", text).is_empty());
    let bare = "//! A job.\nfn f() {\n    unsafe { g() }\n}\nunsafe impl Send for T {}\n";
    assert_eq!(broken("a/src/lib.rs", bare), ["safety:3", "safety:5"]);
    assert!(broken("a/tests/t.rs", bare).is_empty());
    let far = format!("//! A job.\n// SAFETY: far away.\n{}unsafe {{ f() }}\n", "let x = 1;\n".repeat(9));
    assert_eq!(broken("a/src/lib.rs", &far), ["safety:12"]);
    assert!(broken("a/src/lib.rs", "//! A job.\nlet text = \"unsafe { }\"; // unsafe { }\n").is_empty());
}

#[test]
fn paths_of_one_machine_are_found_and_those_of_every_system_are_not() {
    let home = concat!("/ho", "me/");
    assert_eq!(broken("ci/run", &format!("cd {home}someone/project\n")), ["path:1"]);
    assert_eq!(broken("a.toml", &format!("path = \"{home}x\"\n")), ["path:1"]);
    let fine = "/dev/shm/name '/proc/self/fd/3' and/or src/lib.rs // a/b https://host/path/x 3 / 4 /tmp/x a/home/b\n";
    assert!(broken("notes.md", fine).is_empty());
}

#[test]
fn the_code_map_names_files_that_exist() {
    let map = Source {
        name: "ARCHITECTURE.md".to_owned(),
        text: "`a/src/lib.rs`, `src/lib.rs`, `src/lib`, `a/`\n`a/gone.rs`\n".to_owned(),
    };
    let file = Source { name: "a/src/lib.rs".to_owned(), text: "//! A job.\n".to_owned() };
    let findings = check(&[map, file], &Exceptions::default());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].to_string(), "ARCHITECTURE.md:2: [map] `a/gone.rs` is not in the tree");
}
