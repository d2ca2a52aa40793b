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
        fn decode_older(
            version: ::bento_core::__private::u32,
            payload: &[::bento_core::__private::u8],
        ) -> ::bento_core::__private::Result<
            Self,
            ::bento_core::__private::UpcastFault,
        > {
            const __BENTO_HISTORY: &[::bento_core::__private::Step] = &[];
            ::bento_core::__private::decode_by_history::<
                Self,
            >(__BENTO_HISTORY, version, payload)
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Raisable for OrderCreated {}
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::EventRegistration::of:: < OrderCreated > ()
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__event__order__created__v1__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: ::bento_core::__private::u8 = 0;
};
