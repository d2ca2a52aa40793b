//! Circles of imports among the modules of one folder.

use super::imports::Import;
use super::{BTreeMap, BTreeSet, Crate};

/// The modules of a folder, and which others of it each uses.
type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

pub(super) fn faults(krate: &Crate<'_>, imports: &[Import]) -> Vec<String> {
    let mut folders: BTreeMap<&[String], Graph<'_>> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        let shared = from
            .iter()
            .zip(to)
            .take_while(|(own, other)| own == other)
            .count();
        if let (Some(own), Some(other)) = (from.get(shared), to.get(shared)) {
            folders
                .entry(&from[..shared])
                .or_default()
                .entry(own)
                .or_default()
                .insert(other);
        }
    }
    let faults = folders.iter().filter_map(|(folder, graph)| {
        let path = folder
            .iter()
            .fold(format!("{}/src", krate.name), |path, part| {
                path + "/" + part
            });
        Some(format!(
            "{path}: a circle of imports: {}",
            circle(graph)?.join(" → ")
        ))
    });
    faults.collect()
}

/// A circle in the graph, with its first module at both ends.
fn circle<'a>(graph: &Graph<'a>) -> Option<Vec<&'a str>> {
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|start| search(start, graph, &mut Vec::new(), &mut done))
}

fn search<'a>(
    module: &'a str,
    graph: &Graph<'a>,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(at) = way.iter().position(|passed| *passed == module) {
        return Some(way[at..].iter().copied().chain([module]).collect());
    }
    if !done.insert(module) {
        return None;
    }
    way.push(module);
    let used = graph.get(module).into_iter().flatten();
    let found = used
        .into_iter()
        .find_map(|next| search(next, graph, way, done));
    way.pop();
    found
}
