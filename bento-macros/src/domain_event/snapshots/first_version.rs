#[derive(
    ::bento_core::__private::serde::Serialize,
    ::bento_core::__private::serde::Deserialize
)]
#[serde(crate = "::bento_core::__private::serde")]
/// A customer has placed an order.
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: Uuid,
}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl ::bento_core::__private::DomainEvent for OrderCreated {
        const DESCRIPTOR: &'static ::bento_core::__private::EventDescriptor = &::bento_core::__private::EventDescriptor {
            schema: "order.created",
            version: 1u32,
            rust_name: "OrderCreated",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            docs: "A customer has placed an order.",
            fields: &[::bento_core::__private::field("order_id", "Uuid", "")],
            fingerprint: 977698076924331918u64,
            ..::bento_core::__private::EVENT
        };
    }
    #[automatically_derived]
    impl ::bento_core::__private::Raisable for OrderCreated
    where
        for<'__bento> OrderCreated: ::bento_core::__private::DomainEvent,
    {}
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::EventRegistration::of:: < OrderCreated > ()
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__event__order__created__v1__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: ::bento_core::__private::u8 = 0;
};
