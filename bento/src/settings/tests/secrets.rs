//! No message and no `Debug` shows a secret, wherever it stands.

use super::*;

const SECRET: &str = "hunter2";

fn never_shown(toml: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let read = read_with(toml, variables);
    let printed = match &read {
        Ok(settings) => format!("{settings:?} {settings:#?}"),
        Err(error) => format!("{error} {error:?} {error:#?}"),
    };
    assert!(!printed.contains(SECRET), "{printed}");
    read
}

fn token(settings: Settings) -> bento_brokers::nats::NatsCredentials {
    let PublisherSettings::Nats(nats) = settings.publishers["nats"].clone() else {
        panic!("it is NATS")
    };
    nats.credentials.unwrap()
}

#[test]
fn a_secret_is_never_shown() {
    let nats = |line: &str| format!("publisher = \"nats\"\n[publishers.nats]\n{line}");
    for line in [
        "credentials = { token = \"hunter2\" }",
        "credentials.password = { user = \"relay\", password = \"hunter2\" }",
        "urls = [\"nats://relay:hunter2@localhost\"]",
    ] {
        never_shown(&nats(line), &[]).unwrap();
    }
    for line in [
        "credentials = \"hunter2\"",
        "credentials = { token = [\"hunter2\"] }",
        "credentials = { tokn = \"hunter2\" }",
        "credentials.password = { user = \"relay\", pasword = \"hunter2\" }",
        "urls = \"nats://relay:hunter2@localhost\"",
        "tls = \"hunter2\"",
        "credentials = { token = hunter2 }",
        "credentials = { token = \"hunter2\n",
        "credentials = { token = \"hunter2\" \"hunter2\"",
    ] {
        never_shown(&nats(line), &[]).unwrap_err();
    }
    never_shown(
        &nats("credentials = { token = 5 }"),
        &[("BENTO_RELAY", "hunter2")],
    )
    .unwrap_err();
    let builder =
        Settings::builder().vars([("BENTO_PUBLISHERS__NATS__CREDENTIALS__TOKEN", SECRET)]);
    assert!(!format!("{builder:?}").contains(SECRET));
}

#[test]
fn a_secret_of_digits_is_a_text_in_the_environment() {
    for text in ["12345", "true", "[a]", "{", "1e5", "\"quoted\""] {
        let variables = [
            ("BENTO_PUBLISHER", "nats"),
            ("BENTO_PUBLISHERS__NATS__CREDENTIALS__TOKEN", text),
        ];
        let settings = read_with("", &variables).unwrap();
        assert_eq!(
            token(settings),
            bento_brokers::nats::NatsCredentials::Token(text.into())
        );
    }
}

#[test]
fn a_secret_can_be_in_a_file() {
    let folder = std::env::temp_dir().join(format!("bento-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token");
    std::fs::write(&file, "hunter2\n").unwrap();
    let file = file.to_str().unwrap();
    let named = format!(
        "publisher = \"nats\"\n[publishers.nats]\ncredentials = {{ token_file = {file:?} }}"
    );
    let expected = bento_brokers::nats::NatsCredentials::Token(SECRET.into());
    assert_eq!(token(never_shown(&named, &[]).unwrap()), expected);

    let variable = [("BENTO_PUBLISHERS__NATS__CREDENTIALS__TOKEN_FILE", file)];
    let replaced =
        "publisher = \"nats\"\n[publishers.nats]\ncredentials = { token = \"of development\" }";
    assert_eq!(token(never_shown(replaced, &variable).unwrap()), expected);

    let variable = [(
        "BENTO_PUBLISHERS__NATS__CREDENTIALS__TOKEN",
        "of the environment",
    )];
    let other = bento_brokers::nats::NatsCredentials::Token("of the environment".into());
    assert_eq!(token(read_with(&named, &variable).unwrap()), other);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A file that was made and not filled yet, or that a mount left empty.
#[test]
fn a_file_that_is_empty_holds_no_secret() {
    let file = std::env::temp_dir().join(format!("bento-empty-secret-{}", std::process::id()));
    let named = format!(
        "publisher = \"nats\"\n[publishers.nats]\ncredentials = {{ token_file = {file:?} }}"
    );
    for text in ["", "\n", " \r\n"] {
        std::fs::write(&file, text).unwrap();
        let refused = read_with(&named, &[]).unwrap_err().to_string();
        assert!(
            refused.contains("`publishers.nats.credentials.token_file`: the file is empty"),
            "{refused}"
        );
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_secret_that_is_not_in_its_file_or_said_twice_is_refused() {
    let named =
        "publisher = \"nats\"\n[publishers.nats]\ncredentials = { token_file = \"nowhere\" }";
    refuses(
        named,
        &[],
        expect![
            "bento.toml:3: `publishers.nats.credentials.token_file`: the file cannot be read: No \
             such file or directory (os error 2)"
        ],
    );
    let twice = "publisher = \"nats\"\n[publishers.nats.credentials]\ntoken_file = \
                 \"nowhere\"\ntoken = \"x\"";
    refuses(
        twice,
        &[],
        expect![
            "bento.toml:2: `publishers.nats.credentials`: expected one key, found `token` and \
             `token_file`"
        ],
    );
}
