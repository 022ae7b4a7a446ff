//! What a source file imports. Layers may import only the layers below them, and pure layers nothing that does I/O.
//!
//! Reads the syntax tree, so neither comments nor texts count. Code for tests is left out: tests may do more.

use syn::{
    Attribute, ItemFn, ItemImpl, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// Which other folders of `netmon/src` a folder may import. The first line that fits counts.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("network", &["model"]),
    ("page", &["model"]),
    ("metrics", &["model", "page"]),
    ("collectors/*/facts", &["collectors", "model", "observe"]),
    ("collectors/*/families", &["collectors", "model", "page", "version"]),
    ("collectors", &["datapath", "metrics", "model", "observe", "page"]),
];

/// Imports that mean I/O, waiting or other threads.
const IO: &[&str] = &[
    "aya",
    "bollard",
    "hyper",
    "netlink_sys",
    "procfs",
    "rustix",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "tokio",
];

/// Every path that a file names, with all of its segments. Imports are taken apart into single paths.
pub(super) fn of(text: &str) -> syn::Result<Vec<String>> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(text)?);
    Ok(paths.0)
}

/// Imports of a layer's file that the layer must not have.
pub(super) fn of_higher_layers(
    paths: &[String],
    is_in: impl Fn(&&str) -> bool,
) -> impl Iterator<Item = (&'static str, &str)> {
    let layer = LAYERS.iter().find(|(layer, _)| is_in(layer));
    layer.into_iter().flat_map(|(layer, below)| {
        let ours = paths.iter().filter_map(|path| path.strip_prefix("crate::"));
        ours.filter_map(move |path| {
            let other = path.split("::").next().unwrap_or_default();
            (other != *layer && !below.contains(&other)).then_some((*layer, other))
        })
    })
}

/// Imports that mean I/O.
pub(super) fn of_io(paths: &[String]) -> impl Iterator<Item = &str> {
    let does_io = |path: &&String| {
        IO.iter().any(|io| {
            let rest = path.strip_prefix(io);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
    };
    paths.iter().filter(does_io).map(String::as_str)
}

#[derive(Default)]
struct Paths(Vec<String>);

impl Paths {
    fn import(&mut self, before: &str, tree: &UseTree) {
        let joined = |name: &str| {
            if before.is_empty() {
                name.to_owned()
            } else {
                format!("{before}::{name}")
            }
        };
        match tree {
            UseTree::Path(path) => self.import(&joined(&path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.0.push(joined(&name.ident.to_string())),
            UseTree::Rename(name) => self.0.push(joined(&name.ident.to_string())),
            UseTree::Glob(_) => self.0.push(before.to_owned()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !item.attrs.iter().any(is_test) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !item.attrs.iter().any(is_test) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !item.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !item.attrs.iter().any(is_test) {
            self.import("", &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.0.push(segments.join("::"));
        }
        visit::visit_path(self, path);
    }
}

/// `#[cfg(test)]`, and what is for fuzzing and benchmarks.
fn is_test(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.tokens.to_string();
    list.path.is_ident("cfg") && (condition.contains("test") || condition.contains("feature"))
}

#[cfg(test)]
mod tests {
    use super::{of, of_higher_layers, of_io};

    #[test]
    fn imports_are_taken_apart_and_paths_count_too() {
        let text = "use std::{fs, io::{self, Read as _}};\nfn f() -> crate::http::Page { tokio::spawn(x); y() }\n";
        let paths = of(text).expect("a source file");
        assert_eq!(
            paths,
            [
                "std::fs",
                "std::io::self",
                "std::io::Read",
                "crate::http::Page",
                "tokio::spawn"
            ]
        );
        assert_eq!(of_io(&paths).count(), 4);
    }

    #[test]
    fn tests_and_comments_do_not_count() {
        let text = "//! std::fs\n/// tokio::spawn\nfn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n\
                    #[cfg(any(test, feature = \"fuzzing\"))]\nuse std::fs;\n";
        assert_eq!(of(text).expect("a source file"), Vec::<String>::new());
    }

    #[test]
    fn a_layer_imports_only_what_is_below_it() {
        let paths = of("use crate::{model::Key, page::Rows, http::Page};\n").expect("a source file");
        let breaches = |layer: &str| of_higher_layers(&paths, |it| *it == layer).collect::<Vec<_>>();
        assert_eq!(breaches("metrics"), [("metrics", "http")]);
        assert_eq!(breaches("page"), [("page", "http")]);
        assert_eq!(breaches("model"), [("model", "page"), ("model", "http")]);
        assert_eq!(breaches("http"), []);
    }
}
