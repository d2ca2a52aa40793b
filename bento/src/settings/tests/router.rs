//! Rules and destinations, in the file of the settings and in a file of their own.

use expect_test::expect;

use super::*;

const ROUTES: &str = r#"
[router]
version = 1

[router.destinations.orders]
topic = "shop.orders"

[router.destinations.audit]
publisher = "memory"

[[router.rules]]
name = "all"
to = ["orders", "audit"]
"#;

#[tokio::test]
async fn a_destination_has_its_named_or_own_or_default_publisher() {
    let publishers = |toml: String| async move {
        let settings = read(&toml).unwrap();
        let router = settings.router().unwrap();
        let served = router.routes().flat_map(|route| route.destinations.clone());
        let served: Vec<_> = served
            .map(|destination| destination.publisher().to_owned())
            .collect();
        let connected = settings.build_publishers().unwrap();
        assert!(
            served.iter().all(|name| connected.get(name).is_some()),
            "{served:?} {connected:?}"
        );
        settings
            .relay(MemoryStore::default())
            .unwrap()
            .start()
            .unwrap()
            .stop()
            .await
            .unwrap();
        served
    };
    assert_eq!(publishers(ROUTES.to_owned()).await, ["console", "memory"]);
    assert_eq!(
        publishers(format!("publisher = \"memory\"{ROUTES}")).await,
        ["memory", "memory"]
    );
    let own = format!("{ROUTES}[publishers.orders]\nkind = \"memory\"");
    assert_eq!(publishers(own).await, ["orders", "memory"]);
}

#[test]
fn rules_that_cannot_be_used_are_shown_with_their_line() {
    let wrong = ROUTES
        .replace("\"audit\"]", "\"audti\"]")
        .replace("topic", "tpoic");
    refuses(
        &wrong,
        &[("BENTO_RELAY__BATCH", "0")],
        expect![[r#"
        bento.toml:6: `router.destinations.orders.tpoic`: unknown key `tpoic`: the keys are `publisher`, `topic`, `routing_key`, `partition_key`, `versioned`; did you mean `topic`?
        BENTO_RELAY__BATCH: `relay.batch`: must be 1 to 10,000"#]],
    );
    refuses(
        &ROUTES.replace("\"memory\"", "\"memroy\""),
        &[],
        expect![
            "bento.toml:9: `router.destinations.audit.publisher` must be one of `console`, \
             `memory`; did you mean `memory`?"
        ],
    );
    refuses(
        &format!(
            "{ROUTES}\n[router.rules.when]\n\n\"payload.a\" = 1\n\"payload.a.b[0]\" = {{ \
             gtt = 5 }}"
        ),
        &[],
        expect![
            "bento.toml:18: `router.rules[0].when.payload.a.b[0].gtt`: unknown operator `gtt`: \
             the operators are `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `nin`, `exists`"
        ],
    );
    refuses(
        ROUTES,
        &[("BENTO_ROUTER__FILE", "routes.toml")],
        expect![
            "bento.toml:5: `router.destinations`: the rules are in the file that \
             BENTO_ROUTER__FILE names; remove them here"
        ],
    );
    refuses(
        "",
        &[("BENTO_ROUTER__FILE", "nowhere.toml")],
        expect![
            "BENTO_ROUTER__FILE: `router.file`: nowhere.toml cannot be read: No such file or \
             directory (os error 2)"
        ],
    );
    let unsaid = format!("{ROUTES}[publishers.console]");
    refuses(
        &unsaid,
        &[],
        expect![[
            r#"bento.toml:14: `publisher`: choose the publisher of the events, as in `publisher = "console"`"#
        ]],
    );
}

#[test]
fn rules_can_be_in_a_file_beside_the_one_that_names_it() {
    let folder = std::env::temp_dir().join(format!("bento-routes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let rules = ROUTES.replace("[router]", "").replace("router.", "");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let load = || Settings::builder().file(folder.join("bento.toml"))?.build();
    write("bento.toml", "router.file = \"routes.toml\"");
    write("routes.toml", &rules);
    assert_eq!(load().unwrap().router, read(ROUTES).unwrap().router);

    write("routes.toml", &rules.replace("to = ", "too = "));
    let shown = |error: ConfigError| error.to_string().replace(folder.to_str().unwrap(), "…");
    expect![[r#"
        …/routes.toml:11: `rules[0]`: `to` is missing
        …/routes.toml:13: `rules[0].too`: unknown key `too`: the keys are `name`, `events`, `kind`, `when`, `to`, `strategy`, `transform`, `sample`, `delay`, `keeps_order`, `expires_after`, `retry`, `head_of_line`, `fallback`, `stop`, `copy`; did you mean `to`?"#]].assert_eq(&shown(load().unwrap_err()));
    write("routes.toml", "version = ");
    expect!["…/routes.toml:1: string values must be quoted, expected literal string"]
        .assert_eq(&shown(load().unwrap_err()));

    write("bento.toml", "router.file = \"routes.json\"");
    write(
        "routes.json",
        r#"{"version": 1, "destinations": {"memory": {}}, "rules": [{"name": "all", "to": ["memory"]}]}"#,
    );
    assert_eq!(load().unwrap().router.unwrap().rules.len(), 1);
    write(
        "routes.json",
        r#"{"version": 1, "rules": [{"name": "all", "to": ["memory"]}]}"#,
    );
    expect![
        "…/routes.json: `rules[0].to[0]`: unknown destination `memory`: no destinations \
             are defined; define it under `destinations`"
    ]
    .assert_eq(&shown(load().unwrap_err()));
    std::fs::remove_dir_all(&folder).unwrap();
}
