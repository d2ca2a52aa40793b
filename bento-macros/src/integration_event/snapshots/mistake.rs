::core::compile_error! {
    "an integration event is made from a domain event: add `from = OrderConfirmed`"
}
#[allow(dead_code)]
#[derive(Debug)]
pub struct OrderConfirmedV1 {
    pub order: String,
}
#[allow(deprecated)]
const _: () = {
    impl ::bento_core::__private::serde::Serialize for OrderConfirmedV1 {
        fn serialize<S: ::bento_core::__private::serde::Serializer>(
            &self,
            _: S,
        ) -> ::bento_core::__private::Result<S::Ok, S::Error> {
            ::bento_core::__private::unreachable!()
        }
    }
    impl<'de> ::bento_core::__private::serde::Deserialize<'de> for OrderConfirmedV1 {
        fn deserialize<D: ::bento_core::__private::serde::Deserializer<'de>>(
            _: D,
        ) -> ::bento_core::__private::Result<Self, D::Error> {
            ::bento_core::__private::unreachable!()
        }
    }
    impl ::bento_core::__private::DomainEvent for OrderConfirmedV1 {
        const DESCRIPTOR: &'static ::bento_core::__private::EventDescriptor = &::bento_core::__private::EventDescriptor {
            schema: "ecommerce.order.confirmed",
            version: 1u32,
            ..::bento_core::__private::EVENT
        };
        fn decode_older(
            _: ::bento_core::__private::u32,
            _: &[::bento_core::__private::u8],
        ) -> ::bento_core::__private::Result<
            Self,
            ::bento_core::__private::UpcastFault,
        > {
            ::bento_core::__private::unreachable!()
        }
    }
    impl ::bento_core::__private::Superseded for OrderConfirmedV1
    where
        for<'__bento> OrderConfirmedV1: ::bento_core::__private::DomainEvent,
    {}
};
