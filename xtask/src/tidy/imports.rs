//! What a source file imports. Layers may import only the layers below them, and pure layers nothing that does I/O.
//!
//! Reads the syntax tree, so neither comments nor texts count. Code for tests is left out: tests may do more.

use std::path::Path;

use syn::{
    Attribute, ItemFn, ItemImpl, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// Which other folders of `netmon/src` a folder may import. The first line that fits counts.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("network", &["model"]),
    ("observe/state", &["model", "network", "observe"]),
    ("checks", &["checks", "model"]),
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

/// Every path that a file of `netmon/src` names, with all of its segments. Imports are taken apart into single paths.
/// Paths that begin with `super` begin with `crate` here. What macros contain is not seen.
pub(super) fn of(file: &Path, text: &str) -> syn::Result<Vec<String>> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(text)?);
    let module = module(file);
    let found = paths.found.into_iter();
    Ok(found.map(|(depth, path)| resolve(&module, depth, path)).collect())
}

/// The names of a file's module, from the crate down.
fn module(file: &Path) -> Vec<String> {
    let own = file.with_extension("");
    let names = own.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "mod" && name != "lib").collect()
}

/// A path in an inner module at that depth of the file, from the crate down.
fn resolve(module: &[String], depth: usize, path: String) -> String {
    let mut rest = path.as_str();
    let mut up = 0_usize;
    while let Some(behind) = rest.strip_prefix("super::") {
        rest = behind;
        up += 1;
    }
    if up == 0 {
        return path;
    }
    let above = up.saturating_sub(depth);
    let parents = &module[..module.len().saturating_sub(above)];
    let whole = std::iter::once("crate").chain(parents.iter().map(String::as_str));
    whole.chain([rest]).collect::<Vec<_>>().join("::")
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
struct Paths {
    /// The depth of the inner module.
    depth: usize,
    /// Each path, with the depth of its module.
    found: Vec<(usize, String)>,
}

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
            UseTree::Name(name) => self.found.push((self.depth, joined(&name.ident.to_string()))),
            UseTree::Rename(name) => self.found.push((self.depth, joined(&name.ident.to_string()))),
            UseTree::Glob(_) => self.found.push((self.depth, before.to_owned())),
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
            self.depth += 1;
            visit::visit_item_mod(self, item);
            self.depth -= 1;
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
            self.found.push((self.depth, segments.join("::")));
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
    let is_left_out = condition.contains("test") || condition.contains("feature");
    list.path.is_ident("cfg") && is_left_out && !condition.contains("not")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{of_higher_layers, of_io};

    fn of(text: &str) -> syn::Result<Vec<String>> {
        super::of(Path::new("collectors/tcp/mod.rs"), text)
    }

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
    fn a_path_that_leads_up_is_followed() {
        let paths = of("use super::visit::Visit;\n#[cfg(not(test))]\nuse std::fs;\n");
        assert_eq!(
            paths.expect("a source file"),
            ["crate::collectors::visit::Visit", "std::fs"]
        );
        let paths = of("fn f() { super::super::http::serve() }").expect("a source file");
        assert_eq!(paths, ["crate::http::serve"]);
        let paths = of("mod inner { use super::facts::Row; }").expect("a source file");
        assert_eq!(paths, ["crate::collectors::tcp::facts::Row"]);
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
