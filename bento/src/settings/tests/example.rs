//! The example in the documents: it is read, shows every key, and shows the defaults.

use super::*;
use crate::settings::publishers::WITH_FEATURE;

/// Reads it where it is.
fn read_example(text: &str) -> Result<Settings, ConfigError> {
    Settings::builder()
        .text(text, Path::new("../docs/bento.example.toml"))?
        .build()
}

const WHOLE: &str = include_str!("../../../../docs/bento.example.toml");

/// Without the sections that this build does not have.
fn example() -> String {
    let mut is_kept = true;
    let mut kept = String::new();
    for line in WHOLE.lines() {
        if line.starts_with('[') {
            let is_off = |(kind, is_on): &(&str, bool)| {
                let of_kind = ["publishers", "sources"].map(|of| format!("[{of}.{kind}"));
                !is_on && of_kind.iter().any(|header| line.starts_with(header))
            };
            let of_handlers = ["[handlers", "[projections", "[consumer", "[sources"];
            let has_handlers = cfg!(feature = "handlers")
                || !of_handlers.iter().any(|header| line.starts_with(header));
            is_kept = has_handlers && !WITH_FEATURE.iter().any(is_off);
        }
        if is_kept {
            kept += line;
        }
        // Lines keep their numbers.
        kept.push('\n');
    }
    kept
}

#[test]
fn it_shows_the_defaults() {
    let settings = read_example(&example()).unwrap();
    let expected = Settings {
        publishers: settings.publishers.clone(),
        #[cfg(feature = "handlers")]
        handlers: BTreeMap::from([("stock.reserve".to_owned(), HandlerSettings::default())]),
        #[cfg(feature = "handlers")]
        projections: BTreeMap::from([("balances".to_owned(), ProjectionSettings::default())]),
        #[cfg(feature = "handlers")]
        sources: settings.sources.clone(),
        ..Settings::default()
    };
    assert_eq!(settings, expected);
    #[cfg(feature = "handlers")]
    for (name, source) in &settings.sources {
        let default = read(&format!("[sources.{name}]")).unwrap();
        assert_eq!(*source, default.sources[name]);
    }
    for (name, publisher) in settings.publishers {
        assert_eq!(
            publisher,
            read(&format!("publisher = {name:?}\n[publishers.{name}]"))
                .unwrap()
                .publishers[&name]
        );
    }
}

/// A line `#key = value` shows a key that is not set by default, a line `# text` is a comment.
#[test]
fn what_is_commented_out_can_be_used() {
    let text = example();
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let Some(key) = line
            .strip_prefix('#')
            .filter(|key| !key.is_empty() && !key.starts_with([' ', '#']))
        else {
            continue;
        };
        let mut used = lines.clone();
        used[number] = key;
        if let Err(error) = read_example(&used.join("\n")) {
            panic!("{key}: {error}");
        }
    }
}

#[test]
fn it_shows_every_key() {
    let text = example();
    let lines: Vec<&str> = text.lines().collect();
    let headers = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with('['));
    // The keys in front of the first header are those of the whole.
    for (number, header) in std::iter::once((0, &"")).chain(headers) {
        let table = header.trim_matches(['[', ']']);
        for key in keys(&lines, number + usize::from(!table.is_empty())) {
            let path = if table.is_empty() {
                key.clone()
            } else {
                format!("{table}.{key}")
            };
            let own = lines[number + 1..]
                .iter()
                .take_while(|line| !line.starts_with('['));
            let is_shown = own.into_iter().any(|line| {
                let written = line.strip_prefix('#').unwrap_or(line);
                written.starts_with(&format!("{key} = "))
                    || written.starts_with(&format!("{key}."))
                    || line.contains(&format!("`{key} = "))
                    || line.contains(&format!("`{key}`"))
            });
            let has_section = WHOLE.lines().any(|line| {
                line.starts_with(&format!("[{path}")) || line.starts_with(&format!("#{path}."))
            });
            assert!(is_shown || has_section, "`{path}` is not shown");
        }
    }
}

/// The keys that can stand in line `number`.
fn keys(lines: &[&str], number: usize) -> Vec<String> {
    let mut wrong = lines.to_vec();
    wrong.insert(number, "wrong_key_of_the_test = 1");
    let error = read_example(&wrong.join("\n")).unwrap_err();
    let ConfigError::Faults(faults) = error else {
        panic!("{error}")
    };
    match faults.iter().collect::<Vec<_>>()[..] {
        [
            Fault {
                kind: FaultKind::UnknownKey { known, .. },
                ..
            },
        ] => known.clone(),
        _ => panic!("{faults}"),
    }
}
