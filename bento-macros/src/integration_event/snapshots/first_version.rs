#[derive(
    ::bento_core::__private::serde::Serialize,
    ::bento_core::__private::serde::Deserialize
)]
#[serde(crate = "::bento_core::__private::serde")]
#[derive(Debug)]
pub struct OrderConfirmedV1 {
    pub order: String,
}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl ::bento_core::__private::DomainEvent for OrderConfirmedV1 {
        const DESCRIPTOR: &'static ::bento_core::__private::EventDescriptor = &::bento_core::__private::EventDescriptor {
            schema: "ecommerce.order.confirmed",
            version: 1u32,
            rust_name: "OrderConfirmedV1",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            fields: &[::bento_core::__private::field("order", "String", "")],
            fingerprint: 4096517779645861189u64,
            role: ::bento_core::__private::EventRole::Integration,
            made_from: ::bento_core::__private::Some(
                ::bento_core::__private::source_descriptor::<OrderConfirmedV1>(),
            ),
            deprecated: ::bento_core::__private::Some("use version 2"),
            topic: ::bento_core::__private::Some("orders"),
            ..::bento_core::__private::EVENT
        };
        const SCHEMA: &'static ::bento_core::__private::str = "ecommerce.order.confirmed";
        const VERSION: ::bento_core::__private::u32 = 1u32;
    }
    #[automatically_derived]
    impl ::bento_core::__private::Superseded for OrderConfirmedV1
    where
        for<'__bento> OrderConfirmedV1: ::bento_core::__private::DomainEvent,
    {}
    #[automatically_derived]
    impl<
        AnyAggregate: ::bento_core::__private::RaisesIntegration<Self>,
    > ::bento_core::__private::RaisedBy<AnyAggregate> for OrderConfirmedV1 {
        fn into_any(
            self,
        ) -> ::bento_core::__private::Arc<dyn ::bento_core::__private::AnyEvent> {
            match <AnyAggregate as ::bento_core::__private::RaisesIntegration<
                Self,
            >>::NEVER {}
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::IntegrationEvent for OrderConfirmedV1
    where
        for<'__bento> OrderConfirmedV1: ::bento_core::__private::DomainEvent,
    {
        type Source = orders::OrderConfirmed;
    }
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::IntegrationRegistration::of:: < OrderConfirmedV1 > ()
    }
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::EventRegistration::of:: < OrderConfirmedV1 > ()
    }
    #[cfg(not(test))]
    #[unsafe(
        export_name = "bento__event__ecommerce__order__confirmed__v1__is_declared_twice"
    )]
    static __BENTO_IS_DECLARED_TWICE: ::bento_core::__private::u8 = 0;
};
