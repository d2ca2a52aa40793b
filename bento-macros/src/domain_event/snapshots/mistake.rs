::core::compile_error! {
    "versions count from 1: write `version = 1` for the first"
}
#[allow(dead_code)]
#[derive(Debug)]
pub struct OrderCreated {
    pub order_id: Uuid,
}
#[allow(deprecated)]
const _: () = {
    impl ::bento_core::__private::serde::Serialize for OrderCreated {
        fn serialize<S: ::bento_core::__private::serde::Serializer>(
            &self,
            _: S,
        ) -> ::bento_core::__private::Result<S::Ok, S::Error> {
            ::bento_core::__private::unreachable!()
        }
    }
    impl<'de> ::bento_core::__private::serde::Deserialize<'de> for OrderCreated {
        fn deserialize<D: ::bento_core::__private::serde::Deserializer<'de>>(
            _: D,
        ) -> ::bento_core::__private::Result<Self, D::Error> {
            ::bento_core::__private::unreachable!()
        }
    }
    impl ::bento_core::__private::DomainEvent for OrderCreated {
        const DESCRIPTOR: &'static ::bento_core::__private::EventDescriptor = &::bento_core::__private::EventDescriptor {
            schema: "order.created",
            version: 0u32,
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
    impl ::bento_core::__private::Raisable for OrderCreated
    where
        for<'__bento> OrderCreated: ::bento_core::__private::DomainEvent,
    {}
};
