//! The order of the modules of each crate: a module imports only what stands above it in the
//! crate's table in ARCHITECTURE.md, and the modules of one folder import each other in one
//! direction.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

mod cycles;
mod imports;

use self::imports::{Import, imports};

const PAGE: &str = "ARCHITECTURE.md";

/// The path of a module from the root of its crate; the root itself is empty.
type Module = Vec<String>;

/// A crate whose order is checked.
struct Crate<'a> {
    /// The folder, which the headings of the page name.
    name: &'static str,
    /// The files that are modules of it, without its tests.
    modules: BTreeMap<Module, &'a Source>,
}

const CRATES: [&str; 8] = [
    "bento",
    "bento-macros",
    "bento-core",
    "bento-relay",
    "bento-seaorm",
    "bento-handlers",
    "bento-brokers",
    "bento-testkit",
];

pub(super) fn faults(rust: &[Source], markdown: &[Source]) -> Vec<String> {
    let page = markdown
        .iter()
        .find(|source| source.path == PAGE)
        .map_or("", |page| &page.text);
    CRATES
        .into_iter()
        .flat_map(|name| faults_of(&Crate::of(name, rust), page))
        .collect()
}

fn faults_of(krate: &Crate<'_>, page: &str) -> Vec<String> {
    let rows = rows(page, krate.name);
    if rows.is_empty() {
        return vec![format!(
            "{PAGE}: `### \u{60}{}\u{60}` has no table of modules",
            krate.name
        )];
    }
    let imports: Vec<Import> = krate
        .modules
        .keys()
        .flat_map(|module| imports(krate, module))
        .collect();
    let unplaced = krate
        .modules
        .iter()
        .filter_map(|(module, source)| unplaced(module, source, &rows));
    let downward = imports
        .iter()
        .filter_map(|import| downward(krate, import, &rows));
    unplaced
        .chain(downward)
        .chain(cycles::faults(krate, &imports))
        .collect()
}

impl<'a> Crate<'a> {
    fn of(name: &'static str, rust: &'a [Source]) -> Self {
        let modules = rust
            .iter()
            .filter_map(|source| Some((module(name, &source.path)?, source)));
        Self {
            name,
            modules: modules.collect(),
        }
    }
}

/// The module that a file of the crate is; none for what tests alone use.
fn module(name: &str, path: &str) -> Option<Module> {
    let path = path
        .strip_prefix(name)?
        .strip_prefix("/src/")?
        .strip_suffix(".rs")?;
    let module: Module = path
        .split('/')
        .filter(|part| !["lib", "mod"].contains(part))
        .map(str::to_owned)
        .collect();
    let for_tests = ["tests", "snapshots", "test_database"];
    let is_for_tests = module.iter().any(|part| for_tests.contains(&part.as_str()));
    (!is_for_tests).then_some(module)
}

/// The modules in the first column of the first table below the crate's heading, row by row.
fn rows<'a>(page: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let heading = format!("### `{name}`");
    let section = page.lines().skip_while(|line| *line != heading).skip(1);
    let section = section.take_while(|line| !line.starts_with('#'));
    let table = section
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    // The first two lines are the head of the table and the rule below it.
    table
        .skip(2)
        .map(|row| first_cell(row).split('`').skip(1).step_by(2).collect())
        .collect()
}

fn first_cell(row: &str) -> &str {
    row.trim_start_matches('|')
        .split('|')
        .next()
        .unwrap_or_default()
}

fn row_of(rows: &[Vec<&str>], module: &str) -> Option<usize> {
    rows.iter().position(|row| row.contains(&module))
}

fn unplaced(module: &Module, source: &Source, rows: &[Vec<&str>]) -> Option<String> {
    let [top] = module.as_slice() else {
        return None;
    };
    let fault = || {
        format!(
            "{}: `{top}` has no place in the table of {PAGE}",
            source.path
        )
    };
    row_of(rows, top).is_none().then(fault)
}

