//! The stock: an ordinary table of the service.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "handlers_stock")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub item: String,
    pub free: i64,
}

impl ActiveModelBehavior for ActiveModel {}

/// Takes items out of the stock. Returns false if there are too few.
pub async fn take(db: &impl ConnectionTrait, item: &str, quantity: i64) -> Result<bool, DbErr> {
    let taken = Entity::update_many()
        .col_expr(Column::Free, Expr::col(Column::Free).sub(quantity))
        .filter(Column::Item.eq(item))
        .filter(Column::Free.gte(quantity))
        .exec(db)
        .await?;
    Ok(taken.rows_affected == 1)
}
