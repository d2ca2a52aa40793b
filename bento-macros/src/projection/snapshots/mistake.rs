::core::compile_error! {
    "a projection needs the version of its read model, which is raised to build it anew: add `version = 1`"
}
pub(crate) struct Balances;
#[allow(deprecated)]
impl ::bento_handlers::__private::Projection for Balances {
    const DESCRIPTOR: &'static ::bento_handlers::__private::ProjectionDescriptor = ::bento_handlers::__private::MISTAKEN_PROJECTION;
}