/// An import of a module that stands in a lower row of the table.
fn downward(krate: &Crate<'_>, import: &Import, rows: &[Vec<&str>]) -> Option<String> {
    let (own, other) = (import.from.first()?, import.to.first()?);
    let (own_row, other_row) = (row_of(rows, own)?, row_of(rows, other)?);
    let path = &krate.modules[&import.from].path;
    let fault = || {
        format!(
            "{path}:{}: `{own}` uses `crate::{other}`, which stands below it",
            import.line
        )
    };
    (other_row > own_row).then(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "### `bento-core`\n\nIn order.\n\n| module | what it holds |\n|---|---|\n\
        | `id` | ids |\n| `event`, `codec` | events, `outbox` |\n| `outbox` | shards |\n\
        | `publish`, `relay` | the way out |\n\n| `utils` | |\n\n### `bento-seaorm`\n";

    fn faults_in<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source {
            path: format!("bento-core/src/{path}"),
            text: (*text).to_owned(),
        };
        let mut sources: Vec<Source> = files.iter().map(source).collect();
        for module in ["id", "event", "codec", "outbox", "publish", "relay"] {
            let path = format!("bento-core/src/{module}.rs");
            if sources.iter().all(|source| source.path != path) {
                sources.push(Source {
                    path,
                    text: String::new(),
                });
            }
        }
        faults_of(&Crate::of("bento-core", &sources), TABLE)
    }

    #[test]
    fn a_module_may_not_use_what_stands_below_it() {
        let found = faults_in([(
            "event/field.rs",
            "//! x\nuse crate::id::Id;\nuse crate::relay::Relay;\n",
        )]);
        let fault =
            "bento-core/src/event/field.rs:3: `event` uses `crate::relay`, which stands below it";
        assert_eq!(found, [fault]);
    }

    #[test]
    fn every_name_of_a_group_and_every_path_in_code_counts() {
        let text = "use crate::{\n    id::{Id, relay},\n    outbox::Row,\n};\nfn f() { \
                    crate::publish::g() }\n";
        assert_eq!(faults_in([("event.rs", text)]).len(), 2);
        assert_eq!(
            faults_in([("event.rs", "use super::relay::Relay;")]).len(),
            1,
            "by `super`"
        );
    }

    #[test]
    fn what_the_root_exports_counts_for_its_module() {
        let root = ("lib.rs", "pub use self::relay::{Other, Relay as Name};");
        assert_eq!(faults_in([root, ("event.rs", "use crate::Name;")]).len(), 1);
        assert_eq!(
            faults_in([root, ("event.rs", "use crate::Missing;")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn comments_texts_and_tests_are_free() {
        let text = "/// See [`crate::relay`].\nconst A: &str = \
                    \"crate::relay\";\n#[cfg(test)]\nmod tests {\n    use \
                    crate::relay::Relay;\n}\n";
        assert_eq!(faults_in([("event.rs", text)]), Vec::<String>::new());
        assert_eq!(
            faults_in([("event/tests.rs", "use crate::relay::Relay;")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_module_without_a_place_is_a_fault() {
        assert_eq!(faults_in([("utils.rs", "//! x")]).len(), 1);
    }

    #[test]
    fn modules_of_one_row_use_each_other_in_one_direction() {
        let event = ("event.rs", "use crate::codec::Codec;");
        assert_eq!(faults_in([event]), Vec::<String>::new());
        let found = faults_in([event, ("codec.rs", "use crate::event::Event;")]);
        assert_eq!(
            found,
            ["bento-core/src: a circle of imports: codec → event → codec"]
        );
    }

    #[test]
    fn modules_of_one_folder_use_each_other_in_one_direction() {
        let found = faults_in([
            ("event/a.rs", "use super::b::B;"),
            ("event/b.rs", "use crate::event::c::deep::C;"),
            ("event/c.rs", ""),
            ("event/c/deep.rs", "use super::super::a::A;"),
        ]);
        assert_eq!(
            found,
            ["bento-core/src/event: a circle of imports: a → b → c → a"]
        );
    }

    #[test]
    fn a_module_and_its_own_children_may_use_each_other() {
        let found = faults_in([
            ("event.rs", "use self::a::A;"),
            ("event/a.rs", "use super::Event;"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_page_without_the_table_is_a_fault() {
        assert_eq!(faults(&[], &[]).len(), CRATES.len());
    }
}
