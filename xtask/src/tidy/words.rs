//! The rule about words: names use the field's words, of which `ci/words.toml` has the dictionary.
//!
//! Looked at is what a file declares: modules, types, functions, fields, constants, variables, and the name of the
//! file. Names of tests are sentences in plain English and are left alone; so are uses of names that others declare.

use super::syntax::is_for_tests;
use super::{Finding, Source};
use serde::Deserialize;
use syn::visit::{self, Visit};

/// The dictionary.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dictionary {
    #[serde(default, rename = "word")]
    entries: Vec<Entry>,
    #[serde(default, rename = "exception")]
    exceptions: Vec<Exception>,
}

/// Words of our own for one thing, and the field's word for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Refused as any part of a name.
    #[serde(default)]
    parts: Vec<String>,
    /// Refused as a whole name, as it is spelt; such words are good parts of other names.
    #[serde(default)]
    names: Vec<String>,
    /// Only in files whose path begins so; empty for all.
    #[serde(default)]
    files: Vec<String>,
    /// Said in place of them.
    instead: String,
}

/// Names in which a refused word is another field's standard word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    word: String,
    /// Only in files whose path begins so; empty for all.
    #[serde(default)]
    files: Vec<String>,
    /// Only these names; empty for all.
    #[serde(default)]
    names: Vec<String>,
    reason: String,
}

impl Dictionary {
    /// The refused words of a name, each with what to say instead.
    fn refused<'a>(
        &'a self,
        name: &'a str,
        words: &'a [String],
        file: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a str)> {
        self.entries.iter().filter(|entry| is_among(&entry.files, file)).flat_map(move |entry| {
            let parts = entry.parts.iter().filter(|part| words.contains(part));
            let wholes = entry.names.iter().filter(move |whole| whole.as_str() == name.trim_start_matches('_'));
            parts.chain(wholes).map(|word| (word, entry.instead.as_str()))
        })
    }
}

fn is_among(starts: &[String], file: &str) -> bool {
    starts.is_empty() || starts.iter().any(|start| file.starts_with(start.as_str()))
}

pub(super) fn check(dictionary: &Dictionary, files: &[(&Source, syn::File)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = vec![false; dictionary.exceptions.len()];
    for (source, file) in files {
        let mut declared = Declared::default();
        declared
            .0
            .extend(source.name.rsplit('/').next().and_then(|name| Some((name.strip_suffix(".rs")?.to_owned(), 0))));
        declared.visit_file(file);
        for (name, line) in declared.0 {
            let words = words_of(&name);
            for (word, instead) in dictionary.refused(&name, &words, &source.name) {
                let excepted = dictionary.exceptions.iter().position(|exception| {
                    exception.word == *word
                        && is_among(&exception.files, &source.name)
                        && (exception.names.is_empty() || exception.names.contains(&name))
                });
                match excepted {
                    Some(index) => used[index] = true,
                    None => {
                        let message = format!("`{name}`: not «{word}» but {instead}");
                        findings.push(source.finding(line, "words", message));
                    }
                }
            }
        }
    }
    for (exception, used) in dictionary.exceptions.iter().zip(used) {
        let what = match (used, exception.reason.trim().is_empty()) {
            (false, _) => "excepts no name: take it out",
            (_, true) => "has no reason",
            _ => continue,
        };
        let message = format!("the exception for «{}» {what}", exception.word);
        findings.push(Finding { file: "ci/words.toml".to_owned(), line: 0, rule: "exception", message });
    }
    findings
}

/// The words of a name, in lower case: split at `_` and where a capital begins a new word.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut goes_on = false;
    let mut characters = name.trim_start_matches("r#").chars().peekable();
    let mut before = '_';
    while let Some(character) = characters.next() {
        let begins = character.is_uppercase()
            && (!before.is_uppercase() || characters.peek().is_some_and(|next| next.is_lowercase()));
        if character == '_' || character == '-' {
            goes_on = false;
        } else if goes_on && !begins {
            words.last_mut().expect("it goes on").extend(character.to_lowercase());
        } else {
            words.push(character.to_lowercase().collect());
            goes_on = true;
        }
        before = character;
    }
    words
}

