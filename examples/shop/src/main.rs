//! cargo run -p shop
//!
//! Serves orders on `SHOP_ADDRESS`, with the stock in the same process. `shop` or `stock` as an
//! argument starts one of the two alone, for a broker between two processes. With `--demo` the
//! services send themselves some requests, print what happens, and end.

mod demo;

use std::io;
use std::net::SocketAddr;

use bento::Report;
use bento::source::MemorySource;
use shop::Result;
use shop::config::{Config, Service};
use shop::messaging::MEMORY;
use shop::service::Shop;
use shop::stock::Stock;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result {
    let filter =
        EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new("warn,shop=info"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let config = Config::from_environment()?;
    let memory = MemorySource::default();
    match std::env::args().nth(1).as_deref() {
        None => {
            let (shop, stock) = (&config.shop, &config.stock);
            let shop = serve_shop(config.address, shop, &memory);
            tokio::try_join!(shop, run_stock(stock, &memory)).map(drop)
        }
        Some("--demo") => demo::run(&config, &memory).await,
        Some("shop") => serve_shop(config.address, alone(&config.shop)?, &memory).await,
        Some("stock") => run_stock(alone(&config.stock)?, &memory).await,
        Some(other) => Err(refused(format!(
            "unknown argument `{other}`: write `shop`, `stock` or `--demo`"
        ))),
    }
}

async fn serve_shop(address: SocketAddr, service: &Service, memory: &MemorySource) -> Result {
    let shop = Shop::open(&service.database_url, &service.settings, memory).await?;
    let listener = TcpListener::bind(address).await?;
    shop.serve(listener, asked_to_stop()).await
}

async fn run_stock(service: &Service, memory: &MemorySource) -> Result {
    let stock = Stock::open(&service.database_url, &service.settings, memory).await?;
    stock.run(asked_to_stop()).await
}

/// A service that is alone in its process needs a broker outside of it.
fn alone(service: &Service) -> Result<&Service> {
    if service.settings.publisher == MEMORY {
        return Err(refused(
            "the broker `memory` ends at its process: set BENTO_PUBLISHER to `nats` or `rabbitmq`",
        ));
    }
    Ok(service)
}

fn refused(text: impl Into<String>) -> Report {
    io::Error::other(text.into()).into()
}

/// Ctrl-C, or what an orchestrator sends.
async fn asked_to_stop() {
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())
            .expect("signals can be listened to")
            .recv()
            .await;
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
