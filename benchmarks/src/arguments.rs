//! The command line: `--name value` pairs.

use std::str::FromStr;

use crate::Result;

/// The value of `--<name>`, or `default` without one.
///
/// # Errors
/// If the value is missing or is not a `T`.
pub fn option<T: FromStr>(name: &str, default: T) -> Result<T> {
    let flag = format!("--{name}");
    let mut arguments = std::env::args()
        .skip_while(|argument| *argument != flag)
        .skip(1);
    if !std::env::args().any(|argument| argument == flag) {
        return Ok(default);
    }
    let value = arguments
        .next()
        .ok_or_else(|| format!("{flag} needs a value"))?;
    value
        .parse()
        .map_err(|_| format!("{flag} cannot be `{value}`").into())
}

/// Refuses a flag that the program does not know: a misspelt one would silently measure something
/// else.
///
/// # Errors
/// Names the flag and those that are known.
pub fn expect_only(known: &[&str]) -> Result {
    for flag in
        std::env::args().filter_map(|argument| argument.strip_prefix("--").map(str::to_owned))
    {
        if !known.contains(&flag.as_str()) {
            return Err(
                format!("unknown flag --{flag}; known are --{}", known.join(", --")).into(),
            );
        }
    }
    Ok(())
}
