//! Names in other cases.

/// The rules of serde's `rename_all`.
pub(crate) const RENAME_RULES: [&str; 8] = [
    "lowercase",
    "UPPERCASE",
    "PascalCase",
    "camelCase",
    "snake_case",
    "SCREAMING_SNAKE_CASE",
    "kebab-case",
    "SCREAMING-KEBAB-CASE",
];

/// True unless serde's derive panics over the field: it takes the first byte of `camelCase` for a
/// letter.
pub(crate) fn can_rename_field(rule: &str, field: &str) -> bool {
    rule != "camelCase" || serde_pascal(field).starts_with(|first: char| first.is_ascii())
}

/// serde's `PascalCase`, which touches ASCII letters only.
fn serde_pascal(field: &str) -> String {
    field.split('_').map(capitalised).collect()
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
    first.to_ascii_uppercase() + rest
}

/// serde's `rename_all`, for a field.
pub(crate) fn rename_field(rule: &str, field: &str) -> String {
    match rule {
        "lowercase" | "snake_case" => field.to_owned(),
        "UPPERCASE" | "SCREAMING_SNAKE_CASE" => field.to_ascii_uppercase(),
        "PascalCase" => serde_pascal(field),
        "camelCase" => {
            let pascal = serde_pascal(field);
            let (first, rest) = pascal.split_at(pascal.chars().next().map_or(0, char::len_utf8));
            first.to_ascii_lowercase() + rest
        }
        "kebab-case" => field.replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => field.to_ascii_uppercase().replace('_', "-"),
        // serde reports a rule it does not know.
        _ => field.to_owned(),
    }
}

/// serde's `rename_all`, for a variant.
pub(crate) fn rename_variant(rule: &str, variant: &str) -> String {
    match rule {
        "lowercase" => variant.to_ascii_lowercase(),
        "UPPERCASE" => variant.to_ascii_uppercase(),
        "camelCase" => {
            let (first, rest) = variant.split_at(variant.chars().next().map_or(0, char::len_utf8));
            first.to_ascii_lowercase() + rest
        }
        "snake_case" => serde_snake(variant),
        "SCREAMING_SNAKE_CASE" => serde_snake(variant).to_ascii_uppercase(),
        "kebab-case" => serde_snake(variant).replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => serde_snake(variant).to_ascii_uppercase().replace('_', "-"),
        // `PascalCase` is how variants are written; serde reports a rule it does not know.
        _ => variant.to_owned(),
    }
}

/// serde's `snake_case` of a variant, with a word for each capital letter.
fn serde_snake(variant: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in variant.char_indices() {
        if at > 0 && letter.is_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// `order_line` as `OrderLine`.
pub(crate) fn pascal(name: &str) -> String {
    let words = name.split(['_', '.']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            first.to_uppercase() + rest
        })
        .collect()
}

/// `OrderLine` as `order_line`, `HTTPRequest` as `http_request`.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let after_word = at > 0 && !letters[at - 1].is_uppercase() && letters[at - 1] != '_';
        let before_word = at > 0 && letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_word || before_word) && letters[at - 1] != '_' {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// True if `name` is made of `[a-z][a-z0-9]*` joined by single underscores.
pub(crate) fn is_lower_snake(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split('_').all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        })
}

/// True for `lower.dotted_snake`: two segments or more.
pub(crate) fn is_lower_dotted_snake(name: &str) -> bool {
    name.contains('.') && name.split('.').all(is_lower_snake)
}

#[cfg(test)]
mod tests {
    use super::{
        RENAME_RULES, can_rename_field, is_lower_snake, pascal, rename_field, rename_variant, snake,
    };

    #[test]
    fn fields_are_renamed_as_serde_renames_them() {
        let rules = [
            ("lowercase", "unit_price"),
            ("UPPERCASE", "UNIT_PRICE"),
            ("PascalCase", "UnitPrice"),
            ("camelCase", "unitPrice"),
            ("snake_case", "unit_price"),
            ("SCREAMING_SNAKE_CASE", "UNIT_PRICE"),
            ("kebab-case", "unit-price"),
            ("SCREAMING-KEBAB-CASE", "UNIT-PRICE"),
        ];
        assert_eq!(rules.map(|(rule, _)| rule).len(), RENAME_RULES.len());
        for (rule, renamed) in rules {
            assert_eq!(rename_field(rule, "unit_price"), renamed, "{rule}");
        }
    }

    /// `bento-core/tests/shape` compares the rules with serde itself.
    #[test]
    fn variants_are_renamed_as_serde_renames_them() {
        let rules = [
            ("lowercase", "partlypaid"),
            ("UPPERCASE", "PARTLYPAID"),
            ("PascalCase", "PartlyPaid"),
            ("camelCase", "partlyPaid"),
            ("snake_case", "partly_paid"),
            ("SCREAMING_SNAKE_CASE", "PARTLY_PAID"),
            ("kebab-case", "partly-paid"),
            ("SCREAMING-KEBAB-CASE", "PARTLY-PAID"),
        ];
        assert_eq!(rules.map(|(rule, _)| rule), RENAME_RULES);
        for (rule, renamed) in rules {
            assert_eq!(rename_variant(rule, "PartlyPaid"), renamed, "{rule}");
        }
    }

    /// `bento-core/tests/serde_names.rs` compares the rules with serde itself.
    #[test]
    fn only_ascii_letters_change_their_case() {
        assert_eq!(rename_field("camelCase", "anzahl_äpfel"), "anzahläpfel");
        assert_eq!(rename_field("PascalCase", "äpfel_anzahl"), "äpfelAnzahl");
        assert_eq!(rename_field("UPPERCASE", "äpfel"), "äPFEL");
    }

    #[test]
    fn a_field_that_serde_panics_over_is_known() {
        assert!(!can_rename_field("camelCase", "äpfel") && !can_rename_field("camelCase", "__"));
        assert!(can_rename_field("PascalCase", "äpfel") && can_rename_field("camelCase", "_x"));
    }

    #[test]
    fn a_type_name_becomes_a_stable_name_and_back() {
        assert_eq!(snake("OrderLine"), "order_line");
        assert_eq!(snake("HTTPRequest"), "http_request");
        assert_eq!(snake("Order2"), "order2");
        assert_eq!(pascal("order_line"), "OrderLine");
    }

    #[test]
    fn a_stable_name_has_no_empty_words() {
        assert!(is_lower_snake("order_line2"));
        for wrong in [
            "",
            "_order",
            "order_",
            "order__line",
            "Order",
            "2order",
            "ord-er",
        ] {
            assert!(!is_lower_snake(wrong), "{wrong}");
        }
    }
}
