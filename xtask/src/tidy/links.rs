//! Relative links in Markdown lead to a file, and to a heading if they name one.

use std::fs;

use super::{Source, resolve};

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(faults_of).collect()
}

fn faults_of(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in prose(&source.text) {
        for target in targets(line) {
            if let Some(reason) = dead(source, target) {
                faults.push(format!("{}:{number}: `{target}` {reason}", source.path));
            }
        }
    }
    faults
}

/// The lines outside code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// The targets of links: `[…](here)` and `[…]: here`.
fn targets(line: &str) -> Vec<&str> {
    let mut targets: Vec<&str> = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect();
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        targets.push(target.trim());
    }
    targets
}

fn dead(source: &Source, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let text = if path.is_empty() {
        source.text.clone()
    } else {
        let file = resolve(&source.path, path);
        if !file.exists() {
            return Some("leads to no file");
        }
        fs::read_to_string(file).unwrap_or_default()
    };
    let has_anchor = anchor.is_empty()
        || prose(&text).any(|(_, line)| heading_anchor(line).as_deref() == Some(anchor));
    (!has_anchor).then_some("leads to no heading")
}

/// The anchor of a heading: lower case, words joined by `-`, punctuation left out.
fn heading_anchor(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#');
    if title.len() == line.len() || !title.starts_with(' ') {
        return None;
    }
    let kept = title
        .trim()
        .chars()
        .filter(|next| next.is_alphanumeric() || matches!(next, ' ' | '-' | '_'));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(text: &str) -> Vec<String> {
        faults(&[Source {
            path: "docs/a.md".to_owned(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn a_link_to_no_file_is_a_fault() {
        assert_eq!(
            faults_in("see [x](none.md)"),
            ["docs/a.md:1: `none.md` leads to no file"]
        );
        assert_eq!(faults_in("[x]: none.md").len(), 1);
    }

    #[test]
    fn a_link_to_no_heading_is_a_fault() {
        let text = "# A `b`, c\n[x](#a-b-c) [y](#d)";
        assert_eq!(faults_in(text), ["docs/a.md:2: `#d` leads to no heading"]);
    }

    #[test]
    fn other_sites_and_code_are_left_alone() {
        assert_eq!(
            faults_in("[x](https://example.org/y)\n```\n[x](none.md)\n```\n"),
            Vec::<String>::new()
        );
    }
}
