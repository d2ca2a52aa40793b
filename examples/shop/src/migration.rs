//! The tables of the shop and, in the same migrator, those of Bento.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, integer, string_len, uuid};

#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations: Vec<Box<dyn MigrationTrait>> = vec![Box::new(CreateOrders)];
        migrations.extend(bento::migration::migrations());
        migrations
    }
}

struct CreateOrders;

impl MigrationName for CreateOrders {
    fn name(&self) -> &str {
        "m20260801_000001_create_orders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateOrders {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let orders = Table::create()
            .table("shop_order")
            .col(uuid("id").primary_key())
            .col(string_len("tenant", 100))
            .col(string_len("customer", 100))
            .col(string_len("currency", 3))
            .col(string_len("status", 16))
            .take();
        manager.create_table(orders).await?;
        let by_tenant = Index::create()
            .name("shop_order_tenant")
            .table("shop_order")
            .col("tenant")
            .col("id")
            .take();
        manager.create_index(by_tenant).await?;
        let items = Table::create()
            .table("shop_order_item")
            .col(uuid("order_id"))
            .col(integer("line"))
            .col(string_len("product", 100))
            .col(integer("quantity"))
            .col(big_integer("unit_price"))
            .primary_key(Index::create().col("order_id").col("line"))
            .foreign_key(
                ForeignKey::create()
                    .from("shop_order_item", "order_id")
                    .to("shop_order", "id"),
            )
            .take();
        manager.create_table(items).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("shop_order_item").take())
            .await?;
        manager
            .drop_table(Table::drop().table("shop_order").take())
            .await
    }
}
