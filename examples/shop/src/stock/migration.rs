//! The tables of the stock and, in the same migrator, those of Bento.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string_len, uuid};

#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations: Vec<Box<dyn MigrationTrait>> = vec![Box::new(CreateStock)];
        migrations.extend(bento::migration::migrations());
        migrations
    }
}

struct CreateStock;

impl MigrationName for CreateStock {
    fn name(&self) -> &str {
        "m20260801_000001_create_stock"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateStock {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let products = Table::create()
            .table("stock_product")
            .col(string_len("product", 100).primary_key())
            .col(big_integer("free"))
            .take();
        manager.create_table(products).await?;
        let reservations = Table::create()
            .table("stock_reservation")
            .col(uuid("order_id"))
            .col(string_len("product", 100))
            .col(big_integer("quantity"))
            .primary_key(Index::create().col("order_id").col("product"))
            .take();
        manager.create_table(reservations).await?;
        let first = Query::insert()
            .into_table("stock_product")
            .columns(["product", "free"])
            .values_panic(["tea".into(), 1000.into()])
            .values_panic(["coffee".into(), 200.into()])
            .take();
        manager.execute(first).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["stock_reservation", "stock_product"] {
            let drop = Table::drop().table(table).take();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}
