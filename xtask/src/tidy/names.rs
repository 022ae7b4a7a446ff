//! Names of public types: one name has one meaning. A reader who meets it elsewhere need not ask which of two is meant.

use std::{collections::BTreeMap, path::Path};

use syn::{Ident, ItemEnum, ItemMod, ItemStruct, ItemTrait, ItemType, Visibility, visit::Visit};

/// Names that two layers give to their own things, which nobody takes for each other.
const SHARED: &[&str] = &[
    "Counts",
    "Ended",
    "Histogram",
    "Kind",
    "News",
    "Node",
    "Options",
    "Sandbox",
    "Tools",
    "Watch",
];

/// The public types of `netmon/src`, each with the files that declare it.
#[derive(Debug, Default)]
pub(super) struct Types(BTreeMap<String, Vec<String>>);

impl Types {
    /// Takes in the types that a file declares for the whole crate. One that is not Rust has none.
    pub(super) fn read(&mut self, file: &Path, text: &str) {
        let mut found = Declared::default();
        if let Ok(syntax) = syn::parse_file(text) {
            found.visit_file(&syntax);
        }
        for name in found.0 {
            self.0.entry(name).or_default().push(file.display().to_string());
        }
    }

    /// Names with several meanings, and exceptions that are none any more.
    pub(super) fn breaches(&self) -> Vec<String> {
        let several = |name: &str| self.0.get(name).filter(|files| files.len() > 1);
        let new = self.0.keys().filter(|name| !SHARED.contains(&name.as_str()));
        let new = new.filter_map(|name| {
            let files = several(name)?.join(" and ");
            Some(format!("{name} is a public type in {files}: one name has one meaning"))
        });
        let over = SHARED.iter().filter(|name| several(name).is_none());
        let over = over.map(|name| format!("{name} is one type only: take it out of SHARED (xtask/src/tidy/names.rs)"));
        new.chain(over).collect()
    }
}

/// The names of a file's public types.
#[derive(Default)]
struct Declared(Vec<String>);

impl Declared {
    fn note(&mut self, visibility: &Visibility, name: &Ident) {
        if matches!(visibility, Visibility::Public(_)) {
            self.0.push(name.to_string());
        }
    }
}

impl Visit<'_> for Declared {
    fn visit_item_struct(&mut self, item: &ItemStruct) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &ItemEnum) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_trait(&mut self, item: &ItemTrait) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_type(&mut self, item: &ItemType) {
        self.note(&item.vis, &item.ident);
    }

    /// Inner modules are tests.
    fn visit_item_mod(&mut self, _: &ItemMod) {}
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SHARED, Types};

    /// What is said about these files, besides the exceptions that they lack.
    fn breaches(files: &[(&str, &str)]) -> Vec<String> {
        let mut types = Types::default();
        for (file, text) in files {
            types.read(Path::new(file), text);
        }
        types
            .breaches()
            .into_iter()
            .filter(|it| !it.contains("is one type only"))
            .collect()
    }

    #[test]
    fn a_name_that_two_modules_give_to_all_is_a_breach() {
        let found = breaches(&[
            ("page/limits.rs", "pub enum Cause { Engine }"),
            ("model/place.rs", "pub enum Cause { MapFull }"),
        ]);
        assert_eq!(
            found,
            ["Cause is a public type in page/limits.rs and model/place.rs: one name has one meaning"]
        );
    }

    #[test]
    fn what_a_module_keeps_to_itself_and_what_is_shared_on_purpose_is_none() {
        let shared = format!("pub struct {};", SHARED[0]);
        let found = breaches(&[
            ("a.rs", "pub struct Cause; struct Own; pub(super) struct Near;"),
            ("b.rs", "pub(crate) struct Cause; struct Own; pub(super) struct Near;"),
            ("c.rs", &shared),
            ("d.rs", &shared),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn an_exception_that_is_none_any_more_is_a_breach() {
        assert_eq!(Types::default().breaches().len(), SHARED.len());
    }
}
