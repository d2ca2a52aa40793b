//! The model that SeaORM makes of the struct, and the order of its attributes and ours.
//!
//! Attributes are expanded from the top. `#[aggregate]` sees what stands below it, so it finds the
//! derive of a model there, and can still add `#[sea_orm(ignore)]` for it. `#[sea_orm::model]`
//! hands all other attributes to the model and to a copy of it, `ModelEx`, which is not an
//! aggregate of its own.

use syn::{Attribute, Item};

use crate::syntax;

/// True if SeaORM makes an entity of the struct.
pub(super) fn is_model(attrs: &[Attribute]) -> bool {
    syntax::derives(attrs, "DeriveEntityModel") || attrs.iter().any(is_sea_orm_model)
}

/// True if the struct is the copy of a model with its relations: `#[sea_orm::model]` stands above
/// `#[aggregate]`.
///
/// An attribute below the derives of the model is copied as well; the error about that place is
/// reported at the model, so the copy needs none.
pub(super) fn is_copy_of_a_model(item: &Item) -> bool {
    let Item::Struct(item) = item else {
        return false;
    };
    let is_of_sea_orm = item
        .attrs
        .iter()
        .any(|attr| attr.path().is_ident("sea_orm"));
    let is_expanded = item.ident == "ModelEx" && is_of_sea_orm && !is_model(&item.attrs);
    is_expanded || syntax::derives(&item.attrs, "DeriveModelEx")
}

/// True if the struct is a model, and its derive has been expanded: `#[aggregate]` stands below it.
pub(super) fn stands_below_its_derive(attrs: &[Attribute], has_primary_key: bool) -> bool {
    let names_table = attrs
        .iter()
        .any(|attr| attr.path().is_ident("sea_orm") && syntax::has_argument(attr, "table_name"));
    let is_entity = names_table || has_primary_key;
    is_entity && !is_model(attrs) && !syntax::derives(attrs, "DeriveModel")
}

/// `#[sea_orm::model]` or `#[sea_orm::compact_model]`, whatever the path to it.
fn is_sea_orm_model(attr: &Attribute) -> bool {
    let path = attr.path();
    path.segments.len() > 1
        && ["model", "compact_model"]
            .iter()
            .any(|name| syntax::last_ident(path, name))
}
