//! The settings of projections.

use super::*;

#[test]
fn a_projection_has_settings_and_their_rules() {
    let toml = "[projections.balances]\npage = 200\nautomatic = false";
    let variables = [("BENTO_PROJECTIONS__BALANCES__THROTTLE", "1000")];
    let settings = read_with(toml, &variables).unwrap();
    let expected = ProjectionSettings::default()
        .manual()
        .page(200)
        .throttle(1_000);
    assert_eq!(settings.projections["balances"], expected);
    for (toml, expected) in [
        (
            "[projections.balances]\npage = 0",
            "`projections.balances.page`: must be 1 to 10,000",
        ),
        (
            "[projections.balances]\npages = 1",
            "did you mean `projections.balances.page`?",
        ),
        (
            "[projections.balances]\nthrottle = 0",
            "`projections.balances.throttle`",
        ),
        ("projections = 1", "expected a table"),
    ] {
        let text = read(toml).unwrap_err().to_string();
        assert!(text.contains(expected), "{toml}: {text}");
    }
}
