//! The tables of the shop and, in the same migrator, those of Bento.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, integer, string_len, uuid};

#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut migrations: Vec<Box<dyn MigrationTrait>> =
            vec![Box::new(CreateOrders), Box::new(ListOrders)];
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

/// Orders get a version, and the table of their list the orders that there are.
struct ListOrders;

impl MigrationName for ListOrders {
    fn name(&self) -> &str {
        "m20261201_000001_list_orders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ListOrders {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let versions = Table::alter()
            .table("shop_order")
            .add_column(big_integer("version").default(0))
            .take();
        manager.alter_table(versions).await?;
        let list = Table::create()
            .table("shop_order_list_v1")
            .col(uuid("order_id").primary_key())
            .col(string_len("tenant", 100))
            .col(string_len("customer", 100))
            .col(string_len("currency", 3))
            .col(big_integer("total"))
            .col(string_len("status", 16))
            .take();
        manager.create_table(list).await?;
        let by_tenant = Index::create()
            .name("shop_order_list_v1_tenant")
            .table("shop_order_list_v1")
            .col("tenant")
            .col("order_id")
            .take();
        manager.create_index(by_tenant).await?;
        let fill = "INSERT INTO shop_order_list_v1 (order_id, tenant, customer, currency, total, \
                    status) SELECT o.id, o.tenant, o.customer, o.currency, (SELECT \
                    COALESCE(SUM(i.quantity * i.unit_price), 0) FROM shop_order_item i WHERE \
                    i.order_id = o.id), o.status FROM shop_order o";
        manager.get_connection().execute_unprepared(fill).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("shop_order_list_v1").take())
            .await?;
        let versions = Table::alter()
            .table("shop_order")
            .drop_column("version")
            .take();
        manager.alter_table(versions).await
    }
}
