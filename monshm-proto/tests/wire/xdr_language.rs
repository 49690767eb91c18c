//! `monshm.x` says what the code does: a small reader of the XDR language decodes by that file alone.
//!
//! Knows the part of RFC 4506 section 6.3 that `monshm.x` uses, and panics at anything else.

use std::collections::HashMap;

use monshm_core::Name;
use monshm_proto::{MAGIC, MAX_LEN, VERSION, encode};
use proptest::prelude::*;

use crate::support::{crc32c, descriptor, fields, hex};

const SOURCE: &str = include_str!("../../monshm.x");

/// One line of a struct: what type, what name.
struct Member {
    kind: Kind,
    name: String,
}

enum Kind {
    Int,
    UnsignedInt,
    UnsignedHyper,
    Opaque(usize),
    Text(usize),
    Named(String),
}

enum Definition {
    Enum(HashMap<i32, String>),
    Struct(Vec<Member>),
    Union { tag: Member, arms: HashMap<i32, Member> },
}

#[derive(Default)]
struct Language {
    constants: HashMap<String, i64>,
    definitions: HashMap<String, Definition>,
}

/// The tokens still to be read.
struct Tokens(std::vec::IntoIter<String>);

impl Tokens {
    fn of(source: &str) -> Self {
        let code = source.split("*/").map(|part| part.split("/*").next().unwrap_or_default());
        let mut out: Vec<String> = Vec::new();
        for word in code.flat_map(str::split_whitespace) {
            let mut inside = false;
            for letter in word.chars() {
                let part = letter.is_ascii_alphanumeric() || "_-".contains(letter);
                match out.last_mut().filter(|_| part && inside) {
                    Some(last) => last.push(letter),
                    None => out.push(letter.to_string()),
                }
                inside = part;
            }
        }
        Self(out.into_iter())
    }

    fn next(&mut self) -> String {
        self.0.next().expect("monshm.x ends in the middle of a definition")
    }

    fn expect(&mut self, expected: &str) {
        assert_eq!(self.next(), expected);
    }

    fn comes(&mut self, token: &str) -> bool {
        let comes = self.0.as_slice().first().is_some_and(|next| next == token);
        if comes {
            self.0.next();
        }
        comes
    }
}

impl Language {
    fn parse(source: &str) -> Self {
        let (mut language, mut tokens) = (Self::default(), Tokens::of(source));
        while let Some(word) = tokens.0.next() {
            let name = tokens.next();
            let definition = match word.as_str() {
                "const" => {
                    tokens.expect("=");
                    let value = language.number(&tokens.next());
                    language.constants.insert(name, value);
                    tokens.expect(";");
                    continue;
                }
                "enum" => language.enumeration(&mut tokens),
                "struct" => language.structure(&mut tokens),
                "union" => language.union(&mut tokens),
                other => panic!("{other} is not of the part that is understood"),
            };
            tokens.expect(";");
            language.definitions.insert(name, definition);
        }
        language
    }

