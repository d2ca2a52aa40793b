#[automatically_derived]
impl<L> ::bento_core::__private::shape::WireShape for Order<L>
where
    L: 'static,
    L: ::bento_core::__private::shape::WireShape,
{
    #[allow(unused_variables, deprecated)]
    fn wire_shape(
        __bento_shapes: &mut ::bento_core::__private::shape::Shapes,
    ) -> ::bento_core::__private::shape::Node {
        __bento_shapes
            .define::<
                Self,
            >(|__bento_shapes| ::bento_core::__private::shape::Node::Object(::bento_core::__private::shape::Object {
                fields: ::bento_core::__private::Vec::from([
                    ::bento_core::__private::shape::Field {
                        name: ::bento_core::__private::From::from("orderId"),
                        aliases: ::bento_core::__private::Vec::from([
                            ::bento_core::__private::From::from("number"),
                        ]),
                        node: <u64 as ::bento_core::__private::shape::WireShape>::wire_shape(
                            __bento_shapes,
                        ),
                        written: ::bento_core::__private::shape::Written::Always,
                        read: ::bento_core::__private::shape::Read::ByType,
                    },
                    ::bento_core::__private::shape::Field {
                        name: ::bento_core::__private::From::from("lines"),
                        aliases: ::bento_core::__private::Vec::from([]),
                        node: <Vec<
                            L,
                        > as ::bento_core::__private::shape::WireShape>::wire_shape(
                            __bento_shapes,
                        ),
                        written: ::bento_core::__private::shape::Written::Sometimes,
                        read: ::bento_core::__private::shape::Read::Optional,
                    },
                    ::bento_core::__private::shape::Field {
                        name: ::bento_core::__private::From::from("total"),
                        aliases: ::bento_core::__private::Vec::from([]),
                        node: ::bento_core::__private::shape::Node::opaque("money"),
                        written: ::bento_core::__private::shape::Written::Always,
                        read: ::bento_core::__private::shape::Read::Required,
                    },
                ]),
                flattened: ::bento_core::__private::Vec::from([]),
                is_closed: true,
            }))
    }
}
