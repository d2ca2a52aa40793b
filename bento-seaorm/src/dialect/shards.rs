//! The text of an UPDATE that locks shard rows in their order.

/// An UPDATE of several shard rows around what it sets and the condition that finds them.
#[derive(Debug)]
pub(crate) struct ShardsUpdate {
    /// The text up to SET.
    pub(crate) begin: String,
    /// From WHERE up to the condition.
    pub(crate) condition: String,
    /// Behind the condition.
    pub(crate) end: &'static str,
}

impl ShardsUpdate {
    /// Makes the UPDATE for a back end that finds rows by their primary key in its order, or has
    /// one writer.
    pub(crate) fn in_order(table: &str, hint: &str) -> Self {
        Self {
            begin: format!("UPDATE {table}{hint} SET "),
            condition: " WHERE ".to_owned(),
            end: "",
        }
    }
}
