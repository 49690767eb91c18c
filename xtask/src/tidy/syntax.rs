//! The rules that need a parsed file: the length of functions, and examples on what is public.
//!
//! Macros are not expanded: what a `macro_rules!` makes is not looked at.

use super::{Finding, Source};
use crate::cargo::PRODUCT;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Meta, Visibility};

/// More lines in one function, from `fn` to its closing brace, and a reader cannot see it whole.
const LINES_OF_A_FUNCTION: usize = 70;

/// Each Rust file beside what it says; a file that syn cannot read is a finding.
pub(super) fn parse(sources: &[Source]) -> (Vec<(&Source, syn::File)>, Vec<Finding>) {
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    for source in sources.iter().filter(|source| source.is_rust()) {
        match syn::parse_file(&source.text) {
            Ok(file) => files.push((source, file)),
            Err(error) => {
                let line = error.span().start().line;
                findings.push(source.finding(line, "syntax", format!("cannot be parsed: {error}")));
            }
        }
    }
    (files, findings)
}

pub(super) fn check(files: &[(&Source, syn::File)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (source, file) in files {
        let mut functions = Functions { source, findings: Vec::new() };
        functions.visit_file(file);
        findings.extend(functions.findings);
        if source.product_module().is_some() {
            let mut examples = Examples { source, findings: Vec::new() };
            examples.visit_file(file);
            findings.extend(examples.findings);
        }
    }
    findings
}

/// Whether an item is there for tests alone.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test") || condition.starts_with("all(test")
        }
        meta => meta.path().is_ident("test"),
    })
}

impl Source {
    /// The crate and the module that a file of a product crate's `src` is; `None` for programs and all other files.
    pub(super) fn product_module(&self) -> Option<(&str, Vec<&str>)> {
        let (name, rest) = self.name.split_once("/src/")?;
        let path = rest.strip_suffix(".rs")?;
        if !PRODUCT.contains(&name) || path.starts_with("bin/") {
            return None;
        }
        let mut module: Vec<&str> = path.split('/').collect();
        if matches!(module.last(), Some(&("mod" | "lib"))) {
            module.pop();
        }
        Some((name, module))
    }
}

struct Functions<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, end: proc_macro2::Span) {
        let first = signature.span().start().line;
        let lines = end.end().line + 1 - first;
        if lines > LINES_OF_A_FUNCTION {
            let message = format!("`{}` has {lines} lines, of {LINES_OF_A_FUNCTION}: split it", signature.ident);
            self.findings.push(self.source.finding(first, "functions", message));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.measure(&item.sig, item.span());
        visit::visit_trait_item_fn(self, item);
    }
}

/// `pub` means public: the lint `unreachable_pub` sees to it. C functions have their examples in C.
struct Examples<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Examples<'_> {
    fn wants(&mut self, visibility: &Visibility, attributes: &[Attribute], name: &syn::Ident) {
        if !matches!(visibility, Visibility::Public(_)) {
            return;
        }
        let (mut has_example, mut is_hidden) = (false, false);
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
            match &attribute.meta {
                Meta::List(list) => is_hidden |= list.tokens.to_string().contains("hidden"),
                Meta::NameValue(pair) => {
                    if let Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value {
                        has_example |= text.value().trim_start().starts_with("# Example");
                    }
                }
                Meta::Path(_) => {}
            }
        }
        if !has_example && !is_hidden {
            let message = format!("`{name}` is public and shows no `# Examples`");
            self.findings.push(self.source.finding(name.span().start().line, "examples", message));
        }
    }
}

/// A method that takes `self` alone and answers by one expression.
fn is_accessor(item: &syn::ImplItemFn) -> bool {
    let takes_self_alone = item.sig.inputs.len() == 1 && item.sig.receiver().is_some();
    takes_self_alone && matches!(item.block.stmts.as_slice(), [syn::Stmt::Expr(_, None)])
}

impl<'ast> Visit<'ast> for Examples<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.wants(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.wants(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.wants(&item.vis, &item.attrs, &item.ident);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.abi.is_none() && !is_for_tests(&item.attrs) {
            self.wants(&item.vis, &item.attrs, &item.sig.ident);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if item.trait_.is_none() && !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.abi.is_none() && !is_accessor(item) && !is_for_tests(&item.attrs) {
            self.wants(&item.vis, &item.attrs, &item.sig.ident);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, check, parse};

    fn broken(name: &str, text: &str) -> Vec<String> {
        let sources = [Source { name: name.to_owned(), text: text.to_owned() }];
        let (files, mut findings) = parse(&sources);
        findings.extend(check(&files));
        findings.iter().map(|finding| format!("{}:{}", finding.rule, finding.line)).collect()
    }

    #[test]
    fn a_function_of_more_than_seventy_lines_is_found_wherever_it_stands() {
        let body = |lines: usize| "    let _ = 1;\n".repeat(lines - 2);
        for (before, after) in [("", ""), ("impl T {\n", "}\n"), ("mod a {\n", "}\n"), ("trait T {\n", "}\n")] {
            let text = |lines| format!("{before}/// Docs.\n#[inline]\nfn f() {{\n{}}}\n{after}", body(lines));
            assert!(broken("xtask/src/a.rs", &text(70)).is_empty());
            let line = 3 + before.lines().count();
            assert_eq!(broken("xtask/src/a.rs", &text(71)), [format!("functions:{line}")]);
        }
    }

    #[test]
    fn what_is_public_in_a_product_crate_shows_an_example_and_accessors_need_none() {
        let text = "/// A.\npub struct A;\nimpl A {\n    /// B.\n    pub fn b(&self) -> u8 { self.0 }\n    /// C.\n    \
                    pub fn c(&self, d: u8) {}\n    pub(crate) fn e() {}\n}\npub fn f() {}\n\
                    impl T for A { fn g() {} }\n";
        let all = ["examples:2", "examples:7", "examples:10"];
        assert_eq!(broken("monshm-core/src/a.rs", text), all);
        assert!(broken("xtask/src/a.rs", text).is_empty());
        assert!(broken("monshm/src/bin/monshm/main.rs", text).is_empty());
        let shown = "/// A.\n///\n/// # Examples\n/// ```\n/// ```\npub struct A;\n#[doc(hidden)]\npub enum B {}\n";
        assert!(broken("monshm-core/src/a.rs", shown).is_empty());
        let other = "#[cfg(test)]\nmod tests {\n    pub struct A;\n}\npub extern \"C\" fn f() {}\n";
        assert!(broken("monshm-core/src/a.rs", other).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_parsed_is_a_finding() {
        assert_eq!(broken("xtask/src/a.rs", "fn f( {}\n"), ["syntax:1"]);
    }
}
