//! Fields and variants have the names that serde gives them, under each rule.

use super::*;

macro_rules! under_each_rule {
    ($($module:ident: $rule:literal;)*) => {$(
        mod $module {
            use super::*;

            #[derive(Serialize, Deserialize, WireShape)]
            #[serde(rename_all = $rule)]
            #[allow(non_snake_case)]
            struct Spelt {
                unit_price: u8,
                _leading: u8,
                trailing_: u8,
                double__under: u8,
                x1_y2: u8,
                r#type: u8,
                orderRef: u8,
                URL: u8,
                größe_ß: u8,
                #[serde(rename = "own_Name")]
                renamed: u8,
            }

            #[derive(Serialize, Deserialize, WireShape)]
            #[serde(rename_all = $rule, rename_all_fields = $rule)]
            #[allow(non_camel_case_types)]
            enum Variants {
                Open,
                PartlyPaid { unit_price: u8 },
                HTTPError { r#type: u8 },
                X1Y2,
                Größe_ẞ,
                r#Move,
                #[serde(rename = "own_Name")]
                Renamed,
            }

            #[test]
            fn names_are_those_of_serde() {
                agrees_with_serde::<Spelt>();
                agrees_with_serde::<Variants>();
            }
        }
    )*};
}

under_each_rule! {
    lowercase: "lowercase";
    uppercase: "UPPERCASE";
    pascal_case: "PascalCase";
    camel_case: "camelCase";
    snake_case: "snake_case";
    screaming_snake_case: "SCREAMING_SNAKE_CASE";
    kebab_case: "kebab-case";
    screaming_kebab_case: "SCREAMING-KEBAB-CASE";
}
