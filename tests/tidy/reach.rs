//! Every Rust file is part of a crate: a file that no `mod` names is dead and looks alive.

use crate::Complaint;
use crate::tree::{Tree, root};
use std::collections::BTreeSet;
use std::process::Command;

/// Complains about each file that no crate of the tree reaches.
pub(crate) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut roots = workspace_roots();
    // A workspace of its own, such as a peer's program, keeps to cargo's default places.
    for (path, _) in tree.with_extension("toml") {
        if let Some(folder) = path.strip_suffix("/Cargo.toml") {
            roots.extend(["main", "lib"].map(|name| format!("{folder}/src/{name}.rs")));
        }
    }
    unreached(tree, &roots)
}

fn unreached(tree: &Tree, roots: &[String]) -> Vec<Complaint> {
    let mut reached = BTreeSet::new();
    for path in roots {
        follow(tree, path, true, &mut reached);
    }
    tree.with_extension("rs")
        .into_iter()
        .filter(|(path, _)| !reached.contains(*path))
        .map(|(path, _)| Complaint::of(path, "no crate reaches this file"))
        .collect()
}

/// The root file of each target of the workspace.
fn workspace_roots() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo, which runs this test, starts");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let targets = packages.flat_map(|package| package["targets"].as_array().expect("targets"));
    let paths = targets.map(|target| target["src_path"].as_str().expect("a target has a file"));
    let root = root();
    let relative = |path: &str| {
        std::path::Path::new(path)
            .strip_prefix(&root)
            .ok()
            .map(Into::into)
    };
    let relative = |path: &str| relative(path).map(|p: std::path::PathBuf| p.display().to_string());
    paths.filter_map(relative).collect()
}

/// Marks the file and every file that its `mod` items name.
fn follow(tree: &Tree, path: &str, is_root: bool, reached: &mut BTreeSet<String>) {
    let Some(text) = tree.text(path) else {
        return;
    };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let inner = if is_root || file == "mod.rs" {
        folder.to_owned()
    } else {
        format!("{folder}/{}", file.trim_end_matches(".rs"))
    };
    if let Ok(file) = syn::parse_file(text) {
        follow_items(tree, &file.items, (folder, &inner), reached);
    }
}

/// `folders`: the file's own, from which `#[path]` counts, and the one of its submodules.
fn follow_items(
    tree: &Tree,
    items: &[syn::Item],
    folders: (&str, &str),
    reached: &mut BTreeSet<String>,
) {
    for item in items {
        let syn::Item::Mod(module) = item else {
            continue;
        };
        let (own, inner) = folders;
        let nested = format!("{inner}/{}", module.ident);
        match (&module.content, path_attribute(module)) {
            (Some((_, items)), _) => follow_items(tree, items, (own, &nested), reached),
            (None, Some(path)) => follow(tree, &format!("{own}/{path}"), true, reached),
            (None, None) => {
                follow(tree, &format!("{nested}.rs"), false, reached);
                follow(tree, &format!("{nested}/mod.rs"), false, reached);
            }
        }
    }
}

fn path_attribute(module: &syn::ItemMod) -> Option<String> {
    let attribute = module
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("path"))?;
    let value = &attribute.meta.require_name_value().ok()?.value;
    match value {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(path),
            ..
        }) => Some(path.value()),
        _ => None,
    }
}

#[test]
fn a_file_that_nothing_names_is_found() {
    let tree = Tree::of(&[
        (
            "a/src/lib.rs",
            "mod b;\nmod inline { mod deep; }\n#[path = \"x.rs\"]\nmod y;\n",
        ),
        ("a/src/b.rs", "mod c;"),
        ("a/src/b/c.rs", ""),
        ("a/src/inline/deep.rs", ""),
        ("a/src/x.rs", ""),
        ("a/src/dead.rs", ""),
        ("a/src/b/dead.rs", ""),
    ]);
    let complaints = unreached(&tree, &["a/src/lib.rs".to_owned()]);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
}