    fn number(&self, text: &str) -> i64 {
        match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).expect("hexadecimal digits"),
            None => text.parse().unwrap_or_else(|_| self.constants[text]),
        }
    }

    fn enumeration(&mut self, tokens: &mut Tokens) -> Definition {
        tokens.expect("{");
        let mut labels = HashMap::new();
        loop {
            let label = tokens.next();
            tokens.expect("=");
            let value = self.number(&tokens.next());
            self.constants.insert(label.clone(), value);
            assert_eq!(labels.insert(i32::try_from(value).expect("enums are ints"), label), None);
            if !tokens.comes(",") {
                break;
            }
        }
        tokens.expect("}");
        Definition::Enum(labels)
    }

    fn structure(&self, tokens: &mut Tokens) -> Definition {
        tokens.expect("{");
        let mut members = Vec::new();
        while !tokens.comes("}") {
            members.push(self.member(tokens));
            tokens.expect(";");
        }
        Definition::Struct(members)
    }

    fn union(&self, tokens: &mut Tokens) -> Definition {
        tokens.expect("switch");
        tokens.expect("(");
        let tag = self.member(tokens);
        tokens.expect(")");
        tokens.expect("{");
        let mut arms = HashMap::new();
        while tokens.comes("case") {
            let value = i32::try_from(self.number(&tokens.next())).expect("enums are ints");
            tokens.expect(":");
            arms.insert(value, self.member(tokens));
            tokens.expect(";");
        }
        tokens.expect("}");
        Definition::Union { tag, arms }
    }

    fn member(&self, tokens: &mut Tokens) -> Member {
        let word = tokens.next();
        match word.as_str() {
            "unsigned" => {
                let kind = match tokens.next().as_str() {
                    "int" => Kind::UnsignedInt,
                    "hyper" => Kind::UnsignedHyper,
                    other => panic!("unsigned {other}"),
                };
                Member { kind, name: tokens.next() }
            }
            "int" => Member { kind: Kind::Int, name: tokens.next() },
            "opaque" | "string" => {
                let name = tokens.next();
                let (open, close) = if word == "opaque" { ("[", "]") } else { ("<", ">") };
                tokens.expect(open);
                let len = usize::try_from(self.number(&tokens.next())).expect("a length");
                tokens.expect(close);
                Member { kind: if word == "opaque" { Kind::Opaque(len) } else { Kind::Text(len) }, name }
            }
            _ => Member { kind: Kind::Named(word), name: tokens.next() },
        }
    }

    /// Decodes one item, appends `field=value` for each leaf, and answers the value of an enum.
    fn decode(&self, member: &Member, path: &str, bytes: &mut &[u8], out: &mut Vec<String>) -> i32 {
        let path = format!("{path}{}", member.name);
        match &member.kind {
            Kind::Int => out.push(format!("{path}={}", i32::from_be_bytes(chunk(bytes)))),
            Kind::UnsignedInt => out.push(format!("{path}={}", u32::from_be_bytes(chunk(bytes)))),
            Kind::UnsignedHyper => out.push(format!("{path}={}", u64::from_be_bytes(chunk(bytes)))),
            Kind::Opaque(len) => out.push(format!("{path}={}", hex(&counted(bytes, *len)))),
            Kind::Text(max) => {
                let len = usize::try_from(u32::from_be_bytes(chunk(bytes))).expect("a length");
                assert!(len <= *max);
                out.push(format!("{path}={}", String::from_utf8(counted(bytes, len)).expect("text")));
            }
            Kind::Named(name) => match &self.definitions[name] {
                Definition::Enum(labels) => {
                    let value = i32::from_be_bytes(chunk(bytes));
                    out.push(format!("{path}={}", labels[&value]));
                    return value;
                }
                Definition::Struct(members) => {
                    for member in members {
                        self.decode(member, &format!("{path}."), bytes, out);
                    }
                }
                Definition::Union { tag, arms } => {
                    let value = self.decode(tag, &format!("{path}."), bytes, out);
                    self.decode(&arms[&value], &format!("{path}."), bytes, out);
                }
            },
        }
        0
    }
}

fn chunk<const LEN: usize>(bytes: &mut &[u8]) -> [u8; LEN] {
    let (first, rest) = bytes.split_first_chunk().expect("the bytes end too early");
    *bytes = rest;
    *first
}

/// Opaque data or text: the bytes, and zeros up to the next multiple of four.
fn counted(bytes: &mut &[u8], len: usize) -> Vec<u8> {
    let (item, rest) = bytes.split_at(len.div_ceil(4) * 4);
    *bytes = rest;
    assert!(item[len..].iter().all(|byte| *byte == 0));
    item[..len].to_vec()
}

#[test]
fn the_constants_are_those_of_the_code() {
    let language = Language::parse(SOURCE);
    for (name, value) in [
        ("MON_SHM_WIRE_MAGIC", i64::from(MAGIC)),
        ("MON_SHM_WIRE_VERSION", i64::from(VERSION)),
        ("MON_SHM_WIRE_MAX_LEN", MAX_LEN as i64),
        ("MON_SHM_NAME_MAX", Name::MAX_LEN as i64),
        ("MON_SHM_TOKEN_LEN", 16),
    ] {
        assert_eq!(language.constants.get(name), Some(&value), "{name}");
    }
}

proptest! {
    #[test]
    fn the_file_decodes_what_the_code_encodes(descriptor in descriptor()) {
        let language = Language::parse(SOURCE);
        let encoded = encode(&descriptor);
        let (mut bytes, mut found) = (&encoded[..], Vec::new());
        let Definition::Struct(members) = &language.definitions["mon_shm_descriptor"] else {
            panic!("a descriptor is a struct");
        };
        for member in members {
            language.decode(member, "", &mut bytes, &mut found);
        }
        prop_assert!(bytes.is_empty(), "{} bytes are not described", bytes.len());
        prop_assert_eq!(found, fields(&descriptor, crc32c(&encoded[..encoded.len() - 4])));
    }
}
