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
            oldest: 1u32,
            role: ::bento_core::__private::EventRole::Current,
            rust_name: "OrderCreated",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: ::bento_core::__private::or_unknown(
                    ::bento_core::__private::option_env!("CARGO_PKG_NAME"),
                ),
                package_version: ::bento_core::__private::or_unknown(
                    ::bento_core::__private::option_env!("CARGO_PKG_VERSION"),
                ),
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            docs: "A customer has placed an order.",
            fields: &[
                ::bento_core::__private::FieldDescriptor {
                    name: "order_id",
                    rust_type: "Uuid",
                    docs: "",
                    is_flattened: false,
                    history: &[],
                },
            ],
            removed: &[],
            upcast_from: ::bento_core::__private::None,
            fingerprint: 977698076924331918u64,
            topic: ::bento_core::__private::None,
            routing_key: ::bento_core::__private::None,
            allow: &[],
        };
        const SCHEMA: &'static ::bento_core::__private::str = "order.created";
        const VERSION: ::bento_core::__private::u32 = 1u32;
        const HISTORY: &'static [::bento_core::__private::Step] = &[];
        fn decode_older(
            __bento_version: ::bento_core::__private::u32,
            __bento_payload: &[::bento_core::__private::u8],
        ) -> ::bento_core::__private::Result<
            Self,
            ::bento_core::__private::UpcastFault,
        > {
            ::bento_core::__private::decode_by_history::<
                Self,
            >(__bento_version, __bento_payload)
        }
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
