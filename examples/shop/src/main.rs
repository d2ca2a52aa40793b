//! cargo run -p shop
//!
//! Serves orders on `SHOP_ADDRESS`. With `--demo` it sends itself some requests, prints what
//! happens, and ends.

mod demo;

use std::io;

use shop::Result;
use shop::config::Config;
use shop::service::Shop;
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
    // The file outlives the service, which holds it open.
    let (config, _file) = Config::from_environment()?;
    if std::env::args().any(|argument| argument == "--demo") {
        return demo::run(&config.database_url).await;
    }
    let shop = Shop::open(&config.database_url, &config.events).await?;
    let listener = TcpListener::bind(config.address).await?;
    shop.serve(listener, asked_to_stop()).await
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
