//! The closing of a connection that a pool must not hand out again.

use tokio::runtime::Builder;

/// Drops the holder of a connection of a pool, so that the connection is closed and its place in
/// the pool is free.
///
/// SeaORM does not let go of the connection in a transaction. But sqlx gives a connection back in a
/// task that it spawns on the current runtime. Here that is a runtime that runs nothing: it drops
/// the task, and the connection with it.
pub(super) fn close<T>(holder: T) {
    let Ok(runtime) = Builder::new_current_thread().build() else {
        return drop(holder);
    };
    {
        let _inside = runtime.enter();
        drop(holder);
    }
    runtime.shutdown_background();
}
