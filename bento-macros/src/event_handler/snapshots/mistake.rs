::core::compile_error! {
    "invalid timeout `20`: write a text of whole numbers with a unit of d, h, m, s or ms, as in `timeout = \"20s\"`"
}
#[allow(dead_code)]
pub(crate) async fn reserve(event: OrderConfirmed) -> Result<(), HandleError> {
    Ok(())
}
/// The handler `reserve`, to be added to a set: `.add(reserve::handler())`.
#[allow(dead_code, missing_debug_implementations, non_camel_case_types)]
pub(crate) struct reserve {}
#[allow(dead_code)]
impl reserve {
    pub(crate) fn handler<__AppState>() -> ::bento_handlers::__private::Handler<
        __AppState,
    > {
        ::bento_handlers::__private::unreachable!()
    }
}