/// The names that a file declares, with their lines.
#[derive(Default)]
struct Declared(Vec<(String, usize)>);

impl Declared {
    fn add(&mut self, name: &syn::Ident) {
        self.0.push((name.to_string(), name.span().start().line));
    }
}

impl<'ast> Visit<'ast> for Declared {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            self.add(&item.sig.ident);
        }
        visit::visit_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        for member in &item.items {
            match member {
                // The trait has named them.
                syn::ImplItem::Fn(_) | syn::ImplItem::Const(_) if item.trait_.is_some() => {}
                syn::ImplItem::Fn(function) => self.add(&function.sig.ident),
                syn::ImplItem::Const(constant) => self.add(&constant.ident),
                _ => {}
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(&item.sig.ident);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add(&item.ident);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.add(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.add(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.add(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|name| self.add(name));
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.add(&pattern.ident);
        visit::visit_pat_ident(self, pattern);
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::parse;
    use super::{Dictionary, Source, check, words_of};

    const DICTIONARY: &str = "[[word]]\nparts = ['patience', 'seat']\nnames = ['from']\ninstead = 'another'\n\
                              [[word]]\nparts = ['late']\nfiles = ['b/']\ninstead = 'another'\n\
                              [[exception]]\nword = 'seat'\nfiles = ['b/']\nreason = 'cars'\n";

    fn broken(name: &str, text: &str) -> Vec<String> {
        let sources = [("b/src/a.rs", "fn seat() {}\n"), (name, text)]
            .map(|(name, text)| Source { name: name.to_owned(), text: text.to_owned() });
        let (files, _) = parse(&sources);
        let findings = check(&toml::from_str(DICTIONARY).unwrap(), &files);
        findings.iter().map(|finding| format!("{}:{}", finding.line, finding.message)).collect()
    }

    #[test]
    fn names_are_split_into_words() {
        assert_eq!(words_of("RAM_patience"), ["ram", "patience"]);
        assert_eq!(words_of("XDRSeatOf2"), ["xdr", "seat", "of2"]);
        assert_eq!(words_of("_r#type"), ["r#type"]);
        assert_eq!(words_of("r#type"), ["type"]);
    }

    #[test]
    fn every_kind_of_declaration_is_looked_at() {
        for declaration in [
            "fn my_seat() {}",
            "struct SeatOf;",
            "struct A { seat: u8 }",
            "enum A { Seat }",
            "mod seat {}",
            "const SEAT: u8 = 1;",
            "static SEAT: u8 = 1;",
            "trait Seat {}",
            "type Seat = u8;",
            "trait A { fn seat(); }",
            "impl A { fn seat() {} }",
            "impl A { const SEAT: u8 = 1; }",
            "fn a(seat: u8) {}",
            "fn a() { let (seat, _) = b; }",
            "fn a() { b.map(|seat| 1); }",
        ] {
            assert_eq!(broken("a/src/a.rs", declaration).len(), 1, "{declaration}");
        }
        assert_eq!(broken("a/src/seat.rs", "").len(), 1);
    }

    #[test]
    fn tests_uses_and_whole_words_within_others_are_left_alone() {
        assert!(
            broken("a/src/a.rs", "#[test]\nfn a_seat_is_free() {}\nuse b::seat;\nfn f() { seat(1); }\n").is_empty()
        );
        assert!(broken("a/src/a.rs", "fn from_bytes() {}\nimpl Seats for A { fn seat() {} }\n").is_empty());
        assert_eq!(broken("a/src/a.rs", "fn a(from: u8) {}\n"), ["1:`from`: not «from» but another"]);
        assert!(broken("a/src/a.rs", "fn late() {}\n").is_empty());
        assert_eq!(broken("b/src/b.rs", "fn late() {}\n").len(), 1);
    }

    #[test]
    fn an_exception_has_a_reason_and_a_name_that_needs_it() {
        let dictionary: Dictionary = toml::from_str(DICTIONARY).unwrap();
        let findings = check(&dictionary, &[]);
        assert_eq!(findings[0].message, "the exception for «seat» excepts no name: take it out");
    }
}
